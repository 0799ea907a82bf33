"""`command`: takes a command to a site, stamps who gives it, and leaves it for the gateway.

The gateway checks everything again; this is the door for people, and the only one that writes
into the commands collection.
"""

import re
import time
import uuid

from callable_http import Caller, Fields, refuse, text
from google.api_core.exceptions import AlreadyExists
from google.cloud import firestore
from sites import RANK, database, role_of, site_path

COMMAND_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
# As the gateway has them (gateway/services/remote_forms.py); a test holds both together.
NEEDS = {
    "relay": "admin", "acknowledge": "operator", "snooze": "operator", "identify": "operator",
    "settings": "admin", "device": "viewer",
}  # fmt: skip
USUAL_LIFE_MS = 60_000
SHORTEST_LIFE_MS, LONGEST_LIFE_MS = 1000, 3_600_000
MOST_WAITING = 50  # of one site; more is a runaway script


def give(caller: Caller, data: Fields) -> dict[str, object]:
    """Write `{site, kind, args, id?, ttl_ms?}` as a command; give its id and path.

    The same id again, by the same person, gives the same answer and writes nothing.
    """
    site, kind = text(data, "site", longest=32), text(data, "kind", longest=32)
    args, command_id = data.get("args", {}), data.get("id", uuid.uuid4().hex)
    life_ms = data.get("ttl_ms", USUAL_LIFE_MS)
    role = role_of(site, caller.uid)
    if kind not in NEEDS:
        refuse("INVALID_ARGUMENT", f"kind: must be one of {', '.join(NEEDS)}")
    if RANK[role] < RANK[NEEDS[kind]]:
        refuse("PERMISSION_DENIED", f"{kind} needs the role {NEEDS[kind]}, not {role}")
    if not isinstance(args, dict):
        refuse("INVALID_ARGUMENT", "args: must be an object")
    if not isinstance(command_id, str) or COMMAND_ID.fullmatch(command_id) is None:
        refuse("INVALID_ARGUMENT", "id: 8 to 64 letters, digits, - and _")
    if type(life_ms) is not int or not SHORTEST_LIFE_MS <= life_ms <= LONGEST_LIFE_MS:
        refuse("INVALID_ARGUMENT", f"ttl_ms: {SHORTEST_LIFE_MS} to {LONGEST_LIFE_MS}, whole")
    now_ms = int(time.time() * 1000)
    body = {
        "v": 1, "id": command_id, "kind": kind, "args": args, "uid": caller.uid,
        "who": caller.email or caller.uid, "role": role, "created_ms": now_ms,
        "expires_ms": now_ms + life_ms, "state": "new", "created": firestore.SERVER_TIMESTAMP,
    }  # fmt: skip
    return _create(site, command_id, body)


def _create(site: str, command_id: str, body: dict[str, object]) -> dict[str, object]:
    path = f"{site_path(site)}/commands/{command_id}"
    commands = database().collection(f"{site_path(site)}/commands")
    waiting = commands.where(filter=firestore.FieldFilter("state", "==", "new"))
    if len(waiting.limit(MOST_WAITING).get()) >= MOST_WAITING:
        refuse("RESOURCE_EXHAUSTED", "too many commands wait: is the gateway online?")
    try:
        database().document(path).create(body)
    except AlreadyExists:
        found = database().document(path).get().to_dict() or {}
        same = all(found.get(key) == body[key] for key in ("kind", "args", "uid"))
        if not same:
            refuse("ALREADY_EXISTS", "id: was given to another command")
    return {"id": command_id, "path": path}

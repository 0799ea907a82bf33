"""What a meter can be told to do: kinds, their arguments, how long each may take."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from gateway.domain.errors import BadInputError

Args = Mapping[str, object]
COMMAND_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
USUAL_TTL_MS = 10_000
MOST_TTL_MS = 86_400_000  # what meters take
LONGEST_S = 600  # of identify and calibrate
LONGEST_SSID = 32  # bytes, IEEE 802.11
LONGEST_PASSWORD = 64  # WPA: 63 characters, or 64 hex digits
# How long a meter may take beside what the arguments say: a Wi-Fi that is not there is tried
# for a minute, and then the old one is joined again.
WORK_S = {
    "relay": 5.0, "identify": 5.0, "report": 5.0, "reboot": 10.0, "calibrate": 35.0, "wifi": 130.0,
}  # fmt: skip
_ARGUMENTS: Mapping[str, frozenset[str]] = {
    "relay": frozenset({"on"}),
    "identify": frozenset({"seconds"}),
    "calibrate": frozenset({"seconds"}),
    "wifi": frozenset({"ssid", "password"}),
    "reboot": frozenset(),
    "report": frozenset(),
}


class CommandResult(NamedTuple):
    """What a meter answered; `error` says why it did not do it."""

    ok: bool
    error: str | None
    data: dict[str, object]


def check(command_id: str, kind: str, args: Args, ttl_ms: int) -> None:
    """Raise BadInputError for what no meter would take."""
    if COMMAND_ID.match(command_id) is None:
        msg = "command_id: 1 to 64 letters, digits and _.:-"
        raise BadInputError(msg)
    if kind not in _ARGUMENTS:
        msg = f"kind: must be one of {', '.join(_ARGUMENTS)}"
        raise BadInputError(msg)
    if type(ttl_ms) is not int or not 0 < ttl_ms <= MOST_TTL_MS:
        msg = f"ttl_ms: whole milliseconds, from 1 to {MOST_TTL_MS}"
        raise BadInputError(msg)
    if unknown := sorted(set(args) - _ARGUMENTS[kind]):
        msg = f"args: {kind} knows no {unknown[0][:40]!r}"
        raise BadInputError(msg)
    if kind == "relay" and type(args.get("on")) is not bool:
        msg = "args.on: must be true or false"
        raise BadInputError(msg)
    if kind in ("identify", "calibrate"):
        _seconds(args.get("seconds"))
    if kind == "wifi":
        _network(args.get("ssid"), args.get("password"))


def _seconds(seconds: object) -> None:
    if type(seconds) is not int or not 0 < seconds <= LONGEST_S:
        msg = f"args.seconds: whole seconds from 1 to {LONGEST_S}"
        raise BadInputError(msg)


def _network(ssid: object, password: object) -> None:
    if not isinstance(ssid, str) or not 0 < len(ssid.encode()) <= LONGEST_SSID or "\x00" in ssid:
        msg = f"args.ssid: a name of 1 to {LONGEST_SSID} bytes"
        raise BadInputError(msg)
    good = isinstance(password, str) and len(password) <= LONGEST_PASSWORD
    if not good or "\x00" in str(password):
        msg = f"args.password: at most {LONGEST_PASSWORD} characters, empty for an open network"
        raise BadInputError(msg)


def patience_s(kind: str, args: Args, ttl_ms: int) -> float:
    """Return how long an answer may take: the way there, the work, the way back."""
    seconds = args.get("seconds", 0) if kind == "calibrate" else 0
    return ttl_ms / 1000 + WORK_S[kind] + (seconds if isinstance(seconds, int) else 0)


def args_key(kind: str, args: Args) -> str:
    """Return what tells commands apart; of a password nothing is kept."""
    told = {"": kind} | {key: value for key, value in args.items() if key != "password"}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def audited(kind: str, args: Args) -> str:
    """Return a command for the audit; a password is not shown."""
    shown = " ".join(f"{key}={value}" for key, value in args.items() if key != "password")
    return f"{kind} {shown}".strip()[:200]

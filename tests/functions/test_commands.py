"""The door for commands: whose ID token, which role, which form; one document for one command."""

import time
import uuid
from typing import Any

import httpx
import pytest
import site_commands
from google.cloud import firestore

from gateway.services import remote_forms
from gateway.services.remote_forms import read_command
from tests.support.auth_rig import AuthRig
from tests.support.functions_rig import FunctionsRig

RELAY = {"site": "home", "kind": "relay", "args": {"meter": "kitchen", "on": True}}


@pytest.fixture(scope="module")
def people(auth: AuthRig, db: firestore.Client) -> dict[str, dict[str, Any]]:
    """Make accounts, most of them members of the site."""
    found = {}
    for name, role in (("ada", "admin"), ("otto", "operator"), ("vera", "viewer"), ("mallory", "")):
        found[name] = auth.sign_up(f"{name}@example.org")
        if role:
            db.document(f"sites/home/members/{found[name]['localId']}").set({"role": role})
    return found


def documents(db: firestore.Client) -> list[dict[str, Any]]:
    return [one.to_dict() or {} for one in db.collection("sites/home/commands").get()]


def test_a_command_is_stamped_with_who_gave_it(
    functions: FunctionsRig, db: firestore.Client, people: dict[str, dict[str, Any]]
) -> None:
    ada = people["ada"]
    claimed = {"uid": "root", "role": "viewer", "who": "x", "expires_ms": 1}
    made = functions.result("command", {**RELAY, **claimed}, ada["idToken"])
    found = db.document(made["path"]).get()
    fields = found.to_dict() or {}
    assert (fields["uid"], fields["role"], fields["who"]) == (
        ada["localId"], "admin", "ada@example.org",
    )  # fmt: skip
    assert fields["state"] == "new"
    assert abs(fields["created_ms"] - time.time() * 1000) < 60_000
    own = {k: v for k, v in fields.items() if k not in ("state", "created")}
    command = read_command(found.id, own)  # as the gateway reads it
    assert command.expires_ms - command.created_ms == 60_000


def test_the_same_id_again_is_the_same_command(
    functions: FunctionsRig, db: firestore.Client, people: dict[str, dict[str, Any]]
) -> None:
    token = people["ada"]["idToken"]
    name = uuid.uuid4().hex
    answers = [functions.result("command", {**RELAY, "id": name}, token) for _ in range(3)]
    assert len({str(answer) for answer in answers}) == 1
    assert sum(one["id"] == name for one in documents(db)) == 1
    other = {**RELAY, "id": name, "args": {"meter": "kitchen", "on": False}}
    refused = functions.call("command", other, token)
    assert (refused.status_code, refused.json()["error"]["status"]) == (409, "ALREADY_EXISTS")


@pytest.mark.parametrize(
    ("who", "data", "status"),
    [
        (None, {}, "UNAUTHENTICATED"),
        ("forged", {}, "UNAUTHENTICATED"),
        ("mallory", {}, "PERMISSION_DENIED"),
        ("vera", {}, "PERMISSION_DENIED"),
        ("otto", {}, "PERMISSION_DENIED"),
        ("ada", {"site": "elsewhere"}, "PERMISSION_DENIED"),
        ("ada", {"site": "../members"}, "INVALID_ARGUMENT"),
        ("ada", {"kind": "wifi"}, "INVALID_ARGUMENT"),
        ("ada", {"args": "on"}, "INVALID_ARGUMENT"),
        ("ada", {"id": "a/b/c/d/e/f"}, "INVALID_ARGUMENT"),
        ("ada", {"ttl_ms": 10**9}, "INVALID_ARGUMENT"),
        ("ada", {"args": {"x": "y" * 20_000}}, "INVALID_ARGUMENT"),
    ],
)
def test_who_may_not_and_what_is_none_leaves_no_document(  # noqa: PLR0917 - pytest's arguments
    functions: FunctionsRig, db: firestore.Client, people: dict[str, dict[str, Any]],
    who: str | None, data: dict[str, Any], status: str,
) -> None:  # fmt: skip
    before = len(documents(db))
    token = None if who is None else people.get(who, {"idToken": "forged"})["idToken"]
    refused = functions.call("command", {**RELAY, **data}, token)
    assert refused.json()["error"]["status"] == status
    assert refused.status_code >= 400
    assert len(documents(db)) == before


def test_a_deleted_account_has_to_log_in(functions: FunctionsRig, auth: AuthRig) -> None:
    token = auth.sign_up("gone@example.org")["idToken"]
    auth.delete(token)
    refused = functions.call("command", RELAY, token)
    assert (refused.status_code, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_an_operator_may_acknowledge(
    functions: FunctionsRig, people: dict[str, dict[str, Any]]
) -> None:
    data = {"site": "home", "kind": "acknowledge", "args": {"alert": "a1"}}
    assert functions.result("command", data, people["otto"]["idToken"])["id"]


def test_what_is_no_call_is_refused_and_browsers_may_ask_first(
    functions: FunctionsRig, people: dict[str, dict[str, Any]]
) -> None:
    url = functions.url("command")
    headers = {"Authorization": f"Bearer {people['ada']['idToken']}"}
    assert httpx.post(url, content=b"{", headers=headers, timeout=20).status_code == 400
    assert httpx.get(url, headers=headers, timeout=20).status_code == 400
    asked = httpx.options(url, timeout=20)
    assert (asked.status_code, asked.headers["access-control-allow-methods"]) == (204, "POST")


def test_too_many_that_nobody_takes_are_refused(
    functions: FunctionsRig, db: firestore.Client, people: dict[str, dict[str, Any]]
) -> None:
    busy = db.collection("sites/busy/commands")
    db.document(f"sites/busy/members/{people['ada']['localId']}").set({"role": "admin"})
    for number in range(50):
        busy.document(f"old-{number:04}").set({"state": "new"})
    refused = functions.call("command", {**RELAY, "site": "busy"}, people["ada"]["idToken"])
    assert refused.json()["error"]["status"] == "RESOURCE_EXHAUSTED"


def test_function_and_gateway_agree_on_who_may_do_what() -> None:
    assert {kind.value: role for kind, role in remote_forms.NEEDS.items()} == site_commands.NEEDS
    assert site_commands.LONGEST_LIFE_MS == remote_forms.LONGEST_LIFE_MS

"""A person's command from the app's call to its effect in the house, and what must have none."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.cloud import firestore

from tests.functions.conftest import PROJECT
from tests.support.api import Api, write_secret
from tests.support.auth_rig import KEY, PASSWORD, AuthRig
from tests.support.daemon import Daemon
from tests.support.functions_rig import FunctionsRig
from tests.support.mosquitto import Mosquitto
from tests.support.trips import trip

WITHIN_S = 40.0


def answered(db: firestore.Client, path: str) -> dict[str, Any]:
    """Return a command's document once the gateway has answered it."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        found = db.document(path).get().to_dict() or {}
        if found.get("state") != "new":
            return found
        assert time.monotonic() < deadline_s, found
        time.sleep(0.1)


@pytest.fixture
def house(
    make_daemon: Callable[..., Daemon], functions: FunctionsRig, auth: AuthRig, tmp_path: Path
) -> Daemon:
    """Give a running gateway that has logged in by the command line."""
    auth.sign_up("ada@way.example")
    cloud = {
        "enabled": True, "project": PROJECT, "development": True, "api_key": KEY,
        "functions_url": functions.address,
    }  # fmt: skip
    daemon = make_daemon(settings={"site": {"id": "way"}, "cloud": cloud})
    secret = write_secret(tmp_path / "password", PASSWORD)
    said = daemon.cli_ok(
        "cloud", "login", "--email", "ada@way.example", "--password-file", str(secret)
    )
    assert "gateway-way" in said
    daemon.start(within_s=60)
    return daemon


def first_alert(api: Api) -> str:
    """Return the id of the first open alert, once there is one."""
    deadline_s = time.monotonic() + WITHIN_S
    while not (alerts := api.items("alerts", state="open")):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    return str(alerts[0]["id"])


def past_the_function(db: firestore.Client, path: str) -> dict[str, dict[str, Any]]:
    """Put what only an administrator of the project could: return the documents.

    The same command again, one of an hour ago, one of a stranger, and nonsense.
    """
    same = {**(db.document(path).get().to_dict() or {}), "state": "new"}
    for key in ("result", "answered"):
        same.pop(key)
    put = {
        path.rpartition("/")[2]: same,
        "late-0001": {**same, "id": "late-0001", "created_ms": 1, "expires_ms": 60_001},
        "alien-001": {**same, "id": "alien-001", "uid": "stranger"},
        "nonsense1": {"state": "new", "v": "?"},
    }
    for key, fields in put.items():
        db.document(f"sites/way/commands/{key}").set(fields)
    return put


@pytest.mark.timeout(300)
def test_an_alert_is_acknowledged_from_afar_once(
    house: Daemon, own_broker: Mosquitto, functions: FunctionsRig, auth: AuthRig,
    db: firestore.Client,
) -> None:  # fmt: skip
    trip(own_broker.port, ["kitchen"])
    with Api.logged_in(house) as api:
        alert = first_alert(api)
        token = auth.sign_in("ada@way.example")["idToken"]
        call = {"site": "way", "kind": "acknowledge", "args": {"alert": alert}}
        name = uuid.uuid4().hex
        paths = {functions.result("command", {**call, "id": name}, token)["path"] for _ in (1, 2)}
        (path,) = paths
        done = answered(db, path)
        assert (done["state"], done["result"]["error"]) == ("done", None)
        history = api.get(f"alerts/{alert}")["history"]
        own = [entry for entry in history if entry["what"] == "acknowledged"]
        assert [entry["who"] for entry in own] == ["cloud:ada@way.example"]

        put = past_the_function(db, path)
        states = {key: answered(db, f"sites/way/commands/{key}")["state"] for key in put}
        assert states == {
            name: "done", "late-0001": "expired", "alien-001": "refused", "nonsense1": "refused",
        }  # fmt: skip
        again = api.get(f"alerts/{alert}")["history"]
        assert again == history, "one effect, and none of the others"
    log = house.log()
    for event in ("command_done", "command_repeated", "command_expired", "command_refused"):
        assert event in log

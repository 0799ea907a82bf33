"""Everything the OpenAPI description names, attacked by schemathesis on the running daemon.

No 5xx, no status or body that is not described, nothing without a login.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.web.gate import OPEN_ON_LOOPBACK, OPEN_PATHS
from tests.support.api import Api
from tests.support.daemon import Daemon
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house

ENDLESS = "/api/v1/stream"  # never ends by itself; tests/gateway/web/test_stream.py has it
# What a valid request may be answered with is known only to the data: a meter may be missing.
# And `ignored_auth` replaces the cookie while our valid token is sent all the same; that nothing
# is told without a login is shown below, operation by operation.
LEFT_OUT = "positive_data_acceptance,missing_required_header,ignored_auth"
# Names come from the answers: an administrator would revoke the own token, and be a stranger.
OWN_END = "/api/v1/tokens/{name}"
BOX_S = 10
BOOT = 41


def attack(daemon: Daemon, *options: str, box_s: int = BOX_S) -> None:
    """Let schemathesis try for at most `box_s` seconds; fail with what it says."""
    # One worker: CPython 3.11 counts the recursion of `ast` over all threads (SystemError).
    script = Path(sys.executable).with_name("st")
    command = [str(script), "run", f"{daemon.url}/openapi.json", "--no-color"]
    limits = ["--max-time", str(box_s), "--request-timeout", "30", "--no-shrink"]
    chosen = ["--exclude-path", ENDLESS, "--exclude-checks", LEFT_OUT, "--seed", "7"]
    done = subprocess.run(
        [*command, *limits, *chosen, *options],
        cwd=daemon.directory, capture_output=True, text=True, timeout=box_s + 120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Test cases" in done.stdout, done.stdout[-2000:]


def attack_as(daemon: Daemon, role: str, *options: str, box_s: int = BOX_S) -> None:
    """Attack with a token of this role, which must be good to the end."""
    token = daemon.cli_ok("users", "token", "add", f"for-{role}", "--role", role).strip()
    header = f"Bearer {token}"
    attack(
        daemon, "--header", f"Authorization:{header}", "--exclude-path", OWN_END, *options,
        box_s=box_s,
    )  # fmt: skip
    who = httpx.get(f"{daemon.url}/api/v1/auth/me", headers={"Authorization": header}, timeout=60)
    assert who.json() == {"username": f"token:for-{role}", "role": role}


@pytest.fixture
def living(own_broker: Mosquitto, daemon: Daemon) -> Daemon:
    """Give a daemon that knows a meter and its readings."""
    with MeterClient("kitchen", own_broker.port, boot=BOOT, array=30) as meter:
        meter.send(recent_house(windows=120, boot=BOOT).take(120))
        meter.wait_covered()
    return daemon


@pytest.mark.timeout(300)  # a busy machine
def test_an_administrator_s_token_gets_nothing_undescribed(living: Daemon) -> None:
    attack_as(living, "admin", "--max-examples", "2", "--phases", "fuzzing")
    assert httpx.get(f"{living.url}/readyz", timeout=60).status_code == 200


def test_nothing_answers_strangers(living: Daemon) -> None:
    schema: dict[str, Any] = httpx.get(f"{living.url}/openapi.json", timeout=60).json()
    asked = 0
    for path, operations in schema["paths"].items():
        if path in OPEN_PATHS | OPEN_ON_LOOPBACK:
            continue
        url = living.url + path.replace("{id}", "kitchen").replace("{name}", "ada")
        for method in (*operations, "head", "options", "put"):
            answer = httpx.request(method, url, timeout=60)
            assert answer.status_code == 401, (method, path)
            assert method == "head" or set(answer.json()) == {"type", "title", "status", "detail"}
            asked += 1
    assert asked > 160


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", ["admin", "operator", "viewer"])
def test_every_role_for_longer(living: Daemon, role: str) -> None:
    attack_as(living, role, "--max-examples", "300", box_s=300)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_strangers_for_longer(living: Daemon) -> None:
    attack(living, "--max-examples", "100", box_s=120)


def test_the_description_is_complete(daemon: Daemon) -> None:
    with Api.logged_in(daemon) as api:
        text = json.dumps(api.http.get("/openapi.json", timeout=60).json())
    for path in (
        "series", "energy", "stream", "tokens", "users", "audit", "setup", "tariffs", "mutes",
        "site/tree", "site/state", "imports", "system/backup", "models", "trust", "notifications",
    ):  # fmt: skip
        assert path in text

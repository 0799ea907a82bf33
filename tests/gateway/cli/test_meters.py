"""`wattwarden meters`: without a daemon, and through a running one."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioning import login_check
from provisioning.meter_config import Door
from tests.gateway.cli.rig import Site, make_site
from tests.support.daemon import Daemon
from tests.support.kit_site import KitBroker
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto, find_mosquitto
from tests.support.readings import recent_house


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def test_add_list_set_remove(site: Site) -> None:
    assert "is registered" in site.ok("meters", "add", "kitchen", "--label", "Kitchen")
    site.ok("meters", "add", "winter-2024", "--recorded")
    kitchen, winter = json.loads(site.ok("meters", "list", "--json"))["items"]
    assert (kitchen["id"], kitchen["label"], kitchen["recorded"]) == ("kitchen", "Kitchen", False)
    assert (winter["id"], winter["recorded"], winter["last"]) == ("winter-2024", True, None)
    lines = site.ok("meters", "list").splitlines()
    assert [line.split()[0] for line in lines] == ["meter", "kitchen", "winter-2024"]
    assert "recorded" in lines[2]
    site.ok("meters", "set", "kitchen", "--label", "Cellar \x1b[31m")
    assert "\x1b" not in site.ok("meters", "list")
    assert "already" in site.ok("meters", "add", "kitchen", "--label", "Attic")
    assert json.loads(site.ok("meters", "list", "--json"))["items"][0]["label"] == "Attic"
    site.ok("meters", "remove", "kitchen", "--yes")
    (left,) = json.loads(site.ok("meters", "list", "--json"))["items"]
    assert left["id"] == "winter-2024"


@pytest.mark.parametrize(
    "pid", [None, "4194000", str(os.getpid())], ids=["missing", "left over", "another's"]
)
def test_a_removal_the_broker_was_not_told_of_fails(tmp_path: Path, pid: str | None) -> None:
    """The pid file does not lead to it: the account still opens the door."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    broker = KitBroker(tmp_path / "kit")
    for name in ("kitchen", "garage"):
        broker.accounts.set_password(name, f"secret-of-{name}")
    with broker:
        stale = tmp_path / "stale.pid"
        if pid is not None:
            stale.write_text(pid)
        kit = {"broker_passwords": str(broker.passwords), "broker_port": broker.tls_port}
        site = make_site(
            tmp_path, mqtt={"port": broker.port}, kit={**kit, "broker_pid": str(stale)}
        )
        site.ok("meters", "add", "kitchen")
        said = site.run("meters", "remove", "kitchen", "--yes")
        assert (said.status, said.out) == (1, "")
        assert "restart mosquitto: the meter still has access" in said.err
        door = Door("localhost", broker.port)
        assert login_check.login("localhost", door, "kitchen", "secret-of-kitchen") == 0
        assert json.loads(site.ok("meters", "list", "--json"))["items"] == []
    # A broker that is gone lets nobody in.
    site.ok("meters", "add", "garage")
    assert "its account at the broker is gone" in site.ok("meters", "remove", "garage", "--yes")
    assert broker.accounts.users() == []


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("add", "Kitchen!"), 2, "id"),
        (("remove", "kitchen"), 2, "--yes"),
        (("remove", "nobody", "--yes"), 1, "nobody"),
        (("gaps", "nobody"), 1, "nobody"),
        (("set", "kitchen"), 2, "--label"),
        (("set", "kitchen", "--role", "grid"), 2, "--channel"),
        (("set", "kitchen", "--channel", "grid"), 2, "--channel"),
        (("set", "kitchen", "--channel", "grid", "--rating", "much"), 2, "--rating"),
        (("set", "kitchen", "--channel", "grid", "--rating", "30"), 2, "no such channel"),
    ],
)
def test_wrong_use_is_told_in_one_line(
    site: Site, arguments: tuple[str, ...], status: int, word: str
) -> None:
    site.ok("meters", "add", "kitchen")
    said = site.run("meters", *arguments)
    assert (said.status, said.out) == (status, "")
    assert word in said.err
    assert said.err.count("\n") == 1


def test_a_running_daemon_s_meter(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon]
) -> None:
    daemon = make_daemon()
    daemon.start()
    readings = recent_house(windows=20, boot=7).take(20)
    with MeterClient("kitchen", own_broker.port, boot=7) as meter:
        meter.send(readings[:5])
        meter.wait_covered()
        meter.send([readings[8], readings[9], readings[19]])
        wait_for_rows(daemon, readings[19]["t"])
        missing = json.loads(daemon.cli_ok("meters", "gaps", "kitchen", "--json"))["items"]
        assert [(gap["first"], gap["last"], gap["state"]) for gap in missing] == [
            (10, 18, "awaited"), (5, 7, "awaited"),
        ]  # fmt: skip
        assert (missing[1]["from"], missing[1]["to"]) == (readings[4]["t"], readings[8]["t"] - 1000)
        assert missing[1]["windows"] == 3
        said = daemon.cli_ok("meters", "gaps", "kitchen", "--final")
        assert "12 windows of kitchen are given up" in said
        meter.wait_covered()
    missing = json.loads(daemon.cli_ok("meters", "gaps", "kitchen", "--json"))["items"]
    assert {gap["state"] for gap in missing} == {"final"}
    assert missing[0]["reason"].startswith("given up by ")

    daemon.cli_ok("meters", "set", "kitchen", "--channel", "grid", "--rating", "30")
    (kitchen,) = json.loads(daemon.cli_ok("meters", "list", "--json"))["items"]
    assert kitchen["channels"] == {"grid": {"role": "grid", "rating_a": 30.0}}
    assert kitchen["last"]["t"] == readings[19]["t"]
    assert kitchen["last"]["ch"]["grid"]["wh_in"] == readings[19]["ch"]["grid"]["wh_in"]
    daemon.cli_ok("meters", "set", "kitchen", "--channel", "grid", "--rating", "unknown")
    assert f"{readings[19]['v']:.1f} V" in daemon.cli_ok("meters", "list")


def wait_for_rows(daemon: Daemon, newest_ms: int) -> None:
    for _ in range(100):
        items = json.loads(daemon.cli_ok("meters", "list", "--json"))["items"]
        if items and items[0]["last"] and items[0]["last"]["t"] == newest_ms:
            return
    pytest.fail("the newest reading never showed")

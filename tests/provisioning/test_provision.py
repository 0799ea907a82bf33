"""Making a flashed board a meter: real broker, real daemon, and every way it can go wrong."""

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import aiomqtt
import pytest

from gateway.domain.errors import BadInputError
from provisioning import meter_config
from provisioning.board import Board
from provisioning.meter_config import Door, MeterPlan
from provisioning.provision import Registry, Site, provision
from provisioning.telling import Silent
from tests.provisioning.conftest import NewBoard
from tests.support.exports import BEGINNING, END
from tests.support.gateway_stub import until
from tests.support.kit_site import START_S, WIFI, KitSite
from tests.support.mosquitto import find_mosquitto
from tests.support.usb_board import UsbBoard

pytestmark = pytest.mark.timeout(600)
Ran = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def site() -> Iterator[KitSite]:
    """Run broker and daemon as installed; unknown meters are not let in."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    with (
        tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as folder,
        KitSite(Path(folder)) as running,
    ):
        yield running


def settings_of(board: UsbBoard) -> dict[str, object]:
    found: dict[str, object] = json.loads(Board(str(board.port)).read("/config.json") or b"{}")
    return found


def one_line(ran: Ran, status: int) -> str:
    """Return the complaint: the last line of stderr, the only one that is no progress."""
    assert ran.returncode == status, ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr
    complaints = [line for line in ran.stderr.splitlines() if line.startswith("wattwarden: ")]
    assert len(complaints) == 1
    return complaints[0]


def known(site: KitSite) -> set[str]:
    listed = json.loads(site.daemon.cli_ok("meters", "list", "--json"))
    return {meter["id"] for meter in listed["items"]}


def test_a_board_becomes_a_meter_and_a_repetition_changes_nothing(
    site: KitSite, flashed: Path
) -> None:
    board = site.plug_in("first", content=flashed, clamps=2)
    words = site.provision_words(
        board, "kitchen", "--channels", "grid,solar", "--rating", "100", "--label", "Kitchen"
    )
    ran = site.meters(*words)
    assert ran.returncode == 0, ran.stderr
    assert "kitchen is a meter of this site. Its first reading:" in ran.stdout
    assert " W at " in ran.stdout
    assert "grid 1" in ran.stdout
    assert "solar " in ran.stdout
    assert "next: sudo wattwarden meters calibrate kitchen" in ran.stdout
    assert WIFI["attic"] not in ran.stdout + ran.stderr
    listed = json.loads(site.daemon.cli_ok("meters", "list", "--json"))
    meter = next(one for one in listed["items"] if one["id"] == "kitchen")
    assert meter["label"] == "Kitchen"
    assert {one["rating_a"] for one in meter["channels"].values()} == {100.0}
    before = settings_of(board)
    assert before["keys"] != {"release": [], "site": []}
    accounts = site.broker.passwords.read_text()
    again = site.meters(*words)
    assert again.returncode == 0, again.stderr
    assert settings_of(board) == before
    assert site.broker.passwords.read_text() == accounts
    password = before["mqtt"]["password"]  # type: ignore[index]
    assert password not in again.stdout + again.stderr + site.daemon.log()
    rotated = site.meters(*words, "--new-password")
    assert rotated.returncode == 0, rotated.stderr
    assert site.broker.passwords.read_text() != accounts
    kept = site.meters("provision", "kitchen", "--port", str(board.port), "--keep-wifi", "--yes")
    assert kept.returncode == 0, kept.stderr
    assert settings_of(board)["wifi"] == before["wifi"]


async def retained(site: KitSite, meter: str) -> set[str]:
    """Return the last part of each of a meter's topics that the broker holds a message for."""
    base, found = f"ww/v1/{meter}/", set()
    async with (
        asyncio.timeout(30),
        aiomqtt.Client(
            "localhost", site.broker.port, username="gateway", password=site.gateway_secret
        ) as client,
    ):
        await client.subscribe(f"{base}#", qos=1)
        await client.publish(f"{base}mark", b"", qos=1)
        async for message in client.messages:
            if message.topic.value == f"{base}mark":
                break
            if message.retain:
                found.add(message.topic.value.removeprefix(base))
    return found


def test_a_removed_meter_is_refused_and_can_come_back(site: KitSite, flashed: Path) -> None:
    board = site.plug_in("leaver", content=flashed)
    words = site.provision_words(board, "leaver")
    assert site.meters(*words).returncode == 0
    kept = {"state", "ack", "live/grid/p"}
    until(lambda: kept <= asyncio.run(retained(site, "leaver")), within_s=20)
    refused = one_line(site.meters("remove", "leaver"), 2)
    assert "--yes: needed where nobody can be asked" in refused
    removed = site.meters("remove", "leaver", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert "its account at the broker is gone" in removed.stdout
    assert "leaver" not in site.broker.passwords.read_text()
    removed_s = time.monotonic()
    until(lambda: any("leaver disconnected" in line for _, line in site.broker.log))
    assert time.monotonic() - removed_s < 5
    until(lambda: not asyncio.run(retained(site, "leaver")), within_s=20)
    export = ("export", "--meter", "leaver", "--channel", "grid", "--format", "csv")
    span = ("--start", BEGINNING, "--end", END)
    time.sleep(1)
    before = site.daemon.cli_ok(*export, *span)
    time.sleep(4)
    assert site.daemon.cli_ok(*export, *span) == before
    assert "no meter 'leaver'" in one_line(site.meters("remove", "leaver", "--yes"), 1)
    back = site.meters(*words)
    assert back.returncode == 0, back.stderr


def test_wifi_refused_tells_what_to_check(site: KitSite, flashed: Path) -> None:
    board = site.plug_in("far", content=flashed)
    site.wire("far", board, wifi={"neighbour": "x"})
    said = one_line(site.meters(*site.provision_words(board, "far")), 1)
    assert "cannot join the Wi-Fi: its name or password is wrong, or it is out of reach" in said
    assert "2.4 GHz" in said
    assert "then run provision again" in said
    assert "no Wi-Fi: attic" in said
    site.wire("far", board)
    ran = site.meters(*site.provision_words(board, "far"))
    assert ran.returncode == 0, ran.stderr
    assert "far" in known(site)


def test_a_broker_that_is_down_is_told_before_anything_is_changed(
    site: KitSite, flashed: Path
) -> None:
    board = site.plug_in("early", content=flashed)
    site.broker.stop()
    try:
        said = one_line(site.meters(*site.provision_words(board, "early")), 1)
    finally:
        site.broker.start()
    assert "the broker does not run; start it: sudo systemctl start mosquitto" in said
    assert settings_of(board) == {}
    assert "early" not in site.broker.passwords.read_text()


@pytest.mark.soak
def test_a_broker_that_reads_other_files_is_told(site: KitSite, flashed: Path) -> None:
    board = site.plug_in("stray", content=flashed)
    other = site.directory / "other.passwd"
    other.touch()
    config = site.daemon.config.read_text()
    site.daemon.config.write_text(config.replace(str(site.broker.passwords), str(other)))
    try:
        said = one_line(site.meters(*site.provision_words(board, "stray")), 1)
    finally:
        site.daemon.config.write_text(config)
    assert "the broker refuses stray (code 5)" in said
    assert "password_file" in said
    assert "stray" not in known(site)
    ran = site.meters(*site.provision_words(board, "stray"))
    assert ran.returncode == 0, ran.stderr


def test_a_name_that_the_certificate_does_not_carry(site: KitSite, flashed: Path) -> None:
    board = site.plug_in("misnamed", content=flashed)
    words = site.provision_words(board, "misnamed", "--broker-name", "other.local")
    said = one_line(site.meters(*words), 1)
    assert "not made out to 'other.local'; give the name it carries with --broker-name" in said
    assert settings_of(board) == {}


def test_a_gateway_that_is_down_is_told(site: KitSite, flashed: Path) -> None:
    board = site.plug_in("waiting", content=flashed)
    site.daemon.terminate(within_s=60)
    try:
        said = one_line(site.meters(*site.provision_words(board, "waiting")), 2)
    finally:
        site.daemon.start(within_s=START_S)
    assert "the gateway does not run; start it: sudo systemctl start wattwarden" in said


def test_a_clock_that_was_never_set_is_told(site: KitSite, flashed: Path) -> None:
    board = site.plug_in("clock", content=flashed)
    environment = {**site.environment(), "FAKETIME": "1970-01-02 00:00:00"}
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    if not Path(library).exists():
        pytest.skip("libfaketime is not installed (apt-get install faketime)")
    environment |= {"LD_PRELOAD": library, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    ran = subprocess.run(
        site.command(*site.provision_words(board, "clock")),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        env=environment,
    )  # fmt: skip
    said = one_line(ran, 2)
    assert "this machine's clock says 1970-01-02" in said
    assert "timedatectl set-ntp true" in said


@pytest.mark.soak
def test_a_board_without_firmware_is_told(site: KitSite, new_board: NewBoard) -> None:
    board = site.plug_in("bare")
    said = one_line(site.meters(*site.provision_words(board, "bare")), 1)
    assert "flash it" in said or "run first: wattwarden meters flash" in said


def test_more_clamps_than_pins_are_refused_before_anything_is_changed(
    site: KitSite, flashed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = site.plug_in("small", content=flashed)
    port = str(board.port)
    monkeypatch.setattr(meter_config, "CLAMPS", {Board(port).inventory().machine: 1})
    plan = MeterPlan("many", Door("localhost", site.broker.port), channels=("grid", "load1"))
    nowhere = Site(None, "localhost", cast("Registry", None))
    with pytest.raises(BadInputError, match=r"2 clamps, but an .* has pins for 1 at"):
        provision(port, plan, nowhere, Silent(), within_s=1)
    assert settings_of(board) == {}


@pytest.mark.soak
def test_another_meter_s_board_and_name_are_asked_about(site: KitSite, flashed: Path) -> None:
    board = site.plug_in("old", content=flashed)
    assert site.meters(*site.provision_words(board, "old-name")).returncode == 0
    words = [word for word in site.provision_words(board, "new-name") if word != "--yes"]
    said = one_line(site.meters(*words), 2)
    assert "nothing was changed; choose another name, or say --yes" in said
    assert settings_of(board)["meter"] == "old-name"
    second = site.plug_in("second", content=flashed)
    words = [word for word in site.provision_words(second, "old-name") if word != "--yes"]
    assert "choose another name" in one_line(site.meters(*words), 2)
    assert settings_of(second) == {}
    ran = site.meters(*site.provision_words(board, "new-name"))
    assert ran.returncode == 0, ran.stderr
    assert settings_of(board)["meter"] == "new-name"
    assert "wattwarden meters remove old-name" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Kitchen",), "ID: 'Kitchen' must be 2 to 32"),
        (("gateway",), "has rights of its own"),
        (("x1", "--channels", "grid,grid"), "--channels: 1 to 6 different names"),
        (("x1", "--broker", "host:port"), "--broker: 'port' is no port"),
        (("x1", "--ssid", "attic"), "--ssid, --wifi-file, --keep-wifi: give one of them"),
        (("x1", "--broker", "a", "--mdns"), "--broker, --mdns: give one of them"),
    ],
)
def test_wrong_words_are_told(site: KitSite, words: tuple[str, ...], said: str) -> None:
    ran = site.meters(
        "provision", *words, "--port", "/dev/null", "--wifi-file", str(site.wifi), "--yes"
    )
    assert said in one_line(ran, 2)


def test_the_wifi_password_is_never_in_a_file_that_others_read(site: KitSite) -> None:
    site.wifi.chmod(0o644)
    try:
        ran = site.meters("provision", "x1", "--port", "/dev/null", "--wifi-file", str(site.wifi))
    finally:
        site.wifi.chmod(0o600)
    assert "can be read by others; run: chmod 600" in one_line(ran, 2)
    nobody = site.meters("provision", "x1", "--port", "/dev/null")
    assert "--wifi-file: needed where nobody can be asked" in one_line(nobody, 2)

"""The settings a meter gets: its own parser takes them, and nonsense is refused before."""

import ast
import json
from pathlib import Path

import pytest
from config import parse
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadInputError, ConfigError
from provisioning.meter_config import (
    CLAMPS,
    Door,
    MeterPlan,
    check,
    check_clamps,
    completed,
    config_json,
    networks_json,
)
from provisioning.networks import Network, from_file, network
from provisioning.release_keys import release_keys
from tests.support.api import write_secret
from tests.support.firmware import FIRMWARE

DOOR = Door("gateway.local", 8883, "gateway.local", b"PEM")
PLAN = MeterPlan(
    "kitchen",
    DOOR,
    channels=("grid", "solar"),
    networks=(Network("attic", "correct horse"),),
    release_keys=(bytes(32), b"\1" * 32),
    site_keys=(b"\2" * 32,),
    rating_a=100.0,
    nominal_v=120.0,
    nominal_hz=60.0,
)


def test_the_firmware_takes_it_as_meant() -> None:
    networks = networks_json(PLAN.networks or ())
    settings = parse(json.loads(config_json(PLAN, "s3cret", networks)))
    assert settings.meter == "kitchen"
    assert settings.channels == ["grid", "solar"]
    assert settings.wifi == [("attic", "correct horse")]
    assert (settings.mqtt_host, settings.mqtt_port) == ("gateway.local", 8883)
    assert (settings.mqtt_user, settings.mqtt_password) == ("kitchen", "s3cret")
    assert (settings.mqtt_ca, settings.mqtt_name) == ("/ca.crt", "gateway.local")
    assert (settings.rating_a, settings.nominal_v, settings.nominal_hz) == (100, 120, 60)
    assert settings.release_keys == [bytes(32), b"\1" * 32]
    assert settings.site_keys == [b"\2" * 32]
    assert settings.relay is False


def test_what_a_plan_leaves_open_stays_as_the_board_has_it() -> None:
    bare = MeterPlan("kitchen", DOOR)
    usual = completed(bare, {})
    assert (usual.channels, usual.rating_a, usual.relay) == (("grid",), 30.0, False)
    old = json.loads(config_json(completed(PLAN, {}), "x", []))
    again = completed(bare, {**old, "relay": True})
    assert (again.channels, again.rating_a, again.relay) == (("grid", "solar"), 100.0, True)
    assert completed(PLAN, {"channels": ["load1"], "rating": 5}).channels == ("grid", "solar")
    assert completed(bare, {"channels": "nonsense", "rating": "much"}).channels == ("grid",)
    with pytest.raises(BadInputError, match="--channels"):
        completed(bare, {"channels": ["Not A Name"]})


@given(
    ssid=st.text(min_size=1, max_size=32),
    secret=st.one_of(st.just(""), st.text(min_size=8, max_size=63)),
)
def test_every_network_we_take_the_firmware_takes(ssid: str, secret: str) -> None:
    try:
        given_network = network(ssid, secret)
    except BadInputError:
        return
    if "\0" in ssid + secret:
        return  # no router has one; the firmware says so itself
    content = config_json(PLAN, "x", networks_json((given_network,)))
    assert parse(json.loads(content)).wifi == [(ssid, secret)]


def test_without_tls_and_by_mdns() -> None:
    plain = MeterPlan("kitchen", Door("10.0.0.2", 1883))
    settings = parse(json.loads(config_json(plain, "x", [])))
    assert (settings.mqtt_host, settings.mqtt_port, settings.mqtt_ca) == ("10.0.0.2", 1883, None)
    found = MeterPlan("kitchen", Door(None, 8883, "gateway.local", b"PEM"))
    settings = parse(json.loads(config_json(found, "x", [])))
    assert (settings.mqtt_host, settings.mqtt_name) == (None, "gateway.local")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (MeterPlan("Kitchen", DOOR), "ID: 'Kitchen' must be 2 to 32"),
        (MeterPlan("k", DOOR), "ID: 'k' must be"),
        (MeterPlan("gateway", DOOR), "has rights of its own at the broker"),
        (MeterPlan("kitchen", DOOR, channels=()), "--channels: 1 to 6"),
        (MeterPlan("kitchen", DOOR, channels=("a", "a")), "--channels: 1 to 6 different"),
        (MeterPlan("kitchen", DOOR, channels=tuple("abcdefg")), "--channels: 1 to 6"),
        (MeterPlan("kitchen", DOOR, channels=("Grid",)), "--channels: 'Grid' must be a-z"),
        (MeterPlan("kitchen", DOOR, release_keys=(bytes(32),) * 3), "at most 2 keys"),
    ],
)
def test_nonsense_is_refused(plan: MeterPlan, said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        check(plan)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("machine", "most"),
    [
        ("Generic ESP32 module with ESP32", 5),
        ("Generic ESP32S3 module with ESP32S3", 6),
        ("ESP32C3 module with ESP32C3", 3),
        ("linux [GCC 11.4] version", 6),  # no chip of ours: the firmware says what it takes
    ],
)
def test_more_clamps_than_the_chip_has_pins_for_are_refused(machine: str, most: int) -> None:
    names = [f"load{number}" for number in range(1, 7)]
    for count in range(1, most + 1):
        check_clamps(MeterPlan("kitchen", DOOR, channels=names[:count]), machine)
    if most < 6:
        with pytest.raises(BadInputError, match=f"--channels: 6 clamps.* pins for {most} at most"):
            check_clamps(MeterPlan("kitchen", DOOR, channels=names), machine)


def test_the_kit_knows_the_pins_of_the_firmware() -> None:
    board = ast.parse((FIRMWARE / "board.py").read_text())
    [wiring] = [
        ast.literal_eval(line.value)
        for line in board.body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "WIRING"
    ]
    assert {chip: len(inputs) - 1 for chip, inputs, _, _ in wiring} == CLAMPS


def test_more_than_a_meter_reads_is_refused() -> None:
    with pytest.raises(BadInputError, match="it reads 8192"):
        config_json(PLAN, "x" * 9000, [])


def test_wifi_from_a_file_that_is_ours_alone(tmp_path: Path) -> None:
    one = write_secret(tmp_path / "wifi.json", '{"ssid": "attic", "password": "correct horse"}')
    assert from_file(one) == (Network("attic", "correct horse"),)
    many = write_secret(
        tmp_path / "many.json", '[{"ssid": "a", "password": "12345678"}, {"ssid": "open"}]'
    )
    assert from_file(many) == (Network("a", "12345678"), Network("open", ""))
    for mode in (0o644, 0o640, 0o604):
        one.chmod(mode)
        with pytest.raises(ConfigError, match=r"--wifi-file: .* can be read by others; run: chmod"):
            from_file(one)
    with pytest.raises(ConfigError, match=r"--wifi-file: .* cannot be read: No such file"):
        from_file(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{ssid: a}", "is not JSON"),
        ("[]", "must hold 1 to 4 networks"),
        ('[{"ssid":"a"},{"ssid":"b"},{"ssid":"c"},{"ssid":"d"},{"ssid":"e"}]', "1 to 4 networks"),
        ('{"ssid": 5}', "must hold {"),
        ('{"ssid": "a", "pasword": "12345678"}', "must hold {"),
        ('"attic"', "must hold {"),
        ('{"ssid": ""}', "Wi-Fi name: '' must have 1 to 32 bytes"),
        ('{"ssid": "a", "password": "short"}', "it has 5 characters, Wi-Fi takes 8 to 63"),
    ],
)
def test_a_wifi_file_that_is_wrong_is_told(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        from_file(write_secret(tmp_path / "wifi.json", content))
    assert said in str(caught.value)
    assert "12345678" not in str(caught.value)


def test_a_network_does_not_show_its_password() -> None:
    assert "horse" not in repr(Network("attic", "correct horse"))


def test_release_keys_in_hex_and_base64(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(
        f"# of 2026\n{'ab' * 32}\n\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=  # two\n"
    )
    assert release_keys(path) == (b"\xab" * 32, b"\1" * 32)
    assert release_keys(None) == ()
    path.write_text(f"{'ab' * 32}\nnot a key\n")
    with pytest.raises(ConfigError, match=r"kit\.release_keys: .* line 2: no ed25519 public key"):
        release_keys(path)
    with pytest.raises(ConfigError, match=r"kit\.release_keys: .* cannot be read"):
        release_keys(tmp_path / "none")

"""The provisioning file: what it may hold, and errors that name the key."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from config import load_config, parse, remember_wifi
from errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st

KEY = base64.b64encode(bytes(range(32))).decode()
FULL: dict[str, Any] = {
    "meter": "kitchen-1",
    "wifi": [{"ssid": "home", "password": "secret12"}],
    "mqtt": {"host": "pi.local", "user": "kitchen-1", "password": "p", "ca": "/ca.crt"},
    "ntp": "pool.ntp.org",
    "channels": ["grid", "solar"],
    "rating": 30,
    "nominal": {"v": 230, "f": 50},
    "keys": {"release": [KEY, KEY], "site": [KEY]},
}


def with_key(path: str, value: object) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(json.dumps(FULL))
    *parents, last = path.split(".")
    place = raw
    for parent in parents:
        place = place[parent]
    place[last] = value
    return raw


def test_a_full_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FULL))
    config = load_config(str(tmp_path))
    assert config.meter == "kitchen-1"
    assert config.wifi == [("home", "secret12")]
    assert (config.mqtt_host, config.mqtt_port) == ("pi.local", 8883)
    assert config.channels == ["grid", "solar"]
    assert config.release_keys == [bytes(range(32))] * 2


def test_defaults() -> None:
    config = parse({"meter": "m1", "channels": ["grid"], "mqtt": {"password": "x"}})
    assert (config.mqtt_host, config.mqtt_port, config.mqtt_ca) == (None, 1883, None)
    assert config.mqtt_user == "m1"
    assert (config.rating_a, config.nominal_v, config.nominal_hz) == (30, 230, 50)
    assert config.wifi == []
    assert config.relay


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("meter", "Kitchen", "meter"),
        ("meter", "-a", "meter"),
        ("meter", "a" * 33, "meter"),
        ("wifi", {}, "wifi"),
        ("wifi", [{"ssid": ""}], "wifi[0].ssid"),
        ("wifi", [{"ssid": "a", "pass": "b"}], "wifi[0].pass"),
        ("mqtt.port", 0, "mqtt.port"),
        ("mqtt.port", True, "mqtt.port"),
        ("mqtt.host", 5, "mqtt.host"),
        ("mqtt.tls", 1, "mqtt.tls"),
        ("channels", [], "channels"),
        ("channels", ["grid", "grid"], "channels[1]"),
        ("channels", ["Grid"], "channels[0]"),
        ("channels", ["a"] * 7, "channels"),
        ("rating", "30", "rating"),
        ("relay", 1, "relay"),
        ("nominal.f", 400, "nominal.f"),
        ("keys.release", ["AAAA"], "keys.release[0]"),
        ("keys.site", [5], "keys.site[0]"),
        ("colour", "red", "colour"),
    ],
)
def test_errors_name_the_key(path: str, value: object, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(with_key(path, value))
    assert named in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b" " * 9000])
def test_a_damaged_file_is_a_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError):
        load_config(str(tmp_path))


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="provision"):
        load_config(str(tmp_path))


def test_a_new_network_goes_first_and_is_saved_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(FULL))
    config = load_config(str(tmp_path))
    remember_wifi(config, str(tmp_path), "new", "secret34")
    assert path.stat().st_mode & 0o777 == 0o600
    again = load_config(str(tmp_path))
    assert again.wifi == [("new", "secret34"), ("home", "secret12")]
    assert again.mqtt_password == "p"
    for n in range(9):
        remember_wifi(again, str(tmp_path), f"net{n}", "")
    assert len(again.wifi) == 4
    assert load_config(str(tmp_path)).wifi == again.wifi


def test_a_network_that_is_none_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FULL))
    config = load_config(str(tmp_path))
    with pytest.raises(ConfigError, match="ssid"):
        remember_wifi(config, str(tmp_path), "", "x")
    assert config.wifi == load_config(str(tmp_path)).wifi == [("home", "secret12")]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.sampled_from([*FULL, "mqtt.host", "mqtt.port", "nominal.v", "keys.site"]), VALUES)
def test_whatever_stands_there_is_taken_or_refused_by_name(path: str, value: object) -> None:
    with contextlib.suppress(ConfigError):
        parse(with_key(path, value))
        return
    with pytest.raises(ConfigError, match=path.split(".", maxsplit=1)[0]):
        parse(with_key(path, value))

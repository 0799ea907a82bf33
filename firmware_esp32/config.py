"""The meter's provisioning file `config.json`: read, checked, written back."""

import binascii
import json
import os

from errors import ConfigError
from settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "config.json"
KEYS = ("meter", "wifi", "mqtt", "ntp", "channels", "rating", "nominal", "relay", "keys")
LARGEST_FILE = 8_192  # bytes
MOST_NETWORKS = 4
MOST_CHANNELS = 6
LONGEST_CHANNEL = 16
SHORTEST_METER = 2
LONGEST_METER = 32
KEY_BYTES = 32  # a raw ed25519 public key
KEYS_PER_KIND = 2
TLS_PORT = 8883
PLAIN_PORT = 1883
LOWER = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"


def parse(raw: "dict[str, Any]") -> Settings:
    """Return the settings in a decoded config.json; ConfigError names the key that is wrong."""
    _known(raw, "", KEYS)
    settings = Settings(_meter(raw.get("meter")), _channels(raw.get("channels")))
    settings.wifi = _wifi(raw.get("wifi", []))
    _read_mqtt(settings, _object(raw.get("mqtt", {}), "mqtt"))
    settings.ntp = _optional(raw, "ntp", 253)
    settings.rating_a = _number(raw, "rating", 30, (1, 1000))
    nominal = _object(raw.get("nominal", {}), "nominal")
    _known(nominal, "nominal.", ("v", "f"))
    settings.nominal_v = _number(nominal, "v", 230, (90, 480), "nominal.")
    settings.nominal_hz = _number(nominal, "f", 50, (45, 65), "nominal.")
    relay = raw.get("relay", True)
    if not isinstance(relay, bool):
        msg = "config: relay must be true or false"
        raise ConfigError(msg)
    settings.relay = relay
    keys = _object(raw.get("keys", {}), "keys")
    _known(keys, "keys.", ("release", "site"))
    settings.release_keys = _keys(keys, "release")
    settings.site_keys = _keys(keys, "site")
    return settings


def _read_mqtt(settings: Settings, raw: "dict[str, Any]") -> None:
    _known(raw, "mqtt.", ("host", "port", "user", "password", "ca", "name"))
    settings.mqtt_host = _optional(raw, "host", 253, "mqtt.")
    settings.mqtt_ca = _optional(raw, "ca", 200, "mqtt.")
    settings.mqtt_name = _optional(raw, "name", 253, "mqtt.")
    settings.mqtt_user = _optional(raw, "user", 64, "mqtt.")
    settings.mqtt_password = _optional(raw, "password", 256, "mqtt.")
    if settings.mqtt_user is None and settings.mqtt_password is not None:
        settings.mqtt_user = settings.meter  # contract, section 1
    standard = TLS_PORT if settings.mqtt_ca else PLAIN_PORT
    settings.mqtt_port = int(_number(raw, "port", standard, (1, 65535), "mqtt."))


def load_config(root: str) -> Settings:
    """Read `root`/config.json, or raise ConfigError that names what is wrong with it."""
    return parse(_read(root))


def remember_wifi(settings: Settings, root: str, ssid: str, password: str) -> None:
    """Put a network first, on flash and then in `settings`; the oldest is dropped.

    The ones known before stay as fallback. A power cut leaves the old or the new config.json,
    never half. ConfigError or OSError: nothing is changed.
    """
    others = [network for network in settings.wifi if network[0] != ssid]
    networks = [(ssid, password)]
    networks += others[: MOST_NETWORKS - 1]
    raw = _read(root)
    raw["wifi"] = [{"ssid": name, "password": secret} for name, secret in networks]
    changed = parse(raw)
    path = f"{root}/{NAME}"
    with open(path + ".new", "w") as file:
        _private(path + ".new")  # before a password is in it
        json.dump(raw, file)
    os.rename(path + ".new", path)
    settings.wifi = changed.wifi


def _read(root: str) -> "dict[str, Any]":
    path = f"{root}/{NAME}"
    try:
        size = os.stat(path)[6]
        if size <= LARGEST_FILE:
            with open(path, "rb") as file:
                content = file.read()
    except OSError as error:
        msg = f"{path} cannot be read ({error}): provision the meter"
        raise ConfigError(msg) from error
    if size > LARGEST_FILE:
        msg = f"{path} is larger than {LARGEST_FILE} bytes"
        raise ConfigError(msg)
    try:
        raw = json.loads(content)
    except ValueError as error:
        msg = f"{path} is not JSON: provision the meter again"
        raise ConfigError(msg) from error
    return _object(raw, NAME)


def is_channel(name: object) -> bool:
    """Tell whether a channel may be called so: ^[a-z][a-z0-9_]{0,15}$."""
    return (
        isinstance(name, str)
        and 1 <= len(name) <= LONGEST_CHANNEL
        and name[0] in LOWER
        and all(c in LOWER or c in DIGITS or c == "_" for c in name)
    )


def _private(path: str) -> None:
    chmod = getattr(os, "chmod", None)  # a board's file system knows no modes
    if chmod is not None:
        chmod(path, 0o600)


def _known(raw: "dict[str, Any]", prefix: str, names: "tuple[str, ...]") -> None:
    for key in raw:
        if key not in names:
            msg = f"config: unknown key {prefix}{key}"
            raise ConfigError(msg)


def _object(value: object, key: str) -> "dict[str, Any]":
    if not isinstance(value, dict):
        msg = f"config: {key} must be an object"
        raise ConfigError(msg)
    return value


# Names in messages are put together where they are needed: each string takes RAM for good.


def _optional(raw: "dict[str, Any]", key: str, longest: int, where: str = "") -> "str | None":
    value = raw.get(key)
    return None if value is None else _text(value, where + key, longest)


def _text(value: object, key: str, longest: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= longest or "\x00" in value:
        msg = f"config: {key} must be a text of 1 to {longest} characters"
        raise ConfigError(msg)
    return value


def _number(
    raw: "dict[str, Any]",
    key: str,
    default: float,
    bounds: "tuple[float, float]",
    where: str = "",
) -> float:
    value = raw.get(key, default)
    least, most = bounds
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        msg = f"config: {where}{key} must be a number from {least} to {most}"
        raise ConfigError(msg)
    return value


def _meter(value: object) -> str:
    # ^[a-z0-9][a-z0-9-]{1,31}$, without `re` to keep the firmware small
    good = (
        isinstance(value, str)
        and SHORTEST_METER <= len(value) <= LONGEST_METER
        and value[0] != "-"
        and all(c in LOWER or c in DIGITS or c == "-" for c in value)
    )
    if not good:
        msg = "config: meter must be 2 to 32 of a-z, 0-9 and -, and not start with -"
        raise ConfigError(msg)
    return str(value)


def _wifi(value: object) -> "list[tuple[str, str]]":
    if not isinstance(value, list) or len(value) > MOST_NETWORKS:
        msg = f"config: wifi must be a list of at most {MOST_NETWORKS} networks"
        raise ConfigError(msg)
    networks = []
    for k, network in enumerate(value):
        key = f"wifi[{k}]"
        entry = _object(network, key)
        _known(entry, key + ".", ("ssid", "password"))
        # 802.11: an SSID has at most 32 bytes; WPA: a pass phrase at most 63, an open net none
        ssid = _text(entry.get("ssid"), key + "." + "ssid", 32)
        password = entry.get("password", "")
        if password != "":
            password = _text(password, key + "." + "password", 64)
        networks.append((ssid, password))
    return networks


def _channels(value: object) -> "list[str]":
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_CHANNELS:
        msg = f"config: channels must be a list of 1 to {MOST_CHANNELS} names"
        raise ConfigError(msg)
    for k, name in enumerate(value):
        if not is_channel(name) or name in value[:k]:
            msg = f"config: channels[{k}] must be a name of its own: a-z, then a-z, 0-9 or _"
            raise ConfigError(msg)
    return value


def _keys(among: "dict[str, Any]", kind: str) -> "list[bytes]":
    value, key = among.get(kind, []), "keys." + kind
    if not isinstance(value, list) or len(value) > KEYS_PER_KIND:
        msg = f"config: {key} must be a list of at most {KEYS_PER_KIND} keys"
        raise ConfigError(msg)
    keys = []
    for k, text in enumerate(value):
        try:
            raw = binascii.a2b_base64(text)
        except (ValueError, TypeError):
            raw = b""
        if len(raw) != KEY_BYTES:
            msg = f"config: {key}[{k}] must be {KEY_BYTES} bytes in base64"
            raise ConfigError(msg)
        keys.append(raw)
    return keys

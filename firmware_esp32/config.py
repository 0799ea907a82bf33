"""The meter's provisioning file `config.json`: read, checked, written back."""

import binascii
import json
import os

from errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "config.json"
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


class Config:
    """What provisioning decided about this meter.

    `wifi` is tried in order; an empty list means that the network is up without it. With
    `mqtt_host` None the gateway is looked for by mDNS; `mqtt_ca` None means no TLS.
    `mqtt_name` is what the broker's certificate must be made out to (None: the host's name).
    """

    def __init__(self, raw: "dict[str, Any]") -> None:
        """Check a decoded config.json; ConfigError names the key that is wrong."""
        _known(raw, "", ("meter", "wifi", "mqtt", "ntp", "channels", "rating", "nominal", "keys"))
        self.meter: str = _meter(raw.get("meter"))
        self.wifi: list[tuple[str, str]] = _wifi(raw.get("wifi", []))
        self._read_mqtt(_object(raw.get("mqtt", {}), "mqtt"))
        self.ntp: str | None = _optional(raw.get("ntp"), "ntp", 253)
        self.channels: list[str] = _channels(raw.get("channels"))
        self.rating_a: float = _number(raw.get("rating", 30), "rating", 1, 1000)
        nominal = _object(raw.get("nominal", {}), "nominal")
        _known(nominal, "nominal.", ("v", "f"))
        self.nominal_v: float = _number(nominal.get("v", 230), "nominal.v", 90, 480)
        self.nominal_hz: float = _number(nominal.get("f", 50), "nominal.f", 45, 65)
        keys = _object(raw.get("keys", {}), "keys")
        _known(keys, "keys.", ("release", "site"))
        self.release_keys: list[bytes] = _keys(keys.get("release", []), "keys.release")
        self.site_keys: list[bytes] = _keys(keys.get("site", []), "keys.site")
        self._raw = raw

    def _read_mqtt(self, raw: "dict[str, Any]") -> None:
        _known(raw, "mqtt.", ("host", "port", "user", "password", "ca", "name"))
        self.mqtt_host: str | None = _optional(raw.get("host"), "mqtt.host", 253)
        self.mqtt_ca: str | None = _optional(raw.get("ca"), "mqtt.ca", 200)
        self.mqtt_name: str | None = _optional(raw.get("name"), "mqtt.name", 253)
        self.mqtt_user: str | None = _optional(raw.get("user"), "mqtt.user", 64)
        self.mqtt_password: str | None = _optional(raw.get("password"), "mqtt.password", 256)
        if self.mqtt_user is None and self.mqtt_password is not None:
            self.mqtt_user = self.meter  # contract, section 1
        standard = TLS_PORT if self.mqtt_ca else PLAIN_PORT
        self.mqtt_port = int(_number(raw.get("port", standard), "mqtt.port", 1, 65535))

    def remember_wifi(self, ssid: str, password: str) -> None:
        """Put a network first; the ones known before stay as fallback, oldest dropped."""
        others = [network for network in self.wifi if network[0] != ssid]
        networks = [(ssid, password)]
        networks += others[: MOST_NETWORKS - 1]
        listed = [{"ssid": name, "password": secret} for name, secret in networks]
        self.wifi = _wifi(listed)  # raises before anything is changed
        self._raw["wifi"] = listed

    def save(self, root: str) -> None:
        """Write config.json so that a power cut leaves the old or the new one, never half."""
        path = f"{root}/{NAME}"
        with open(path + ".new", "w") as file:
            json.dump(self._raw, file)
        _private(path + ".new")
        os.rename(path + ".new", path)


def load_config(root: str) -> Config:
    """Read `root`/config.json, or raise ConfigError that names what is wrong with it."""
    path = f"{root}/{NAME}"
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        msg = f"{path} cannot be read ({error}): provision the meter"
        raise ConfigError(msg) from error
    if len(content) > LARGEST_FILE:
        msg = f"{path} is larger than {LARGEST_FILE} bytes"
        raise ConfigError(msg)
    try:
        raw = json.loads(content)
    except ValueError as error:
        msg = f"{path} is not JSON: provision the meter again"
        raise ConfigError(msg) from error
    return Config(_object(raw, NAME))


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


def _optional(value: object, key: str, longest: int) -> "str | None":
    return None if value is None else _text(value, key, longest)


def _text(value: object, key: str, longest: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= longest or "\x00" in value:
        msg = f"config: {key} must be a text of 1 to {longest} characters"
        raise ConfigError(msg)
    return value


def _number(value: object, key: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        msg = f"config: {key} must be a number from {least} to {most}"
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
        ssid = _text(entry.get("ssid"), key + ".ssid", 32)
        password = entry.get("password", "")
        if password != "":
            password = _text(password, key + ".password", 64)
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


def _keys(value: object, key: str) -> "list[bytes]":
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

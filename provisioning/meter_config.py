"""The meter's config.json (docs/firmware/link.md): made here, read by the firmware alone."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.domain.errors import BadInputError
from provisioning.broker_files import RESERVED, USER
from provisioning.networks import Network

PATH: Final = "/config.json"
CA_PATH: Final = "/ca.crt"
LARGEST: Final = 8_192  # bytes that the firmware reads
MOST_CHANNELS: Final = 6
# Clamps by chip: what firmware_esp32/board.py has pins for.
CLAMPS: Final[Mapping[str, int]] = {"ESP32S3": 6, "ESP32C3": 3, "ESP32": 5}
MOST_KEYS: Final = 2
DEFAULT_CHANNELS: Final = ("grid",)
RATING_A: Final = 30.0
_CHANNEL: Final = re.compile(r"[a-z][a-z0-9_]{0,15}")


@dataclass(frozen=True, slots=True)
class Door:
    """How a meter reaches the broker: `host` None = it looks by mDNS, `ca` None = no TLS.

    `name` is what the certificate must carry; None = the host.
    """

    host: str | None
    port: int
    name: str | None = None
    ca: bytes | None = None


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """What a meter is to be; keys are raw ed25519 public keys.

    `channels`, `rating_a`, `relay`, `networks` None: as the board has them, see `completed`.
    """

    meter: str
    door: Door
    channels: Sequence[str] | None = None
    networks: Sequence[Network] | None = None
    release_keys: Sequence[bytes] = ()
    site_keys: Sequence[bytes] = ()
    rating_a: float | None = None
    nominal_v: float = 230.0
    nominal_hz: float = 50.0
    ntp: str | None = None
    relay: bool | None = None
    label: str | None = None
    new_password: bool = False


def check(plan: MeterPlan) -> None:
    """Raise BadInputError when no meter could be so."""
    if USER.fullmatch(plan.meter) is None:
        msg = f"ID: {plan.meter[:40]!r} must be 2 to 32 of a-z, 0-9 and -, and not begin with -"
        raise BadInputError(msg)
    if plan.meter in RESERVED:
        msg = f"ID: {plan.meter!r} has rights of its own at the broker; choose another name"
        raise BadInputError(msg)
    names = DEFAULT_CHANNELS if plan.channels is None else plan.channels
    if not 1 <= len(names) <= MOST_CHANNELS or len(set(names)) < len(names):
        msg = f"--channels: 1 to {MOST_CHANNELS} different names, in the order of the clamps"
        raise BadInputError(msg)
    for name in names:
        if _CHANNEL.fullmatch(name) is None:
            msg = f"--channels: {name[:40]!r} must be a-z, then a-z, 0-9 or _, 16 at most"
            raise BadInputError(msg)
    if max(len(plan.release_keys), len(plan.site_keys)) > MOST_KEYS:
        msg = f"a meter pins at most {MOST_KEYS} keys of a kind"
        raise BadInputError(msg)


def check_clamps(plan: MeterPlan, machine: str) -> None:
    """Raise BadInputError when a completed plan has more clamps than the board's chip has pins.

    `machine` is what the board's MicroPython says of it: "… with ESP32C3".
    """
    wanted = len(plan.channels or DEFAULT_CHANNELS)
    for chip, most in CLAMPS.items():
        if machine.endswith(chip) and wanted > most:
            msg = f"--channels: {wanted} clamps, but an {chip} has pins for {most} at most"
            raise BadInputError(msg)


def completed(plan: MeterPlan, old: Mapping[str, object]) -> MeterPlan:
    """Return the plan with what it leaves open as in `old`, the board's config.json, else usual."""
    channels, rating_a, relay = old.get("channels"), old.get("rating"), old.get("relay")
    kept = channels if isinstance(channels, list) and channels else DEFAULT_CHANNELS
    whole = replace(
        plan,
        channels=plan.channels if plan.channels is not None else tuple(map(str, kept)),
        rating_a=plan.rating_a or (rating_a if isinstance(rating_a, float | int) else RATING_A),
        relay=relay is True if plan.relay is None else plan.relay,
    )
    check(whole)
    return whole


def config_json(plan: MeterPlan, password: str, networks: Sequence[Mapping[str, object]]) -> bytes:
    """Return the file for a completed plan; `networks` as they lie in the file."""
    door = plan.door
    config: dict[str, object] = {
        "meter": plan.meter,
        "channels": list(plan.channels or DEFAULT_CHANNELS),
        "wifi": list(networks),
        "mqtt": {
            "host": door.host,
            # Without a host mDNS brings the port.
            **({"port": door.port} if door.host is not None else {}),
            "user": plan.meter,
            "password": password,
            "ca": CA_PATH if door.ca is not None else None,
            "name": door.name,
        },
        "ntp": plan.ntp,
        "rating": plan.rating_a or RATING_A,
        "nominal": {"v": plan.nominal_v, "f": plan.nominal_hz},
        "relay": plan.relay is True,
        "keys": {"release": _keys(plan.release_keys), "site": _keys(plan.site_keys)},
    }
    content = json.dumps(config, sort_keys=True).encode()
    if len(content) > LARGEST:
        msg = f"the meter's settings have {len(content)} bytes, it reads {LARGEST}"
        raise BadInputError(msg)
    return content


def networks_json(networks: Sequence[Network]) -> list[dict[str, object]]:
    """Return networks as they lie in the file."""
    return [{"ssid": one.ssid, "password": one.password} for one in networks]


def _keys(keys: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(key).decode() for key in keys]

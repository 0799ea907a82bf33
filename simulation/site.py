"""Simulated meters in simulated homes, running the real firmware against a broker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simulation.chain import Chain
from simulation.fleet import NETWORKS, Fleet, Setup
from simulation.home import Home
from simulation.home_source import HomeSource
from simulation.houses import demo_homes
from simulation.spec import HomeSpec
from simulation.virtual_meter import VirtualMeter

_CA_FILE = "ca.crt"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the meters connect. With `ca` (PEM) they ask for TLS and check it."""

    host: str
    port: int
    ca: bytes | None = None


def hang_in(  # noqa: PLR0913 - a place, a name, and who it is to the broker
    fleet: Fleet, home: Home, broker: Broker, *, meter: str, seed: int, password: str | None = None
) -> VirtualMeter:
    """Put a meter into a home, one clamp on each of its channels; it is down until started.

    The fleet's time begins at the home's `since_ms`. ConfigError as `Fleet.add`.
    """
    channels = home.spec.channels
    files = {_CA_FILE: broker.ca} if broker.ca else {}
    root = fleet.directory / meter / "root"
    mqtt = {
        "host": broker.host,
        "port": broker.port,
        "ca": str(root / _CA_FILE) if broker.ca else None,
        "user": meter if password else None,
        "password": password,
    }
    (ssid, secret), *_ = NETWORKS.items()
    config: Mapping[str, object] = {
        "meter": meter,
        "wifi": [{"ssid": ssid, "password": secret}],
        "mqtt": mqtt,
        "channels": list(channels),
        "nominal": {"v": 230, "f": home.spec.mains.nominal_hz},
    }
    chain = Chain.typical(seed, clamps=len(channels))
    source = HomeSource(home, home.since_ms)
    return fleet.add(meter, source, chain, Setup(config=config, files=files))


def homes(count: int, seed: int) -> Sequence[tuple[int, HomeSpec]]:
    """Return so many homes, the three kinds in turn, each with habits of its own."""
    made: list[tuple[int, HomeSpec]] = []
    while len(made) < count:
        made += demo_homes(seed + len(made))
    return made[:count]

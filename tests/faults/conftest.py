"""Fixtures of the fault matrix: daemons on disks that misbehave."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Sections
from tests.support.disks import LoopDisk
from tests.support.faulty import FaultyDaemon
from tests.support.mosquitto import Mosquitto

MakeFaulty = Callable[..., FaultyDaemon]


@pytest.fixture
def make_faulty(own_broker: Mosquitto, short_path: Path) -> Iterator[MakeFaulty]:
    """Give a maker of daemons in a folder of the caller's; all of them are ended."""
    made: list[FaultyDaemon] = []

    def make(folder: Path | None = None, *, settings: Sections | None = None) -> FaultyDaemon:
        place = folder or short_path / f"d{len(made)}"
        daemon = FaultyDaemon(place, mqtt_port=own_broker.port, settings=settings)
        daemon.log_path = short_path / f"{len(made)}.log"
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.__exit__()


@pytest.fixture
def loop_disk(short_path: Path) -> Iterator[LoopDisk]:
    """Give a mounted ext4 file system whose power can be cut."""
    with LoopDisk(short_path / "disk") as disk:
        yield disk

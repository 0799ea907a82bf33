"""Fixtures of the services' tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.services.site_rig import Site

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a test of rules need not wait for a disk


@pytest.fixture
def site() -> Iterator[Site]:
    """Give a gateway's data path on a fresh database, in memory where the machine has that."""
    folder = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=folder) as made, Site(Path(made) / "s.db") as site:
        yield site

"""Fixtures of the services' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.services.site_rig import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Give a gateway's data path on a fresh database."""
    with Site(tmp_path / "s.db") as made:
        yield made

"""Fixtures of the web's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.web.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Give an app with three people."""
    made = Rig()
    await made.add_people()
    yield made
    made.passwords.close()

"""Fixtures of the notifier's tests."""

import pytest

from tests.gateway.services.notify.rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()

"""What the tests of installing share: this checkout's wheel, built once per test process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.wheels import build_wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give this checkout's wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare() -> Iterator[None]:
    """Have pip install our wheel alone: its dependencies are not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_DEPS", "1")
        patch.setenv("PIP_NO_INDEX", "1")
        yield

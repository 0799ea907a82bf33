"""Fixtures shared by all tests."""

import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.daemon import Daemon, Sections
from tests.support.mosquitto import Mosquitto, find_mosquitto
from tests.support.shared import shared_data


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search for garbage: it is a million objects."""
    gc.collect()
    gc.freeze()


def _need_mosquitto() -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")


@pytest.fixture(autouse=True)
def logs_to_the_present_stderr() -> Iterator[None]:
    """Forget a log configuration that a test made: its stderr may be closed by now."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Run one private mosquitto for tests that use meter names of their own."""
    _need_mosquitto()
    with Mosquitto(tmp_path_factory.mktemp("broker"), persistence=False) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Run a mosquitto for this test alone: it may be killed and restarted."""
    _need_mosquitto()
    with Mosquitto(tmp_path / "mosquitto") as running:
        yield running


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Give a directory whose path leaves room for a Unix socket's name."""
    path = Path(tempfile.mkdtemp(prefix="ww-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_daemon(own_broker: Mosquitto, short_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Give a maker of daemons at this test's broker; all of them are ended."""
    made: list[Daemon] = []

    def make(name: str = "d", *, settings: Sections | None = None) -> Daemon:
        daemon = Daemon(short_path / name, mqtt_port=own_broker.port, settings=settings)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.__exit__()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """Run the product on defaults, ready."""
    running = make_daemon()
    running.start()
    return running


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the reference data's directory, or skip loudly."""
    path = shared_data()
    if path is None:
        pytest.skip("no reference data: set WATTWARDEN_SHARED or put it at ../shared")
    return path

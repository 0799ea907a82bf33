"""Upgrades below a staging root: real releases, daemon and broker, and the ways to fail."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.adapters.installer.errors import InstallError
from gateway.adapters.installer.layout import SERVICE, Layout
from gateway.adapters.installer.releases import Releases, Source
from gateway.adapters.installer.upgrade import Upgrade, UpgradeFailedError
from gateway.adapters.installer.wheel import Wheel
from gateway.adapters.readiness import readyz
from gateway.settings import Settings
from tests.gateway.cli.rig import run
from tests.support.daemon import clean_environment, to_toml
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port
from tests.support.process_services import ProcessServices, packages_of_others
from tests.support.readings import recent_house
from tests.support.wheels import Change, other_version, with_line

pytestmark = pytest.mark.timeout(900)  # pip and venv on a busy machine
READY_S = 30.0
BOOT = 5


class Home:
    """An installed gateway that runs as a process, with a meter's readings in it."""

    def __init__(self, folder: Path, port: int, wheel: Path) -> None:
        self.folder = folder
        self.port = port
        self.layout = Layout(folder / "root")
        self.wheel = wheel
        options = ("--root", str(self.layout.root), "--extras", "", "--local-only", "--yes")
        said = run("install", "--wheel", str(self.wheel), *options)
        assert said.status == 0, said
        self.database = self.layout.state / "w.db"
        self.layout.state.mkdir(parents=True)
        self.layout.config.write_text(
            to_toml({
                "storage": {"path": str(self.database)},
                "mqtt": {"port": port},
                "web": {"port": free_port()},
                "clock": {"trust": "always"},
            })
        )  # fmt: skip
        environment = clean_environment(folder) | {"PYTHONPATH": os.environ["PYTHONPATH"]}
        self.services = ProcessServices(self.layout, environment, folder / "daemon.log")
        self.said: list[str] = []
        self.releases = Releases(self.layout)

    @property
    def settings(self) -> Settings:
        return Settings.load(self.layout.config)

    @property
    def release(self) -> str:
        current = self.releases.current()
        assert current is not None
        return current.name

    def upgrade(self, version: str, change: Change | None = None, ready_s: float = READY_S) -> None:
        """Upgrade to a version made of this one."""
        wheel = other_version(self.wheel, self.folder / version, version, change)
        self.job(wheel, ready_s).run()

    def job(self, wheel: Path, ready_s: float = READY_S) -> Upgrade:
        source = Source(Wheel(wheel), extras=())
        return Upgrade(self.layout, source, self.services, self.said.append, self.settings, ready_s)

    def send(self, first: int, count: int) -> None:
        """Send readings as a meter does, and wait until they are safe."""
        readings = recent_house(windows=first + count, boot=BOOT).take(first + count)
        with MeterClient("kitchen", self.port, boot=BOOT) as meter:
            meter.send(readings[first:])
            meter.wait_covered()

    def stored(self) -> int:
        with closing(sqlite3.connect(self.database)) as db:
            return int(db.execute("SELECT count(*) FROM readings").fetchone()[0])

    def schema(self) -> int:
        with closing(sqlite3.connect(self.database)) as db:
            return int(db.execute("PRAGMA user_version").fetchone()[0])

    def assert_runs(self, release: str) -> None:
        assert self.release == release
        assert self.services.active(SERVICE)
        assert readyz(self.settings.web)[0] or self._wait_ready()

    def _wait_ready(self) -> bool:
        until_s = time.monotonic() + READY_S
        while not readyz(self.settings.web)[0]:
            assert time.monotonic() < until_s
            time.sleep(0.2)
        return True


@pytest.fixture
def home(
    own_broker: Mosquitto, short_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Home]:
    """Give a home whose daemon runs; its packages are those of the tests' own environment."""
    monkeypatch.setenv("PIP_NO_DEPS", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PYTHONPATH", str(packages_of_others(short_path / "packages")))
    made = Home(short_path, own_broker.port, wheel)
    made.services.start(SERVICE)
    try:
        made.assert_runs(made.release)
        yield made
    finally:
        made.services.stop(SERVICE)


def new_schema_then_dead(name: str, content: bytes) -> bytes:
    """Return a version that changes the database's form, and dies once it is open."""
    if name == "gateway/adapters/store/schema.py":
        return re.sub(rb"(?m)^SCHEMA_VERSION = .*$", b"SCHEMA_VERSION = 99", content)
    if name == "gateway/app.py":
        return content + b"\ndef _stages(parts): raise RuntimeError('a defect of 9.2.0')\n"
    return content + b"\n# of 9.2.0\n" if name.endswith("/systemd/wattwarden.service") else content


def broken_with_other_files(name: str, content: bytes) -> bytes:
    """Return a version that dies, and ships another unit and other settings of the broker."""
    if name.endswith(("/systemd/wattwarden.service", "/mosquitto/wattwarden.conf")):
        return content + b"\n# of 9.5.0\n"
    if name == "gateway/app.py":
        return content + b"\nraise RuntimeError('broken')\n"
    return content


def placed_files(home: Home) -> dict[Path, tuple[bytes, int]]:
    """Return what the installer has put on the machine beside the program, with its rights."""
    etc = [path for path in home.layout.real("/etc").rglob("*") if path.is_file()]
    found = [*etc, *home.layout.real("/usr/lib").rglob("*.conf"), home.layout.record]
    return {path: (path.read_bytes(), path.stat().st_mode) for path in found}


def test_a_version_that_migrates_and_dies_is_undone_with_its_database(home: Home) -> None:
    home.send(0, 30)
    before, schema, files = home.release, home.schema(), placed_files(home)
    with pytest.raises(UpgradeFailedError, match=f"{re.escape(before)} runs again"):
        home.upgrade("9.2.0", new_schema_then_dead)
    home.assert_runs(before)
    assert placed_files(home) == files
    assert home.schema() == schema
    assert home.stored() == 30
    assert [path.name for path in home.releases.folder.iterdir()] == [before]
    (aside,) = home.layout.state.glob("w.db.before-restore-*")
    with closing(sqlite3.connect(aside)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)
    # The meter noticed nothing but a pause.
    home.send(30, 30)
    assert home.stored() == 60
    assert not (home.layout.program / "upgrading.json").exists()


@pytest.mark.soak
def test_a_good_version_takes_over_and_the_oldest_goes(home: Home) -> None:
    home.send(0, 30)
    first = home.release
    home.upgrade("9.1.0")
    home.assert_runs("9.1.0-1")
    (copy,) = home.layout.state.glob("w.db.before-upgrade-from-*")
    assert copy.name.endswith(first)
    assert copy.stat().st_mode & 0o777 == 0o600
    home.send(30, 30)
    home.upgrade("9.1.1")
    home.assert_runs("9.1.1-1")
    assert home.stored() == 60
    assert {path.name for path in home.releases.folder.iterdir()} == {"9.1.0-1", "9.1.1-1"}
    (copy,) = home.layout.state.glob("w.db.before-upgrade-from-*")
    assert copy.name.endswith("9.1.0-1")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_line("gateway/app.py", "raise RuntimeError('broken')"), "did not start"),
        (with_line("gateway/adapters/systemd.py", "def notify(*lines): pass"), "did not start"),
        (
            with_line(
                "gateway/app.py",
                "Parts.unready = lambda self: {'intake': 'a defect'}",
            ),
            "not ready within",
        ),
    ],
)
def test_every_way_to_fail_ends_with_the_old_version(home: Home, change: Change, said: str) -> None:
    home.send(0, 30)
    before = home.release
    with pytest.raises(UpgradeFailedError, match=said):
        home.upgrade("9.3.0", change, ready_s=8.0)
    home.assert_runs(before)
    assert home.stored() == 30
    # Its form was not changed, hence the database stayed in place.
    assert list(home.layout.state.glob("w.db.before-restore-*")) == []
    home.send(30, 10)
    assert home.stored() == 40


@pytest.mark.soak
def test_a_version_that_refuses_the_settings_stops_nothing(home: Home) -> None:
    before, starts = home.release, home.services.starts
    refuse = with_line("gateway/cli/run.py", "check_config.callback = lambda **_: 1 / 0")
    with pytest.raises(InstallError, match="the present version goes on"):
        home.upgrade("9.4.0", refuse)
    home.assert_runs(before)
    assert home.services.starts == starts


@pytest.mark.soak
def test_an_upgrade_that_the_power_ended_is_mended(home: Home) -> None:
    home.send(0, 30)
    before = home.release
    wheel = other_version(home.wheel, home.folder / "9.5.0", "9.5.0", broken_with_other_files)
    files = placed_files(home)
    job = home.job(wheel)

    class PowerCutError(BaseException):
        """Nothing of ours runs after it."""

    def cut(*_: object) -> None:
        raise PowerCutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Upgrade, "_back", cut)
        with pytest.raises(PowerCutError):
            job.run()
    assert home.release == "9.5.0-1"
    assert not home.services.active(SERVICE)
    changed = {path.name for path, was in placed_files(home).items() if files.get(path) != was}
    assert {SERVICE, "wattwarden.conf", "installed.json"} <= changed
    assert home.job(wheel).mend()
    home.assert_runs(before)
    assert placed_files(home) == files
    assert home.stored() == 30
    assert not home.job(wheel).mend()

"""`wattwarden meters simulate` as a process: readings come, and it takes its meters with it."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.api import write_secret
from tests.support.daemon import Daemon
from tests.support.exports import BEGINNING, END, parse_csv
from tests.support.gateway_stub import until
from tests.support.meter_site import MeterSite, secret_of
from tests.support.meter_watch import stored_windows

pytestmark = pytest.mark.timeout(90)


@contextmanager
def simulating(daemon: Daemon, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command, and end it whatever happens."""
    process = daemon.spawn("meters", "simulate", *options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=10)


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the meters' processes."""
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


def stored(daemon: Daemon, meter: str) -> int:
    """Return how many windows of a meter are stored, each once; 0 while it is unknown."""
    span = ("--start", BEGINNING, "--end", END)
    done = daemon.cli("export", "--meter", meter, "--channel", "grid", *span, "--format", "csv")
    if done.returncode != 0:
        assert meter in done.stderr, done.stderr
        return 0
    return sum(stored_windows(parse_csv(done.stdout)).values())


def test_meters_come_with_their_readings_and_go_at_the_end(short_path: Path) -> None:
    names = ["flat-1", "flat-2", "flat-3"]
    with MeterSite(short_path, names) as site:
        passwords = {name: secret_of(name) for name in names}
        secrets = write_secret(short_path / "meters.json", json.dumps(passwords))
        options = ["--count", "3", "--prefix", "flat", "--passwords", str(secrets)]
        options += ["--directory", str(short_path / "m")]
        with simulating(site.daemon, *options, "--seconds", "14") as process:
            until(lambda: len(children(process)) == 3, within_s=30)
            meters = children(process)
            said, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert said.startswith("3 meters run in ")
        assert "flat-1 to flat-3" in said
        assert said.rstrip().endswith("all meters have ended")
        assert "Traceback" not in errors
        assert not any(meter.is_running() for meter in meters)
        counts = [stored(site.daemon, name) for name in names]
        assert all(count > 2 for count in counts), counts
        # The directory keeps what they are: the next time they go on, as meters do after a boot.
        with simulating(site.daemon, *options) as process:
            until(lambda: stored(site.daemon, "flat-1") > counts[0], within_s=40)
            meters = children(process)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        psutil.wait_procs(meters, timeout=5)
        assert not any(meter.is_running() for meter in meters)
        assert sorted(site.watcher.bootns["flat-1"].values()) == [1, 2]


def test_meters_do_not_outlive_a_killed_command(daemon: Daemon) -> None:
    with simulating(daemon, "--count", "2") as process:
        until(lambda: len(children(process)) == 2, within_s=30)
        meters = children(process)
        process.kill()
        process.wait(timeout=10)
        psutil.wait_procs(meters, timeout=20)
        assert not any(meter.is_running() for meter in meters)


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [
        ('{"sim-1": "a"}', 0o644, "can be read by others; run: chmod 600"),
        ("{sim-1: a}", 0o600, "is not JSON"),
        ('["a"]', 0o600, 'must hold an object {"meter": "password"}'),
        ('{"sim-1": "a"}', 0o600, "no password for sim-2"),
    ],
)
def test_unusable_passwords_are_refused_in_one_line(
    make_daemon: Callable[..., Daemon], tmp_path: Path, content: str, mode: int, complaint: str
) -> None:
    passwords = tmp_path / "meters.json"
    passwords.write_text(content)
    passwords.chmod(mode)
    done = make_daemon().cli("meters", "simulate", "--count", "2", "--passwords", str(passwords))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "--passwords" in done.stderr
    assert complaint in done.stderr

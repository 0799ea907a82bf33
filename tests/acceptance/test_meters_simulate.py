"""`wattwarden meters simulate` as a process: readings come, and it takes its meters with it."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.daemon import Daemon
from tests.support.exports import export_rows
from tests.support.gateway_stub import until
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
    done = daemon.cli("meters", "list")
    assert done.returncode == 0, done.stderr
    if meter not in done.stdout:
        return 0
    return sum(stored_windows(export_rows(daemon, meter)).values())


def test_meters_come_with_their_readings_and_go_at_the_end(daemon: Daemon, tmp_path: Path) -> None:
    options = ["--count", "3", "--directory", str(tmp_path / "m"), "--prefix", "flat"]
    with simulating(daemon, *options, "--seconds", "14") as process:
        until(lambda: len(children(process)) == 3, within_s=30)
        meters = children(process)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert said.startswith("3 meters run in ")
    assert "flat-1 to flat-3" in said
    assert said.rstrip().endswith("all meters have ended")
    assert "Traceback" not in errors
    assert not any(meter.is_running() for meter in meters)
    counts = [stored(daemon, f"flat-{number}") for number in (1, 2, 3)]
    assert all(count > 2 for count in counts), counts
    # The directory keeps what they are: the next time they go on, as meters do after a boot.
    with simulating(daemon, *options) as process:
        until(lambda: stored(daemon, "flat-1") > counts[0], within_s=40)
        meters = children(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    psutil.wait_procs(meters, timeout=5)
    assert not any(meter.is_running() for meter in meters)


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

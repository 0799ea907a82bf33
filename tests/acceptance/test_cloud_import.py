"""A gateway without cloud carries nothing of Google's, seen in the real process's memory."""

from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import House, now_ms

GOOGLE = ("grpc", "google/protobuf", "google/_upb", "pyarrow", "google_crc32c")


def mapped(pid: int) -> set[str]:
    """Return the files that a process has loaded into its memory."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}


def loaded(daemon: Daemon) -> list[str]:
    """Return which native libraries of Google's, or pyarrow's, a daemon has loaded."""
    files = mapped(daemon.process.pid)
    return [name for name in GOOGLE if any(f"/site-packages/{name}" in file for file in files)]


def test_without_cloud_the_daemon_loads_nothing_of_google(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon]
) -> None:
    plain = make_daemon("plain")
    plain.start(within_s=60)
    with MeterClient("kitchen", own_broker.port) as meter:
        meter.send(House(start_ms=now_ms() - 60_000, boot=meter.boot).take(50))
        meter.wait_covered()
    assert plain.process.is_running()
    assert loaded(plain) == []


def test_the_check_sees_what_a_daemon_with_cloud_loads(make_daemon: Callable[..., Daemon]) -> None:
    """Without this the one above could pass for the wrong reason."""
    cloud = {"enabled": True, "project": "demo-wattwarden", "development": True}
    daemon = make_daemon("cloud", settings={"cloud": cloud})
    daemon.launch()
    daemon.wait_ready(within_s=40)
    with MeterClient("kitchen", daemon_port(daemon)) as meter:
        meter.send(House(start_ms=now_ms() - 3_600_000, boot=meter.boot, dt_ms=10_000).take(200))
        meter.wait_covered()
        meter.wait(lambda: "grpc" in loaded(daemon), 60, "nothing of grpc")


def daemon_port(daemon: Daemon) -> int:
    """Return the port of the broker in a daemon's settings."""
    line = next(x for x in daemon.config.read_text().splitlines() if x.startswith("port = "))
    return int(line.removeprefix("port = "))


def test_an_emulator_in_the_environment_is_refused_in_a_real_home(
    make_daemon: Callable[..., Daemon], monkeypatch: object
) -> None:
    daemon = make_daemon("real", settings={"cloud": {"enabled": True, "project": "my-home"}})
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")  # type: ignore[attr-defined]
    daemon.launch()
    assert daemon.wait_exit(within_s=40) == 2
    assert "FIRESTORE_EMULATOR_HOST" in daemon.log_tail()
    assert "cloud.development" in daemon.log_tail()

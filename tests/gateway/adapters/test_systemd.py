"""sd_notify over a real datagram socket, and the watchdog's period."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters import systemd


@pytest.fixture
def manager(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen as the service manager does."""
    address = str(short_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listener


def test_lines_arrive_as_one_datagram(manager: socket.socket) -> None:
    systemd.notify("READY=1", "STATUS=wattwarden 1")
    assert manager.recv(1000) == b"READY=1\nSTATUS=wattwarden 1"


def test_an_abstract_address_works(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"wattwarden-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        systemd.notify("STOPPING=1")
        assert listener.recv(1000) == b"STOPPING=1"


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    systemd.notify("READY=1")  # a warning, no error


@pytest.mark.parametrize(
    ("usec", "pid", "period_s"),
    [("20000000", None, 10.0), ("20000000", "own", 10.0), ("20000000", "1", None),
     ("", None, None), ("soon", None, None)],
)  # fmt: skip
def test_the_watchdog_s_period_is_half_of_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str | None, period_s: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid is None:
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
    else:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert systemd.watchdog_period_s() == period_s


async def test_the_watchdog_signs_life(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    task = asyncio.ensure_future(systemd.watchdog())
    for _ in range(3):
        assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

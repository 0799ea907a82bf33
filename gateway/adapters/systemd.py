"""Tell systemd how the service is doing (sd_notify(3)); silent where there is no systemd."""

import asyncio
import os
import socket

import structlog

log = structlog.get_logger()
MICROSECONDS = 1_000_000


def notify(*lines: str) -> None:
    """Send state lines such as READY=1 to the service manager, if one listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address)
            sock.sendall("\n".join(lines).encode())
        except OSError as error:
            log.warning("sd_notify_failed", error=str(error))


def watchdog_period_s() -> float | None:
    """Return half of what systemd allows between signs of life, None without a watchdog."""
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / MICROSECONDS / 2


async def watchdog() -> None:
    """Sign life from the event loop: a loop that hangs is restarted."""
    period_s = watchdog_period_s()
    while True:
        if period_s is not None:
            notify("WATCHDOG=1")
        await asyncio.sleep(period_s or 3600)

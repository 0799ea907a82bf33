"""Loopback ports for test servers, and waiting until they listen."""

import secrets
import socket
import time

# Below Linux's ephemeral range (32768-60999): an outgoing connection cannot
# take the port of a server that is down between a kill and its restart.
FIRST_PORT = 15_000
LAST_PORT = 32_000


def free_port() -> int:
    """Return a loopback TCP port nothing listens on."""
    for _ in range(200):
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    msg = "no free loopback port"
    raise RuntimeError(msg)


def listening(port: int) -> bool:
    """Tell whether something accepts connections on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
    except OSError:
        return False
    return True


def wait_for_port(port: int, *, within_s: float = 5.0) -> None:
    """Block until something listens, or raise TimeoutError."""
    deadline = time.monotonic() + within_s
    while not listening(port):
        if time.monotonic() > deadline:
            msg = f"nothing listens on port {port}"
            raise TimeoutError(msg)
        time.sleep(0.02)

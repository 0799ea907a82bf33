"""One question over UDP and the wait for its answer, on board, VM and CPython alike."""

import asyncio
import select
import socket

from errors import LinkError
from ticks import ticks_diff, ticks_ms

LARGEST = 1_500  # bytes of an answer: an Ethernet frame
POLL_S = 0.02
MOST_PER_POLL = 8


class Question:
    """A socket on a free port that sends to one place; `close` it."""

    def __init__(self, address: str, port: int) -> None:
        """Open it; LinkError when the network does not allow it (no route, no socket)."""
        try:
            self._place = socket.getaddrinfo(address, port, 0, socket.SOCK_DGRAM)[0][-1]
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            msg = f"UDP to {address}: {error}"
            raise LinkError(msg) from error
        self._socket.setblocking(False)
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)

    def send(self, message: bytes) -> None:
        """Send; LinkError when there is no way to there."""
        try:
            self._socket.sendto(message, self._place)
        except OSError as error:
            msg = f"UDP: {error}"
            raise LinkError(msg) from error

    async def answers(self, within_ms: int) -> "list[bytes]":
        """Return the datagrams of the first moment that brings any; none: an empty list."""
        started = ticks_ms()
        while True:
            found: list[bytes] = []
            while len(found) < MOST_PER_POLL and self._poller.poll(0):
                try:
                    found.append(self._socket.recv(LARGEST))
                except OSError:  # e.g. an ICMP "port unreachable" for what was sent
                    break
            if found or ticks_diff(ticks_ms(), started) >= within_ms:
                return found
            await asyncio.sleep(POLL_S)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

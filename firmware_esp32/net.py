"""A TCP or TLS stream with time limits that behaves the same on the board, the VM and CPython."""

import asyncio
import sys

from errors import LinkError

SEND_S = 15.0  # 6 kB pass in 1 s at 64 kbit/s
PIECE = 512  # bytes read at once, so that a big message needs no big allocation
MICROPYTHON = sys.implementation.name == "micropython"
# What mbedtls and OpenSSL call a certificate that does not fit.
DISTRUST = ("certificate", "CERT_VERIFY", "Hostname mismatch")


class RefusedError(LinkError):
    """The other side is there but not as provisioned: somebody must act, so retry slowly."""


class Stream:
    """One connection; every failure is a LinkError."""

    def __init__(self, reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter") -> None:
        self._reader = reader
        self._writer = writer

    async def read_into(self, view: memoryview) -> None:
        """Fill the view, piece by piece."""
        done = 0
        while done < len(view):
            piece = await self.read(min(PIECE, len(view) - done))
            view[done : done + len(piece)] = piece
            done += len(piece)

    async def read(self, most: int) -> bytes:
        """Return 1 to `most` bytes; LinkError when the other side has closed."""
        try:
            piece = await self._reader.read(most)
        except (OSError, ValueError) as error:
            raise translated(error) from error
        if not piece:
            msg = "the other side closed the connection"
            raise LinkError(msg)
        return piece

    async def send(self, data: "bytes | bytearray | memoryview") -> None:
        """Hand all of it to the network within SEND_S; not for two tasks at once."""
        try:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), SEND_S)
        except asyncio.TimeoutError as error:  # noqa: UP041 - MicroPython has no built-in one
            msg = f"nothing could be sent for {SEND_S} s"
            raise LinkError(msg) from error
        except (OSError, ValueError) as error:
            raise translated(error) from error

    def close(self) -> None:
        """Give the socket back without waiting for anything; never raises."""
        try:
            if MICROPYTHON:
                self._writer.s.close()  # type: ignore[attr-defined]
            else:
                self._writer.transport.abort()
        except OSError:
            pass


def translated(error: Exception) -> LinkError:
    """Return what a system's error means for the link."""
    text = " ".join(str(error).split()) or repr(error)
    if isinstance(error, ValueError) or any(word in text for word in DISTRUST):
        return RefusedError(f"TLS refused: {text}")
    return LinkError(text)

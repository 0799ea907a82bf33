"""A TCP or TLS stream with time limits that behaves the same on the board, the VM and CPython."""

import asyncio
import binascii
import errno
import select
import socket
import ssl
import sys

from errors import LinkError
from ticks import ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Any

CONNECT_S = 15.0  # TCP and the TLS handshake each
SEND_S = 15.0  # 6 kB pass in 1 s at 64 kbit/s
POLL_S = 0.02
PIECE = 512  # bytes read at once, so that a big message needs no big allocation
# The same numbers on Linux and lwIP; not every port names them.
IPPROTO_TCP = 6
TCP_NODELAY = 1
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
            raise _translated(error) from error
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
            raise _translated(error) from error

    def close(self) -> None:
        """Give the socket back without waiting for anything; never raises."""
        try:
            if MICROPYTHON:
                self._writer.s.close()  # type: ignore[attr-defined]
            else:
                self._writer.transport.abort()
        except OSError:
            pass


async def open_stream(
    address: str, port: int, tls: "SSLContext | None" = None, name: str = ""
) -> Stream:
    """Connect to an IPv4 address; with a TLS context the certificate must be made out to `name`.

    LinkError when nobody answers in time, RefusedError when the certificate is wrong.
    """
    opened = (
        _open_board(address, port, tls, name) if MICROPYTHON else _open(address, port, tls, name)
    )
    try:
        return await asyncio.wait_for(opened, CONNECT_S)
    except asyncio.TimeoutError as error:  # noqa: UP041 - MicroPython has no built-in one
        msg = f"{address}:{port} does not answer"
        raise LinkError(msg) from error
    except (OSError, ValueError) as error:
        raise _translated(error) from error


def tls_context(ca_file: str) -> "SSLContext":
    """Return a client context that trusts this PEM file alone; RefusedError when unusable."""
    try:
        with open(ca_file, "rb") as file:
            certificates = _der(file.read(16_384))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # MicroPython's default is to trust everyone.
        context.verify_mode = ssl.CERT_REQUIRED
        for certificate in certificates:
            context.load_verify_locations(cadata=certificate)
    except (OSError, ValueError) as error:
        msg = f"the CA file {ca_file} cannot be used ({error}): provision the meter again"
        raise RefusedError(msg) from error
    return context


def _der(pem: bytes) -> "list[bytes]":
    # mbedtls is built without its PEM reader on the boards.
    certificates = []
    for part in pem.split(b"-----BEGIN CERTIFICATE-----")[1:]:
        body = part.split(b"-----END CERTIFICATE-----")[0]
        certificates.append(binascii.a2b_base64(body.replace(b"\r", b"").replace(b"\n", b"")))
    if not certificates:
        msg = "it holds no certificate"
        raise ValueError(msg)
    return certificates


async def _open(address: str, port: int, tls: "SSLContext | None", name: str) -> Stream:
    if tls is None:
        return Stream(*await asyncio.open_connection(address, port))
    return Stream(*await asyncio.open_connection(address, port, ssl=tls, server_hostname=name))


async def _open_board(address: str, port: int, tls: "SSLContext | None", name: str) -> Stream:
    # Not MicroPython's open_connection: it leaks the socket when it is cancelled.
    family, kind, protocol, _, place = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)[0]
    plain: Any = socket.socket(family, kind, protocol)
    try:
        plain.setblocking(False)
        try:
            plain.connect(place)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        await _writable(plain)
        _no_delay(plain)
        if tls is not None:
            context: Any = tls  # MicroPython's takes the handshake's argument here
            plain = context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
            plain.setblocking(False)
        stream: Any = asyncio.StreamReader(plain)
    except BaseException:
        plain.close()
        raise
    return Stream(stream, stream)


def _no_delay(plain: socket.socket) -> None:
    # Else each message's second part waits 40 ms for the ACK of its first.
    try:
        plain.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    except OSError:
        pass


async def _writable(plain: socket.socket) -> None:
    poller = select.poll()
    poller.register(plain, select.POLLOUT)
    started = ticks_ms()
    while not poller.poll(0):
        if ticks_diff(ticks_ms(), started) > CONNECT_S * 1000:
            msg = "does not answer"
            raise OSError(msg)
        await asyncio.sleep(POLL_S)


def _translated(error: Exception) -> LinkError:
    text = " ".join(str(error).split()) or repr(error)
    if isinstance(error, ValueError) or any(word in text for word in DISTRUST):
        return RefusedError(f"TLS refused: {text}")
    return LinkError(text)

"""Opening a connection to the broker: TCP, TLS, CONNECT; loaded for the time that takes."""

import asyncio
import binascii
import errno
import select
import socket
import ssl
import struct

import packets
from errors import LinkError
from net import MICROPYTHON, RefusedError, Stream, translated
from ticks import ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Any

CONNECT_S = 15.0  # TCP and the TLS handshake each
CONNACK_S = 15.0  # also the TLS handshake, which starts with the first byte sent
POLL_S = 0.02
# The same numbers on Linux and lwIP; not every port names them.
IPPROTO_TCP = 6
TCP_NODELAY = 1
CONNECT = 0x10
CONNACK = 0x20
CLEAN_SESSION = 0x02  # connect flags [3.1.2.3]
WILL_QOS_1_RETAINED = 0x04 | 0x08 | 0x20
USER = 0x80
PASSWORD = 0x40

# Return codes of CONNACK [3.2.2.3]; from 4 on somebody must act.
REASONS = {
    1: "protocol version not supported",
    2: "client identifier rejected",
    3: "broker unavailable",
    4: "wrong user name or password",
    5: "not authorised (wrong password?)",
}
UNAVAILABLE = 3


async def greet(stream: Stream, hello: bytes) -> None:
    """Send CONNECT and wait for the answer; RefusedError when the broker says no.

    Closes the stream when it fails.
    """
    try:
        await asyncio.wait_for(_greet(stream, hello), CONNACK_S)
    except asyncio.TimeoutError as error:  # noqa: UP041 - MicroPython has no built-in one
        stream.close()
        msg = "the broker does not answer CONNECT"
        raise LinkError(msg) from error
    except BaseException:
        stream.close()
        raise


async def _greet(stream: Stream, hello: bytes) -> None:
    await stream.send(hello)
    answer = bytearray(4)
    await stream.read_into(memoryview(answer))
    if answer[0] != CONNACK or answer[1] != 2:  # noqa: PLR2004 - its only length
        packets.malformed("no CONNACK")
    code = answer[3]
    if code:
        reason = REASONS.get(code, f"code {code}")
        kind = LinkError if code == UNAVAILABLE else RefusedError
        msg = f"the broker refuses the meter: {reason}"
        raise kind(msg)


def connect_packet(
    client_id: str,
    user: "str | None",
    password: "str | None",
    keepalive_s: int,
    will: "tuple[str, str] | None",
) -> bytes:
    """Return CONNECT with a clean session; `will` is topic and text, QoS 1 and retained."""
    flags = CLEAN_SESSION
    body = packets.text(client_id)
    if will is not None:
        flags |= WILL_QOS_1_RETAINED
        body += packets.text(will[0]) + packets.text(will[1])
    if user is not None:
        flags |= USER
        body += packets.text(user)
        if password is not None:
            flags |= PASSWORD
            body += packets.text(password)
    body = packets.text("MQTT") + bytes((4, flags)) + struct.pack(">H", keepalive_s) + body
    return packets.header(CONNECT, len(body)) + body


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
        raise translated(error) from error


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

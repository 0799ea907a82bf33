"""Opening a connection to the broker: TCP, TLS, CONNECT; loaded for the time that takes.

It must be possible to load it into a heap in small pieces: a meter that cannot never comes back.
The largest piece is the table of a module's names, so there are few of them here: 272 bytes in
the VM up to 17 of them, 368 from 18 on.
"""

import asyncio

import packets
from errors import LinkError
from net import MICROPYTHON, RefusedError, Stream, translated

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
UNAVAILABLE = 3  # of CONNACK's return codes [3.2.2.3]; from 4 on somebody must act


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
        msg = "malformed packet from the broker: no CONNACK"
        raise LinkError(msg)
    code = answer[3]
    if code:
        reasons = {
            1: "protocol version not supported",
            2: "client identifier rejected",
            3: "broker unavailable",
            4: "wrong user name or password",
            5: "not authorised (wrong password?)",
        }
        reason = reasons.get(code, f"code {code}")
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
    front = packets.text("MQTT") + bytes((4, flags, keepalive_s >> 8, keepalive_s & 0xFF))
    return packets.header(CONNECT, len(front) + len(body)) + front + body


async def open_stream(
    address: str, port: int, tls: "SSLContext | None" = None, name: str = ""
) -> Stream:
    """Connect to an IPv4 address; with a TLS context the certificate must be made out to `name`.

    LinkError when nobody answers in time, RefusedError when the certificate is wrong.
    """
    opened = (
        _open_board(address, port, tls, name)
        if MICROPYTHON
        else _open_shim(address, port, tls, name)
    )
    try:
        return await asyncio.wait_for(opened, CONNECT_S)
    except asyncio.TimeoutError as error:  # noqa: UP041 - MicroPython has no built-in one
        msg = f"{address}:{port} does not answer"
        raise LinkError(msg) from error
    except (OSError, ValueError) as error:
        raise translated(error) from error


async def _open_shim(address: str, port: int, tls: "SSLContext | None", name: str) -> Stream:
    if tls is None:
        return Stream(*await asyncio.open_connection(address, port))
    return Stream(*await asyncio.open_connection(address, port, ssl=tls, server_hostname=name))


async def _open_board(address: str, port: int, tls: "SSLContext | None", name: str) -> Stream:
    # Not MicroPython's open_connection: it leaks the socket when it is cancelled.
    import errno  # noqa: PLC0415 - here they are no names of the module's
    import select  # noqa: PLC0415
    import socket  # noqa: PLC0415

    family, kind, protocol, _, place = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)[0]
    plain: Any = socket.socket(family, kind, protocol)
    try:
        plain.setblocking(False)
        try:
            plain.connect(place)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        poller = select.poll()
        poller.register(plain, select.POLLOUT)
        while not poller.poll(0):  # noqa: ASYNC110 - until the caller's time is over
            await asyncio.sleep(POLL_S)
        try:  # else each message's second part waits 40 ms for the ACK of its first
            plain.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except OSError:
            pass
        if tls is not None:
            context: Any = tls  # MicroPython's takes the handshake's argument here
            plain = context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
            plain.setblocking(False)
        stream: Any = asyncio.StreamReader(plain)
    except BaseException:
        plain.close()
        raise
    return Stream(stream, stream)

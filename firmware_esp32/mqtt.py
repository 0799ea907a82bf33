"""A small MQTT 3.1.1 client: QoS 1, last will, keep-alive, every wait bounded."""

import asyncio

import packets
from errors import LinkError
from log import log
from net import RefusedError, Stream
from ondemand import drop, make_room
from ticks import ticks_add, ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from ssl import SSLContext
    from typing import Any

# Bytes of a payload; bigger ones are skipped. A chunk of 1024 bytes takes 1.5 kB; taking an ack
# apart needs four times its size for a moment.
LARGEST_INBOUND = 2_048
MOST_IN_FLIGHT = 4
PUBACK_MS = 20_000
WATCH_S = 0.5
LARGEST_ID = 0xFFFF
LONGEST_TOPIC = 256
SMALL = 256  # bytes that are copied together into one segment


class Client:
    """One connection to a broker, used once: connect, subscribe, run; then a new one.

    `on_message(topic, payload, retained)` is called for every whole message; `payload` is a
    view of a buffer that the next message overwrites. A defect in it is logged and counted.
    """

    def __init__(  # noqa: PLR0913 - what CONNECT carries
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        user: "str | None" = None,
        password: "str | None" = None,
        keepalive_s: int = 30,
        will_topic: "str | None" = None,
        will_payload: str = "",
        ssl: "SSLContext | None" = None,
        server_hostname: "str | None" = None,
        on_message: "Callable[[str, memoryview, bool], None]",
        buffer: "bytearray | None" = None,
    ) -> None:
        self.skipped = 0  # inbound messages that were too big
        self.defects = 0  # messages that on_message failed on
        self._place = (host, port, ssl, server_hostname or host)
        will = None if will_topic is None else (will_topic, will_payload)
        self._hello = (client_id, user, password, keepalive_s, will)
        self._keepalive_ms = keepalive_s * 1000
        self._on_message = on_message
        self._buffer = memoryview(buffer or bytearray(LARGEST_INBOUND))
        self._stream: Stream | None = None
        self._error: LinkError | None = None
        self._over = asyncio.Event()
        self._freed = asyncio.Event()
        self._sending = asyncio.Lock()
        self._last_id = 0
        # packet id -> [event, tick of the deadline, answered]
        self._waiting: dict[int, list[Any]] = {}
        self._skipping = False
        self._heard = self._sent = ticks_ms()
        self._pinged = False

    # -- what the owner calls -----------------------------------------------------------

    async def connect(self) -> None:
        """Open the connection and say hello; RefusedError when the broker says no."""
        host, port, tls, name = self._place
        make_room()
        try:
            import dial  # noqa: PLC0415 - for the time this takes
        except MemoryError:
            drop("dial")  # what there is of it
            raise
        try:
            stream = await dial.open_stream(host, port, tls, name)
            await dial.greet(stream, dial.connect_packet(*self._hello))
        finally:
            del dial
            drop("dial")
        if self._error is not None:  # given up meanwhile
            stream.close()
            raise self._failure()
        self._stream = stream
        self._heard = self._sent = ticks_ms()

    async def publish(
        self,
        topic: str,
        payload: "str | bytes | memoryview",
        qos: int = 1,
        retain: bool = False,
    ) -> None:
        """Send a message; at QoS 1 return when the broker has acknowledged it."""
        body = payload.encode() if isinstance(payload, str) else payload
        if qos == 0:
            await self._send(packets.publish_head(topic, len(body), 0, retain), body)
            return
        packet_id = await self._new_id()
        head = packets.publish_head(topic, len(body), packet_id, retain)
        await self._request(packet_id, head, body)

    async def subscribe(self, topics: "list[str]") -> None:
        """Subscribe at QoS 1; LinkError when the broker refuses one. Needs `run`."""
        packet_id = await self._new_id()
        codes = await self._request(packet_id, packets.subscribe(packet_id, topics), b"")
        if len(codes) != len(topics) or any(code & packets.REFUSED for code in codes):
            msg = "the broker refuses a subscription (its access list?)"
            raise RefusedError(msg)

    async def run(self) -> None:
        """Read and keep alive until the connection is lost; then raise that LinkError."""
        tasks = [
            asyncio.create_task(self._guarded(self._read_for_ever())),
            asyncio.create_task(self._guarded(self._watch())),
        ]
        try:
            await self._over.wait()
        finally:
            self._fail(LinkError("given up"))
            for task in tasks:
                task.cancel()
        raise self._failure()

    async def close(self) -> None:
        """Tell the broker goodbye, so that it keeps the last will to itself, and hang up."""
        try:
            await self._send(packets.DISCONNECT)
        finally:
            self.abort()

    def abort(self, reason: str = "closed") -> None:
        """Hang up without a word; whoever waits gets a LinkError."""
        self._fail(LinkError(reason))

    def abort_with(self, error: LinkError) -> None:
        """Hang up; `run` raises this error."""
        self._fail(error)

    # -- connection ---------------------------------------------------------------------

    def _open_stream(self) -> Stream:
        if self._stream is None or self._error is not None:
            raise self._failure()
        return self._stream

    def _failure(self) -> LinkError:
        return self._error or LinkError("closed")

    def _fail(self, error: LinkError) -> None:
        if self._error is not None:
            return
        self._error = error
        if self._stream is not None:
            self._stream.close()
        for entry in self._waiting.values():
            entry[0].set()
        self._freed.set()
        self._over.set()

    async def _guarded(self, loop: "Coroutine[Any, Any, None]") -> None:
        try:
            await loop
        except LinkError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect ends the connection, not the meter
            self._fail(LinkError(f"defect in the client: {error!r}"))

    # -- outbound -----------------------------------------------------------------------

    async def _new_id(self) -> int:
        while len(self._waiting) >= MOST_IN_FLIGHT:
            self._open_stream()
            self._freed.clear()
            await self._freed.wait()
        self._open_stream()
        while True:
            self._last_id = self._last_id % LARGEST_ID + 1
            if self._last_id not in self._waiting:
                break
        self._waiting[self._last_id] = [
            asyncio.Event(),
            ticks_add(ticks_ms(), PUBACK_MS),
            None,
        ]
        return self._last_id

    async def _request(self, packet_id: int, head: bytes, body: "bytes | memoryview") -> bytes:
        entry = self._waiting[packet_id]
        try:
            await self._send(head, body)
            await entry[0].wait()
        finally:
            self._waiting.pop(packet_id, None)
            self._freed.set()
        if entry[2] is None:
            raise self._failure()
        answer: bytes = entry[2]
        return answer

    async def _send(self, head: bytes, body: "bytes | memoryview" = b"") -> None:
        await self._sending.acquire()
        try:
            self._sent = ticks_ms()
            if len(body) < SMALL:
                await self._open_stream().send(head + bytes(body))
            else:
                await self._open_stream().send(head)
                await self._open_stream().send(body)
        except LinkError as error:
            self._fail(error)
            raise
        except BaseException:
            # Cancelled: half a packet may be out, nothing can follow it.
            self._fail(LinkError("a packet was cut short"))
            raise
        finally:
            self._sending.release()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            now = ticks_ms()
            for entry in self._waiting.values():
                if ticks_diff(now, entry[1]) > 0 and not self._skipping:
                    msg = f"no acknowledgement for {PUBACK_MS // 1000} s"
                    raise LinkError(msg)
            silent_ms = ticks_diff(now, self._heard)
            if silent_ms > self._keepalive_ms * 3 // 2:
                msg = f"nothing heard for {silent_ms // 1000} s"
                raise LinkError(msg)
            quiet_ms = max(silent_ms, ticks_diff(now, self._sent))
            if quiet_ms > self._keepalive_ms // 2 and not self._pinged:
                self._pinged = True
                await self._send(packets.PINGREQ)

    # -- inbound ------------------------------------------------------------------------

    async def _read_for_ever(self) -> None:
        stream = self._open_stream()
        while True:
            await stream.read_into(self._buffer[:2])  # no packet is shorter
            first = self._buffer[0]
            length = await self._length(stream, self._buffer[1])
            self._heard = ticks_ms()
            if first & 0xF0 == packets.PUBLISH:
                await self._message(stream, first, length)
            elif first in (packets.PUBACK, packets.SUBACK):
                await self._answer(stream, first, length)
            elif first == packets.PINGRESP and length == 0:
                self._pinged = False
            else:
                packets.malformed(f"type {first:#x}, length {length}")

    async def _length(self, stream: Stream, digit: int) -> int:
        length = digit & 0x7F
        for k in range(1, packets.LENGTH_BYTES):
            if digit < 0x80:  # noqa: PLR2004 - the continuation bit
                break
            digit = (await stream.read(1))[0]
            length |= (digit & 0x7F) << 7 * k
        if digit & 0x80:
            packets.malformed("length")
        return length

    async def _answer(self, stream: Stream, first: int, length: int) -> None:
        if not 2 <= length <= 64 or (first == packets.PUBACK and length != 2):  # noqa: PLR2004
            packets.malformed(f"answer of {length} bytes")
        view = self._buffer[:length]
        await stream.read_into(view)
        entry = self._waiting.get(packets.number(view))
        if entry is not None:
            entry[2] = bytes(view[2:])
            entry[0].set()

    async def _message(self, stream: Stream, first: int, length: int) -> None:
        qos = first & packets.QOS_BITS
        if qos not in (0, packets.QOS_1):
            packets.malformed("QoS")
        front = 4 if qos else 2  # topic length and packet id
        if length < front:
            packets.malformed("short PUBLISH")
        buffer = self._buffer
        await stream.read_into(buffer[:2])
        topic_length = packets.number(buffer)
        if topic_length > min(LONGEST_TOPIC, length - front):
            packets.malformed("topic")
        await stream.read_into(buffer[: topic_length + front - 2])
        try:
            topic = bytes(buffer[:topic_length]).decode()
        except ValueError:
            packets.malformed("topic's text")
        packet_id = packets.number(buffer, topic_length) if qos else 0
        rest = length - topic_length - front
        if rest > len(buffer):
            await self._skip(stream, topic, rest)
        else:
            await stream.read_into(buffer[:rest])
            self._deliver(topic, buffer[:rest], bool(first & packets.RETAIN))
        if packet_id:
            await self._send(packets.puback(packet_id))

    async def _skip(self, stream: Stream, topic: str, length: int) -> None:
        log(f"mqtt: skipped a message of {length} bytes on {topic}")
        self.skipped += 1
        self._skipping = True
        while length:
            length -= len(await stream.read(min(512, length)))
            self._heard = ticks_ms()
        self._skipping = False

    def _deliver(self, topic: str, payload: memoryview, retained: bool) -> None:
        try:
            self._on_message(topic, payload, retained)
        except Exception as error:  # noqa: BLE001 - a defect there must not end the link
            self.defects += 1
            log(f"mqtt: handling of {topic} failed: {error!r}")

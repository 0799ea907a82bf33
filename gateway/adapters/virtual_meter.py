"""A meter made of software: sends readings as the wire contract asks a meter to (rule D)."""

import asyncio
import contextlib
import json
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import aiomqtt
import msgspec
import structlog
from msgspec import Struct
from paho.mqtt.client import MQTTMessage

from gateway.domain.errors import BrokerLostError
from gateway.domain.readings import Reading
from gateway.settings import MqttSettings, read_secret, tls_context

log = structlog.get_logger()
RESEND_S = 10.0  # contract, rule D
STATE_EVERY_S = 60.0  # contract, section 2
TICK_S = 0.5
LARGEST_ARRAY = 120
LONGEST_PAUSE_S = 2.0  # between two tries to connect
KEEPALIVE_S = 15
GOODBYE_S = 1.0
OFFLINE = b'{"online":false}'
Clock = Callable[[], tuple[int, int | None]]  # (up, t) in ms; t None = not set


class _Part(Struct):
    boot: int
    upto: int


class _Register(Struct):
    wh_in: float | None = None
    wh_out: float | None = None


class _Ack(Struct):
    boot: int
    upto: int
    more: list[_Part] = []
    now: int | None = None
    regs: dict[str, _Register] = {}


_decode_ack = msgspec.json.Decoder(_Ack).decode
_decode_reading = msgspec.json.Decoder(Reading).decode
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Counters:
    """What a virtual meter has done; readings unless named otherwise."""

    offered: int = 0
    covered: int = 0
    messages: int = 0  # first sendings
    resent: int = 0  # messages sent again
    acks: int = 0
    connects: int = 0


@dataclass(slots=True)
class _Held:
    """One message that no ack covers yet: windows `first` to `last` of a boot."""

    topic: str
    payload: bytes
    boot: int
    first: int
    last: int
    readings: int
    sent_s: float = 0.0
    sent_before: bool = False


class VirtualMeter:
    """One meter at a broker: `run` holds the connection, `offer` takes readings.

    A message is kept until an application ack covers it, and sent again when it is
    uncovered for 10 s and after every reconnect, oldest first. After connecting one
    message goes out alone until an ack comes, and again if that leaves it uncovered; then up
    to `window` may be uncovered.
    At most `capacity` messages are held: `offer` waits when there are more.
    """

    def __init__(  # noqa: PLR0913 - keyword-only options of one thing
        self,
        settings: MqttSettings,
        meter: str,
        *,
        boot: int,
        number: int = 1,
        username: str | None = None,
        password: str | None = None,
        window: int = 256,
        capacity: int = 512,
        clock: Clock | None = None,
    ) -> None:
        self.meter = meter
        self.counters = Counters()
        self.online = False
        self.regs: dict[str, tuple[float | None, float | None]] = {}  # of the newest ack
        self._settings = settings
        self._username = username or settings.username
        self._password = password
        self._window = window
        self._capacity = capacity
        self._clock = clock or _own_clock()
        self._boot = boot
        self._numbers = {boot: number}
        self._next_seq = {boot: 0}
        self._upto: dict[int, int] = {}
        self._unsent: deque[_Held] = deque()
        self._sent: deque[_Held] = deque()
        self._client: aiomqtt.Client | None = None
        self._limit = 1  # messages of readings that may be uncovered
        self._flying = 0  # and how many are
        self._state_due_s = 0.0
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    # -- the caller's side --------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Return how many readings no ack covers yet."""
        return sum(held.readings for queue in (self._sent, self._unsent) for held in queue)

    async def offer(self, readings: Sequence[Mapping[str, object]]) -> None:
        """Take one message of readings of one boot in order; waits while too many are held.

        One reading goes as an object, several as an array. ValueError for none, more than
        120, or readings of two boots; msgspec.ValidationError for one against the contract.
        """
        if not 1 <= len(readings) <= LARGEST_ARRAY:
            msg = f"{len(readings)} readings in one message; 1 to {LARGEST_ARRAY} are allowed"
            raise ValueError(msg)
        first = _decode_reading(_encode(readings[0]))
        last = _decode_reading(_encode(readings[-1]))
        if any(reading.get("boot") != first.boot for reading in readings):
            msg = "readings of different boots in one message"
            raise ValueError(msg)
        payload = _encode(readings[0] if len(readings) == 1 else readings)
        span = (first.seq - first.n + 1, last.seq)
        await self.offer_encoded(payload, boot=first.boot, span=span, count=len(readings))

    async def offer_encoded(
        self, payload: bytes, *, boot: int, span: tuple[int, int], count: int
    ) -> None:
        """Take a message already encoded, of windows `span` (both included)."""
        self.counters.offered += count
        await self._hold(_Held(self._topic("readings"), payload, boot, *span, count))

    async def drop(self, first: int, last: int, *, boot: int | None = None) -> None:
        """Report windows that this meter does not have; told again until an ack passes them."""
        which = self._boot if boot is None else boot
        up_ms, t_ms = self._clock()
        body = {"boot": which, "seq": last, "up": up_ms, "t": t_ms, "kind": "dropped"}
        payload = _encode({**body, "from": first, "to": last})
        await self._hold(_Held(self._topic("events"), payload, which, first, last, 0))

    def reboot(self, boot: int) -> None:
        """Go on as a new boot; what is held of the old ones stays held."""
        number = self._numbers[self._boot] + 1
        self._boot = boot
        self._numbers[boot] = number
        self._next_seq[boot] = 0
        self._publish_state()

    async def drained(self) -> None:
        """Wait until an ack covers everything taken."""
        await self._empty.wait()

    async def run(self, *, patience_s: float | None = None) -> None:
        """Keep connected until cancelled, then say goodbye.

        Tries again by itself; raises BrokerLostError once there has been no connection for
        `patience_s` (None: never), and ConfigError when the password's file cannot be read.
        """
        secret = self._settings.password_file
        if self._password is None and secret is not None:
            self._password = read_secret(secret, key="mqtt.password_file")
        since_s = time.monotonic()
        pause_s = 0.1
        while True:
            connects = self.counters.connects
            try:
                await self._session()
            except (aiomqtt.MqttError, OSError) as error:
                if self.counters.connects > connects:
                    since_s, pause_s = time.monotonic(), 0.1
                log.debug("meter_offline", meter=self.meter, error=str(error))
                if patience_s is not None and time.monotonic() - since_s > patience_s:
                    where = f"{self._settings.host}:{self._settings.port}"
                    msg = f"meter {self.meter}: broker {where}: {error!s}"
                    raise BrokerLostError(msg) from error
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    # -- one connection -----------------------------------------------------------------------

    async def _session(self) -> None:
        """Hold one connection until it breaks (MqttError) or this is cancelled."""
        client = aiomqtt.Client(
            self._settings.host,
            self._settings.port,
            username=self._username,
            password=self._password,
            identifier=self.meter,
            clean_session=True,
            keepalive=KEEPALIVE_S,
            max_inflight_messages=2 * self._window + 16,
            # Small messages must not wait for the answer to the one before (Nagle).
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
            tls_context=tls_context(self._settings),
            will=aiomqtt.Will(self._topic("state"), OFFLINE, qos=1, retain=True),
        )
        # Straight from paho's callback: aiomqtt's queue would have no bound.
        client._client.on_message = self._on_message  # noqa: SLF001
        async with client:
            await client.subscribe(self._topic("ack"), qos=1)
            self.counters.connects += 1
            self._begin(client)
            lost = client._disconnected  # noqa: SLF001 - aiomqtt tells it only to its iterator
            try:
                while not lost.done():
                    await asyncio.wait([lost], timeout=TICK_S)
                    self._tick()
                lost.result()
            except asyncio.CancelledError:
                with contextlib.suppress(aiomqtt.MqttError):
                    await client.publish(
                        self._topic("state"), OFFLINE, qos=1, retain=True, timeout=GOODBYE_S
                    )
                raise
            finally:
                self._client = None
                self.online = False

    def _begin(self, client: aiomqtt.Client) -> None:
        """Start over on a new connection: nothing counts as sent, the oldest goes first."""
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        self._client = client
        self._limit, self._flying = 1, 0
        self.online = True
        self._publish_state()
        self._pump()

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._state_due_s:
            self._publish_state()
        for held in self._sent:
            if now_s - held.sent_s >= RESEND_S:
                self._send(held)
        self._pump()

    def _pump(self) -> None:
        """Send what the window allows."""
        while self._unsent and self._client is not None:
            held = self._unsent[0]
            # An event waits for no turn: alone it might not be answered.
            if held.readings and self._flying >= self._limit:
                return
            self._flying += bool(held.readings)
            self._sent.append(self._unsent.popleft())
            self._send(held)

    def _send(self, held: _Held) -> None:
        if self._client is None:
            return
        # Not awaited: the broker's PUBACK is no promise, only the gateway's ack is.
        self._client._client.publish(held.topic, held.payload, qos=1)  # noqa: SLF001
        held.sent_s = time.monotonic()
        if held.sent_before:
            self.counters.resent += 1
        else:
            self.counters.messages += 1
            held.sent_before = True

    def _publish_state(self) -> None:
        """Tell what is held: windows below `from`, and boots not listed, are final."""
        if self._client is None:
            return
        oldest = {self._boot: self._next_seq[self._boot]}
        for queue in (self._sent, self._unsent):
            for held in queue:
                oldest[held.boot] = min(held.first, oldest.get(held.boot, held.first))
        up_ms, t_ms = self._clock()
        number = self._numbers[self._boot]
        body = {
            "online": True, "fw": "virtual", "model": 0, "cal": 0, "rssi": 0, "heap": 0,
            "backlog": self.backlog, "boot": self._boot, "bootn": number, "up": up_ms, "t": t_ms,
            "have": [
                {"boot": boot, "bootn": self._numbers.get(boot, number), "from": max(first, 0)}
                for boot, first in oldest.items()
            ],
        }  # fmt: skip
        topic = self._topic("state")
        self._client._client.publish(topic, json.dumps(body), qos=1, retain=True)  # noqa: SLF001
        self._state_due_s = time.monotonic() + STATE_EVERY_S

    # -- acks ---------------------------------------------------------------------------------

    def _on_message(self, _client: object, _userdata: object, message: MQTTMessage) -> None:
        try:
            ack = _decode_ack(message.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("bad_ack", meter=self.meter, error=str(error))
            return
        self.counters.acks += 1
        self.regs = {name: (pair.wh_in, pair.wh_out) for name, pair in ack.regs.items()}
        # A retained one may be of a database that is gone: what is held is sent regardless.
        if message.retain:
            return
        self._upto.update({ack.boot: ack.upto, **{part.boot: part.upto for part in ack.more}})
        self._sent = self._uncovered(self._sent)
        self._open_window()
        self._unsent = self._uncovered(self._unsent)
        self._flying = sum(held.readings > 0 for held in self._sent)
        if len(self._sent) + len(self._unsent) < self._capacity:
            self._room.set()
        if not self._sent and not self._unsent:
            self._empty.set()
        self._pump()

    def _open_window(self) -> None:
        """Let more than one message go out, now that the gateway has been heard.

        Where its ack leaves the one that went alone uncovered, that one may be lost: a broker that
        was killed can forget who listens. It goes again before the others, so that order is kept.
        """
        if self._limit == 1 and (alone := next((h for h in self._sent if h.readings), None)):
            self._send(alone)
        self._limit = self._window

    def _uncovered(self, queue: deque[_Held]) -> deque[_Held]:
        """Return what no ack covers yet."""
        kept = deque(held for held in queue if held.last > self._upto.get(held.boot, -1))
        if len(kept) < len(queue):
            self.counters.covered += sum(h.readings for h in queue) - sum(h.readings for h in kept)
        return kept

    async def _hold(self, held: _Held) -> None:
        while len(self._sent) + len(self._unsent) >= self._capacity:
            self._room.clear()
            await self._room.wait()
        self._next_seq[held.boot] = max(held.last + 1, self._next_seq.get(held.boot, 0))
        self._unsent.append(held)
        self._empty.clear()
        self._pump()

    def _topic(self, kind: str) -> str:
        return f"ww/v1/{self.meter}/{kind}"


def _own_clock() -> Clock:
    """Return a clock that starts now and is set."""
    started_s = time.monotonic()
    return lambda: (int((time.monotonic() - started_s) * 1000), int(time.time() * 1000))

"""The meter's connection to its gateway: kept for ever, everything sent and received here."""

import asyncio
import gc
import json

from backoff import LEAST_MS, Backoff
from clock import ACK
from errors import BadRecordError, LinkError
from finder import Finder
from inbox import Inbox
from log import log
from mqtt import LARGEST_INBOUND, Client
from net import RefusedError
from ondemand import drop
from outbox import MOST_EVENTS, MOST_RESULTS, Queue, event_text
from ticks import ticks_diff, ticks_ms
from wire import dropped_text, parsed, read_ack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Any

    from clock import Clock
    from ports import About, Handlers, LinkBoard, Sender
    from settings import Settings

STATE_EVERY_MS = 60_000
KEEPALIVE_S = 30
STABLE_MS = 30_000  # a connection that lived so long was a good one
IDLE_MS = 100
SETTLED_MS = 3_000  # a retained ack comes at once after subscribing
INBOUND = {"ack": "ack", "cmd": "cmd", "desired": "desired", "bundle/chunk": "chunk"}


class Link:
    """Connects, reconnects, publishes what others hand over, hands on what comes in.

    `handlers` has the keys cmd (`async f(message, receipt_ms)`), desired and chunk
    (`async f(message)`); each runs in its own task, never two of one kind at once, and may
    take as long as it likes. `about()` gives the fields of `state` that others know:
    fw, model, cal, boot, bootn.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts it joins
        self,
        config: "Settings",
        board: "LinkBoard",
        keeper: "Sender",
        clock: "Clock",
        handlers: "Handlers",
        about: "About",
    ) -> None:
        self.connected_since_ms: int | None = None  # up, of the present connection
        self.acked = False  # the gateway itself has answered on this connection
        self.events = Queue(MOST_EVENTS)
        self.results = Queue(MOST_RESULTS)
        self.inbox = Inbox(handlers, self._handler_failed)
        self._config = config
        self._board = board
        self._keeper = keeper
        self._clock = clock
        self._about = about
        self._finder = Finder(config, board)
        self._backoff = Backoff(board.random32)
        self._client: Client | None = None
        self._skipped = 0  # by the clients before
        self._ack: dict[str, Any] | None = None  # the last, for `first_ack` alone
        self._wants_ack = True
        self._again = asyncio.Event()
        gc.collect()  # after all the imports the heap is full of holes
        self._buffer = bytearray(LARGEST_INBOUND)
        self._tls: SSLContext | None = None
        self._prefix = f"ww/v1/{config.meter}/"
        self._ready_tick: int | None = None  # since when this connection is subscribed
        self._state_tick: int | None = None

    # -- for the other parts of the meter ---------------------------------------------

    def send_event(self, event: "dict[str, Any]") -> None:
        """Queue an event; what it lacks of `boot`, `seq`, `up` and `t` is filled in.

        `seq` is the last window's, `t` the time of `up` when it is sent.
        Bounded: the oldest is dropped and counted in `events.dropped`.
        """
        event.setdefault("boot", self._about()["boot"])
        event.setdefault("seq", max(self._keeper.seq, 0))
        event.setdefault("up", self._board.up_ms())
        self.events.put(event)

    def skipped(self) -> int:
        """Return how many inbound messages were too big since the boot."""
        return self._skipped + (0 if self._client is None else self._client.skipped)

    def send_result(self, result: "dict[str, Any]") -> None:
        """Queue a command's result `{"id","ok","error","data"}`; bounded like events."""
        self.results.put(result)

    async def request_chunk(self, kind: str, version: int, offset: int, length: int) -> None:
        """Ask for a piece of a bundle; LinkError when there is no connection."""
        client = self._client
        if client is None or self.connected_since_ms is None:
            msg = "not connected"
            raise LinkError(msg)
        request = {"kind": kind, "version": version, "offset": offset, "length": length}
        await client.publish(self._prefix + "bundle/get", json.dumps(request))

    async def first_ack(self, timeout_s: float) -> "dict[str, Any] | None":
        """Wait for the gateway's (retained) ack, once; None when there is none within the time."""
        started = ticks_ms()
        while self._ack is None and ticks_diff(ticks_ms(), started) < timeout_s * 1000:
            since = self._ready_tick
            if since is not None and ticks_diff(ticks_ms(), since) > SETTLED_MS:
                break  # a gateway that never heard of this meter
            await asyncio.sleep(IDLE_MS / 1000)
        # Kept no longer: an ack is 1 kB, and a new one each second lay wherever there was room.
        ack, self._ack, self._wants_ack = self._ack, None, False
        return ack

    async def reconnect(self, network: "tuple[str, str] | None" = None) -> None:
        """Drop the connection and connect anew at once.

        With `network` (ssid, password) only that Wi-Fi is used until the next call; without
        it those of the configuration. Success shows in `acked`.
        """
        self._finder.use(network)
        self._backoff.worked()
        self._offline()
        self._again.set()
        if self._client is not None:
            self._client.abort("connecting anew")
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Say goodbye (`online` false) before a wanted reboot; never raises LinkError."""
        client = self._client
        if client is None or self.connected_since_ms is None:
            return
        try:
            await client.publish(self._prefix + "state", '{"online":false}', 1, True)
            await client.close()
        except LinkError as error:
            log(f"link: no goodbye ({error})")

    # -- for ever -----------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the connection, the clock and the handlers going; returns only when cancelled."""
        tasks = [asyncio.create_task(self.inbox.run(kind)) for kind in self.inbox.kinds()]
        if self._config.ntp is not None:
            from timekeeping import keep_time  # noqa: PLC0415 - not every meter does

            keeping = keep_time(self._config.ntp, self._clock, self._board)
            tasks.append(asyncio.create_task(keeping))
        try:
            while True:
                slow = await self._try_once()
                await self._pause(self._backoff.pause_ms(slow))
        finally:
            for task in tasks:
                task.cancel()
            if self._client is not None:
                self._client.abort()

    async def _try_once(self) -> bool:
        """Connect and stay connected as long as it lasts; tell whether to retry slowly."""
        slow = False
        try:
            await self._finder.join()
            await self._connect()
        except RefusedError as error:
            log(f"link: {error}")
            slow = True
        except LinkError as error:
            log(f"link: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try is a new chance
            log(f"link: defect {error!r}")
        since = self._ready_tick
        if since is not None and ticks_diff(ticks_ms(), since) > STABLE_MS:
            self._backoff.worked()
        if since is None:
            self._finder.failed()
        self._offline()
        self._skipped = self.skipped()
        self._client = None
        return slow

    async def _connect(self) -> None:
        config = self._config
        address, port, name = await self._finder.gateway()
        if config.mqtt_ca is not None and self._tls is None:
            self._tls = _trusting(config.mqtt_ca)
        client = Client(
            address,
            port,
            client_id=config.meter,
            user=config.mqtt_user,
            password=config.mqtt_password,
            keepalive_s=KEEPALIVE_S,
            will_topic=self._prefix + "state",
            will_payload='{"online":false}',
            ssl=self._tls,
            server_hostname=name,
            on_message=self._message,
            buffer=self._buffer,
        )
        self._client = client
        await client.connect()
        sending = asyncio.create_task(self._send_for_ever(client))
        try:
            await client.run()
        finally:
            sending.cancel()

    async def _pause(self, pause_ms: int) -> None:
        started = ticks_ms()
        while ticks_diff(ticks_ms(), started) < pause_ms:
            if self._again.is_set():
                pause_ms = min(pause_ms, LEAST_MS)
            await asyncio.sleep(IDLE_MS / 1000)
        self._again.clear()

    def _offline(self) -> None:
        self.connected_since_ms = None
        self.acked = False
        self._ready_tick = None

    # -- outbound -----------------------------------------------------------------------

    async def _send_for_ever(self, client: Client) -> None:
        try:
            await client.subscribe([self._prefix + topic for topic in INBOUND])
            self._keeper.connected()
            self._finder.worked()
            self._state_tick = None
            self.connected_since_ms = self._board.up_ms()
            self._ready_tick = ticks_ms()
            log("link: connected")
            while True:
                if not await self._send_next(client):
                    await asyncio.sleep(IDLE_MS / 1000)
        except LinkError as error:
            client.abort_with(error)
        except Exception as error:  # noqa: BLE001 - a defect costs the connection, no more
            log(f"link: defect in sending {error!r}")
            client.abort(f"defect in sending: {error!r}")

    async def _send_next(self, client: Client) -> bool:
        """Send at most one of each kind, so that none starves another; False = nothing due."""
        sent = await self._send_state(client)
        result = self.results.first()
        if result is not None:
            await client.publish(self._prefix + "result", json.dumps(result))
            self.results.done(result)
            sent = True
        event = self.events.first()
        if event is not None:
            text = event_text(event, self._clock.offset_ms)
            await client.publish(self._prefix + "events", text)
            self.events.done(event)
            sent = True
        sent = await self._send_dropped(client) or sent
        item = self._keeper.take(self._board.up_ms(), self._clock.offset_ms)
        if item is not None:
            await client.publish(self._prefix + "readings", item[0])
            sent = True
        return sent

    async def _send_state(self, client: Client) -> bool:
        last = self._state_tick
        if last is not None and ticks_diff(ticks_ms(), last) < STATE_EVERY_MS:
            return False
        self._state_tick = ticks_ms()
        state: dict[str, Any] = {"online": True}
        state.update(self._about())
        state["rssi"] = self._board.rssi()
        state["heap"] = self._board.free_heap()
        state["backlog"] = self._keeper.backlog()
        state["have"] = self._keeper.have()
        # Last, so that receive time less `up` is as small as it can be (rule T).
        state["up"] = self._board.up_ms()
        state["t"] = self._clock.now_ms()
        await client.publish(self._prefix + "state", json.dumps(state), 1, True)
        return True

    async def _send_dropped(self, client: Client) -> bool:
        ranges = self._keeper.dropped()
        if not ranges:
            return False
        ok = False
        try:
            for boot, first, last in ranges:
                up_ms = self._board.up_ms()
                text = dropped_text(boot, first, last, last, up_ms, self._clock.offset_ms)
                await client.publish(self._prefix + "events", text)
            ok = True
        finally:
            self._keeper.reported(ok)
        return True

    # -- inbound ------------------------------------------------------------------------

    def _message(self, topic: str, payload: memoryview, retained: bool) -> None:
        kind = INBOUND.get(topic[len(self._prefix) :])
        if kind is None:
            return
        try:
            message: Any = read_ack(payload) if kind == "ack" else parsed(payload)
        except (ValueError, RuntimeError, BadRecordError):  # RuntimeError: nested too deeply
            message = None
        if not isinstance(message, dict):
            log(f"link: {kind} is no JSON object")
        elif kind == "ack":
            self._take_ack(message, retained)
        else:
            self.inbox.put(kind, message, self._board.up_ms())

    def _take_ack(self, ack: "dict[str, Any]", retained: bool) -> None:
        if self._wants_ack:
            self._ack = ack
        if not retained:
            self.acked = True
            now = ack.get("now")
            # A retained ack's `now` is as old as the ack.
            if isinstance(now, int) and not isinstance(now, bool):
                self._clock.set(now, ACK)
        self._keeper.covered(ack)

    def _handler_failed(self, kind: str, text: str) -> None:
        self.send_event({"kind": "defect", "part": kind, "detail": text[:120]})


def _trusting(ca_file: str) -> "SSLContext":
    """Return what trusts these certificates alone; its code is let go."""
    try:
        from trust import tls_context  # noqa: PLC0415 - needed once

        return tls_context(ca_file)
    finally:
        drop("trust")

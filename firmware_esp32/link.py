"""The meter's connection to its gateway: kept for ever, everything sent and received here."""

import asyncio
import json

from backoff import Backoff
from clock import ACK
from errors import LinkError
from finder import Finder
from inbox import Inbox
from log import log
from mqtt import LARGEST_INBOUND, Client, RefusedError
from net import tls_context
from outbox import Outbox
from ticks import ticks_diff, ticks_ms
from timekeeping import keep_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from clock import Clock
    from config import Config
    from ports import About, Handlers, LinkBoard, Sender

STATE_EVERY_MS = 60_000
KEEPALIVE_S = 30
STABLE_MS = 30_000  # a connection that lived so long was a good one
IDLE_MS = 100
SETTLED_MS = 3_000  # a retained ack comes at once after subscribing
JOIN_AGAIN_AFTER = 4  # failed tries until the Wi-Fi is joined anew


class Link:
    """Connects, reconnects, publishes what others hand over, hands on what comes in.

    `handlers` has the keys cmd (`async f(message, receipt_ms)`), desired and chunk
    (`async f(message)`); each runs in its own task, never two of one kind at once, and may
    take as long as it likes. `about()` gives the fields of `state` that others know:
    fw, model, cal, boot, bootn.
    """

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        config: "Config",
        board: "LinkBoard",
        keeper: "Sender",
        clock: "Clock",
        handlers: "Handlers",
        about: "About",
    ) -> None:
        self.connected_since_ms: int | None = None  # up, of the present connection
        self.acked = False  # the gateway itself has answered on this connection
        self.outbox = Outbox()
        self.inbox = Inbox(handlers)
        self._config = config
        self._board = board
        self._keeper = keeper
        self._clock = clock
        self._about = about
        self._finder = Finder(config, board)
        self._client: Client | None = None
        self._ack: dict[str, Any] | None = None
        self._again = asyncio.Event()
        self._buffer = bytearray(LARGEST_INBOUND)
        self._tls: Any = None
        self._prefix = f"ww/v1/{config.meter}/"
        self._state_tick: int | None = None

    # -- for the other parts of the meter ---------------------------------------------

    def send_event(self, event: "dict[str, Any]") -> None:
        """Queue an event; `boot`, `up` and (when it is sent) `t` are filled in if absent.

        Bounded: the oldest is dropped and counted in `outbox.dropped`.
        """
        event.setdefault("boot", self._about()["boot"])
        event.setdefault("up", self._board.up_ms())
        self.outbox.event(event)

    def send_result(self, result: "dict[str, Any]") -> None:
        """Queue a command's result `{"id","ok","error","data"}`; bounded like events."""
        self.outbox.result(result)

    async def request_chunk(self, kind: str, version: int, offset: int, length: int) -> None:
        """Ask for a piece of a bundle; LinkError when there is no connection."""
        client = self._client
        if client is None or self.connected_since_ms is None:
            msg = "not connected"
            raise LinkError(msg)
        request = {"kind": kind, "version": version, "offset": offset, "length": length}
        await client.publish(self._prefix + "bundle/get", json.dumps(request))

    async def first_ack(self, timeout_s: float) -> "dict[str, Any] | None":
        """Wait for the gateway's (retained) ack; None when there is none within the time."""
        started = ticks_ms()
        while self._ack is None and ticks_diff(ticks_ms(), started) < timeout_s * 1000:
            since = self.connected_since_ms
            if since is not None and self._board.up_ms() - since > SETTLED_MS:
                return None  # a gateway that never heard of this meter
            await asyncio.sleep(IDLE_MS / 1000)
        return self._ack

    async def reconnect(self, network: "tuple[str, str] | None" = None) -> None:
        """Drop the connection and connect anew at once.

        With `network` (ssid, password) only that Wi-Fi is used until the next call; without
        it those of the configuration. Success shows in `acked`.
        """
        self._finder.use(network)
        self.connected_since_ms = None
        self.acked = False
        self._again.set()

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

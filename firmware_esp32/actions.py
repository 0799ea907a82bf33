"""What a command does: relay, identify, calibrate, report, wifi, reboot."""

import asyncio

from errors import MeterError
from log import log
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from clock import Clock
    from orders import Kept
    from settings import Settings

    class Board(Protocol):
        """What commands need of a board."""

        def up_ms(self) -> int:
            """Return the time since boot, ms."""

        def relay(self, on: bool) -> None:
            """Switch the relay."""

        def identify(self, on: bool) -> None:
            """Show the meter, or stop."""

        def reset(self) -> None:
            """Restart."""

        def free_heap(self) -> int:
            """Return free bytes."""

        def rssi(self) -> int | None:
            """Return the Wi-Fi's strength in dBm."""

        def chip(self) -> str:
            """Return the chip's name."""

    class Network(Protocol):
        """What commands need of the link."""

        connected_since_ms: int | None

        async def reconnect(self, network: tuple[str, str] | None = None) -> None:
            """Connect anew, over this network only or over those of the configuration."""

        async def close(self) -> None:
            """Say goodbye."""

    class Held(Protocol):
        """What commands need of the keeper."""

        def flush(self, offset_ms: int | None) -> None:
            """Put on flash what no ack covers."""

        def have(self) -> list[dict[str, int]]:
            """Return the boots held."""

        def backlog(self) -> int:
            """Return how many windows wait for an ack."""

    class Collecting(Protocol):
        """What commands need of the measuring."""

        async def collect(self, seconds: int) -> dict[str, Any]:
            """Return raw sums of the seconds to come."""


WIFI_WAIT_MS = const(60_000)
POLL_S = 0.1
GOODBYE_S = 5.0
WIFI_POLLS = const(3_000)  # also ends where a simulated board's time stands still
LONGEST_S = const(600)  # of identify and calibrate


class ActionError(MeterError):
    """A command cannot be done here; the text tells whoever gave it why."""


class Actions:
    """The effects of commands; `add_report` lets other parts add to what `report` tells."""

    def __init__(  # noqa: PLR0913 - the parts that commands act on
        self,
        config: "Settings",
        board: "Board",
        clock: "Clock",
        *,
        link: "Network",
        keeper: "Held",
        meter: "Collecting",
        root: str,
        kept: "Kept",
    ) -> None:
        self._config = config
        self._board = board
        self._clock = clock
        self._link = link
        self._keeper = keeper
        self._meter = meter
        self._root = root
        self._lit_until_ms = 0
        self._light: asyncio.Task[None] | None = None
        self._also: dict[str, Callable[[], Any]] = {}
        self._kept = kept

    def add_report(self, name: str, tell: "Callable[[], Any]") -> None:
        """Let `report` carry what `tell()` returns (small, JSON) under a name."""
        self._also[name] = tell

    def relay(self, on: bool) -> "dict[str, Any]":
        """Switch the relay; ActionError on a meter without one."""
        if not self._config.relay:
            msg = "this meter has no relay: none is configured"
            raise ActionError(msg)
        self._board.relay(on)
        self._kept.relay = on
        return {"on": on}

    def identify(self, seconds: int) -> "dict[str, Any]":
        """Make the meter show itself; a second call sets a new end."""
        self._lit_until_ms = self._board.up_ms() + seconds * 1000
        if self._light is None or self._light.done():
            self._light = asyncio.create_task(self._shine())
        return {"seconds": seconds}

    def lit(self) -> bool:
        """Tell whether the meter is showing itself."""
        return self._light is not None and not self._light.done()

    async def _shine(self) -> None:
        self._board.identify(True)
        try:
            while self._board.up_ms() < self._lit_until_ms:  # noqa: ASYNC110 - a time, no event
                await asyncio.sleep(POLL_S)
        finally:
            self._board.identify(False)

    async def calibrate(self, seconds: int) -> "dict[str, Any]":
        """Return the raw sums of the seconds to come; readings go on meanwhile.

        ActionError when there was no mains voltage, MeterError when it is running already.
        """
        sums = await self._meter.collect(seconds)
        if not sums.get("windows"):
            msg = "no mains voltage was seen: nothing to calibrate on"
            raise ActionError(msg)
        return sums

    def report(self) -> "dict[str, Any]":
        """Return the meter's state and counters."""
        told: dict[str, Any] = {
            "up": self._board.up_ms(),
            "t": self._clock.now_ms(),
            "clock": self._clock.source,
            "heap": self._board.free_heap(),
            "rssi": self._board.rssi(),
            "chip": self._board.chip(),
            "relay": self._kept.relay,
            "backlog": self._keeper.backlog(),
            "have": self._keeper.have(),
            "connected_since": self._link.connected_since_ms,
        }
        for name, tell in self._also.items():
            told[name] = tell()
        return told

    async def wifi(self, ssid: str, password: str) -> "dict[str, Any]":
        """Change the Wi-Fi; ActionError, with the old network back, when that fails.

        The new network is saved only once the broker has accepted the meter over it. A power
        cut before leaves the old one in the settings.
        """
        from config import remember_wifi  # noqa: PLC0415 - for this command alone

        await self._link.reconnect((ssid, password))
        reached = await self._connects()
        if reached:
            try:
                remember_wifi(self._config, self._root, ssid, password)
            except (MeterError, OSError) as error:
                await self._link.reconnect()
                msg = f"{ssid} works but could not be saved ({error}); still as before"
                raise ActionError(msg) from error
        # From here on the networks of the settings are used: the new one first, or the old.
        await self._link.reconnect()
        if not reached:
            msg = f"no gateway over {ssid} within {WIFI_WAIT_MS // 1000} s; back on the old network"
            raise ActionError(msg)
        return {"ssid": ssid}

    async def _connects(self) -> bool:
        started_ms = self._board.up_ms()
        for _ in range(WIFI_POLLS):
            if self._link.connected_since_ms is not None:
                return True
            if self._board.up_ms() - started_ms >= WIFI_WAIT_MS:
                break
            await asyncio.sleep(POLL_S)
        return False

    async def reboot(self) -> None:
        """Save what would be lost, say goodbye, restart: also where one of these fails."""
        try:
            self._keeper.flush(self._clock.offset_ms)
        except MeterError as error:
            log(f"commands: not all could be saved ({error})")
        try:
            await asyncio.wait_for(self._link.close(), GOODBYE_S)
        except asyncio.TimeoutError:  # noqa: UP041 - two classes on the board
            pass
        self._board.reset()

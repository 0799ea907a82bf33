"""What a command does: relay, identify, calibrate, report, wifi, reboot."""

import asyncio

from errors import MeterError
from micropython import const
from power import Average

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Protocol

    from clock import Clock
    from config import Config
    from power import PowerMeter, Window

    class Board(Protocol):
        """What commands need of a board; see host/simboard.py."""

        up_ms: Callable[[], int]
        relay: Callable[[bool], None]
        identify: Callable[[bool], None]
        reset: Callable[[], None]
        free_heap: Callable[[], int]
        rssi: Callable[[], int | None]
        chip: Callable[[], str]

    class Network(Protocol):
        """What commands need of the link; see link.Link."""

        connected_since_ms: int | None
        reconnect: Callable[..., Awaitable[None]]
        close: Callable[[], Awaitable[None]]

    class Held(Protocol):
        """What commands need of the keeper; see keeper.Keeper."""

        flush: Callable[[int | None], None]
        have: Callable[[], list[dict[str, int]]]
        backlog: Callable[[], int]


WIFI_WAIT_MS = const(60_000)
POLL_S = 0.1
WIFI_POLLS = const(3_000)  # also ends where a simulated board's time stands still
LONGEST_S = const(600)  # of identify and calibrate


class ActionError(MeterError):
    """A command cannot be done here; the text tells whoever gave it why."""


class Actions:
    """The effects of commands; `add_report` lets other parts add to what `report` tells."""

    def __init__(  # noqa: PLR0913 - the parts that commands act on
        self,
        config: "Config",
        board: "Board",
        clock: "Clock",
        *,
        link: "Network",
        keeper: "Held",
        meter: "PowerMeter",
        root: str,
    ) -> None:
        self._config = config
        self._board = board
        self._clock = clock
        self._link = link
        self._keeper = keeper
        self._meter = meter
        self._average: Average | None = None
        self._until_ms = 0
        self._collected = asyncio.Event()
        self._root = root
        self._lit_until_ms = 0
        self._light: asyncio.Task[None] | None = None
        self._also: dict[str, Callable[[], Any]] = {}
        self._relay: bool | None = None

    def add_report(self, name: str, tell: "Callable[[], Any]") -> None:
        """Let `report` carry what `tell()` returns (small, JSON) under a name."""
        self._also[name] = tell

    def relay(self, on: bool) -> "dict[str, Any]":
        """Switch the relay; ActionError on a meter without one."""
        if not getattr(self._board, "has_relay", True):
            msg = "this meter has no relay: none is configured"
            raise ActionError(msg)
        self._board.relay(on)
        self._relay = on
        return {"on": on}

    def identify(self, seconds: int) -> "dict[str, Any]":
        """Make the meter show itself; a second call sets a new end."""
        self._lit_until_ms = self._board.up_ms() + seconds * 1000
        if self._light is None or self._light.done():
            self._light = asyncio.create_task(self._shine())
        return {"seconds": seconds}

    async def _shine(self) -> None:
        self._board.identify(True)
        try:
            while self._board.up_ms() < self._lit_until_ms:  # noqa: ASYNC110 - a time, no event
                await asyncio.sleep(POLL_S)
        finally:
            self._board.identify(False)

    async def calibrate(self, seconds: int) -> "dict[str, Any]":
        """Return the raw sums of the windows to come, by `window`; readings go on meanwhile.

        One at a time. ActionError when there was no mains voltage.
        """
        self._until_ms = self._board.up_ms() + seconds * 1000
        self._average = average = Average(len(self._config.channels))
        self._collected.clear()
        await self._collected.wait()
        if not average.windows:
            msg = "no mains voltage was seen: nothing to calibrate on"
            raise ActionError(msg)
        return average.data(self._config.channels, self._meter.calibration.version)

    def window(self, w: "Window") -> None:
        """Take each window, for a calibration that may be running."""
        if self._average is None:
            return
        self._average.add(w)
        if w.up_ms >= self._until_ms:
            self._average = None
            self._collected.set()

    def report(self) -> "dict[str, Any]":
        """Return the meter's state and counters."""
        told: dict[str, Any] = {
            "up": self._board.up_ms(),
            "t": self._clock.now_ms(),
            "clock": self._clock.source,
            "heap": self._board.free_heap(),
            "rssi": self._board.rssi(),
            "chip": self._board.chip(),
            "relay": self._relay,
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
        await self._link.reconnect((ssid, password))
        reached = await self._connects()
        if reached:
            try:
                self._config.remember_wifi(ssid, password)
                self._config.save(self._root)
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
        """Save what would be lost, say goodbye, restart."""
        self._keeper.flush(self._clock.offset_ms)
        await self._link.close()
        self._board.reset()

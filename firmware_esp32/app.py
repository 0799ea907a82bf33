"""The meter as a whole: what happens at boot, what runs for ever, and who watches whom."""

import asyncio
import gc
import time

# An object holds the whole module of its class. These classes' objects outlive the code that
# makes them (model, tables, config), so they are loaded with what stays.
import curves  # noqa: F401
import gauss  # noqa: F401
import settings  # noqa: F401
from bootcount import next_boot
from check import Check
from clock import FIXED, Clock
from depot import Depot
from errors import ConfigError, FlashError
from keeper import Keeper
from link import Link
from log import log
from ondemand import drop
from orders import Orders
from pages import has_free
from power import PowerMeter
from registers import Registers
from version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from bundles import Apply, Bundles
    from collector import Collector
    from commands import Commands
    from curves import Calibration
    from gauss import Model
    from hardware import Board
    from orders import Kept
    from ports import Handlers
    from power import Window
    from settings import Settings

ACK_WAIT_S = 10.0  # at boot, for the registers in the retained ack
MINUTE_MS = 60_000
RESTART_S = 5.0  # after a side task failed by a defect
GOODBYE_S = 3.0
UNPROVISIONED_S = 10
MOST_FAILURES = 5  # windows in a row, then the board is reset
# The gateway takes an anomaly without news for over after 15 minutes.
TELL_MS = 600_000
# MicroPython collects garbage when the heap is full; what lasts and was made just before then
# lies far up and parts what is free. Collecting after so many bytes keeps it together.
COLLECT_BYTES = 8_192
# Of the heap, for a bundle's code and what it works on (in the VM, whose objects are large).
BUNDLE_BYTES = 28_672
ROOMY_BYTES = 65_536  # for all of it at once


class Meter:
    """One running meter; `run` ends only to restart the board.

    ConfigError when config.json is missing or wrong.
    """

    def __init__(self, board: "Board", config: "Settings") -> None:
        self.board = board
        self.config = config
        channels = config.channels
        self.clock = Clock(board)
        start_ms = getattr(board, "start_unix_ms", None)  # a simulated board may be told
        if start_ms is not None:
            self.clock.set(start_ms + board.up_ms(), FIXED)
        _learn_names()
        # The largest pieces come first, then code that is let go again: what is left of the
        # heap is then whole, and small things may lie in the holes.
        self.power = PowerMeter(board, self._calibration(None))
        self._apply: dict[str, Apply] = {
            "calibration": self._use_calibration,
            "model": self._use_model,
        }
        self.check = Check(channels, self._model(None), self._event, self.clock)
        self.depot = Depot(self._bundles, self._room)
        self.depot.boot(self._apply)
        self.boot, self.bootn = next_boot(board.root, board.random32)
        self.registers = Registers(board.root, channels)
        self.keeper = Keeper(board.root, channels, self.boot, self.bootn, feed=board.feed)
        self.orders = Orders(self._commands)
        handlers: Handlers = {
            "cmd": self.orders.handle,
            "desired": self.depot.desired,
            "chunk": self.depot.chunk,
        }
        self.link = Link(config, board, self.keeper, self.clock, handlers, self._about)
        self._minute_ms = 0
        self._failures = 0
        self._refused = 0  # by the flash, as far as it was looked at
        self._tell_ms = 0

    # -- what is loaded on demand --------------------------------------------------------

    def _bundles(self) -> "Bundles":
        """Return what brings bundles in."""
        from bundles import Bundles  # noqa: PLC0415 - as in every function here

        config = self.config
        return Bundles(
            self.board.root,
            config.meter,
            {"release": config.release_keys, "site": config.site_keys},
            request_chunk=self._request_chunk,
            send_event=self._event,
            apply=self._apply,
            lend=self._lend,
            restart=self.restart,
            sleep=asyncio.sleep,
        )

    def _room(self) -> bool:
        """Tell whether there is room for a bundle's code: a command's and the spool's go first."""
        if self.orders.loaded:
            return False
        return has_free(ROOMY_BYTES) or (not self.keeper.shelved and has_free(BUNDLE_BYTES))

    def _lend(self, size: int) -> "memoryview | None":
        return self.keeper.lend(size)

    def _commands(self, kept: "Kept") -> "tuple[Commands, Collector]":
        """Return what does commands, and what collects for a calibration."""
        from collector import Collector  # noqa: PLC0415
        from commands import Commands  # noqa: PLC0415

        collector = Collector(self.power, self.config.channels)
        commands = Commands(
            self.config,
            self.board,
            self.clock,
            link=self.link,
            meter=collector,
            keeper=self.keeper,
            root=self.board.root,
            send_result=self.link.send_result,
            kept=kept,
        )
        commands.before_reset = self._save
        commands.actions.add_report("versions", self.depot.versions)
        commands.actions.add_report("busy_us", self._busy_us)
        commands.actions.add_report("lost", self._lost)
        return commands, collector

    def _model(self, content: "bytes | memoryview | None") -> "Model":
        try:
            import model  # noqa: PLC0415
        except MemoryError:
            drop("model")  # what there is of it
            raise
        try:
            if content is not None:
                made = model.load(content)
            else:
                made = model.default(self.config.nominal_v, self.config.nominal_hz)
        finally:
            del model
            drop("model")
        return made.copy()

    def _calibration(self, content: "bytes | memoryview | None") -> "Calibration":
        try:
            import tables  # noqa: PLC0415
        except MemoryError:
            drop("tables")  # what there is of it
            raise
        try:
            if content is not None:
                made = tables.loads(content, self.config.channels)
            else:
                made = tables.nominal(self.config.channels)
        finally:
            del tables
            drop("tables")
        return made.copy()

    def _use_model(self, content: "bytes | memoryview | None") -> None:
        self.check.model = self._model(content)

    def _use_calibration(self, content: "bytes | memoryview | None") -> None:
        self.power.calibration = self._calibration(content)

    # -- what other parts ask for --------------------------------------------------------

    def _event(self, event: "dict[str, Any]") -> None:
        self.link.send_event(event)

    async def _request_chunk(self, kind: str, version: int, offset: int, length: int) -> None:
        await self.link.request_chunk(kind, version, offset, length)

    def _about(self) -> "dict[str, Any]":
        versions = self.depot.versions()
        return {
            "fw": VERSION,
            "model": versions["model"],
            "cal": versions["calibration"],
            "boot": self.boot,
            "bootn": self.bootn,
        }

    def _busy_us(self) -> int:
        return self.power.busy_us

    def _lost(self) -> "dict[str, int]":
        """Return what could not be saved, sent or taken in since the boot."""
        link = self.link
        return {
            "registers": self.registers.failed_saves,
            "spool": self.keeper.failed_writes,
            "events": link.events.dropped,
            "results": link.results.dropped,
            "messages": link.inbox.dropped,
            "skipped": link.skipped(),
            "held_back": self.check.held_back,
        }

    # -- what runs -----------------------------------------------------------------------

    async def run(self) -> None:
        """Measure for ever; everything else runs beside it."""
        log(f"app: {self.config.meter} {VERSION}, boot {self.bootn}")
        self.link.send_event({"kind": "boot", "bootn": self.bootn, "fw": VERSION})
        tasks = [self._guard("link", self.link.run)]
        ack = await self.link.first_ack(ACK_WAIT_S)
        if ack is not None and self.registers.raise_to(ack.get("regs")):
            log("app: registers go on from the gateway's")
            self.registers.save()  # or a next cut within the minute would cost this energy again
        del ack  # or this would hold it for ever
        tasks.append(self._guard("orders", self.orders.run))
        tasks.append(self._guard("depot", self.depot.run))
        await self._measure()
        for task in tasks:
            task.cancel()
        await self.restart()

    async def _measure(self) -> None:
        """Measure until something is wrong that only a restart can mend."""
        while self._failures < MOST_FAILURES and not (
            self.keeper.wants_reboot() or self.depot.wants_reboot()
        ):
            try:
                self._take(await self.power.window())
                self._failures = 0
            except Exception as error:  # noqa: BLE001 - measuring goes on after any defect
                self._failures += 1
                log(f"app: window failed: {error!r}")
                self.depot.bad()
                await asyncio.sleep(0)

    def _take(self, window: "Window") -> None:
        """Count, judge and keep one window."""
        self.orders.window(window)
        for k, power_w in enumerate(window.p):
            self.registers.add(k, power_w, window.dt_ms)
        z = self._judge(window)
        self.keeper.add(window, self.registers, z)
        self.board.feed()
        if window.up_ms - self._minute_ms >= MINUTE_MS:
            self._minute_ms = window.up_ms
            self.registers.save()
            # A bundle's code and the spool's at once are more than a small heap holds. A bundle
            # is done in seconds, and a ring that is full goes to the flash all the same.
            if not self.depot.loaded or has_free(BUNDLE_BYTES):
                self.keeper.minute(window.up_ms, self.clock.offset_ms)
            self._tell_refused(window.up_ms)
        gc.collect()

    def _tell_refused(self, up_ms: int) -> None:
        """Tell, at most every ten minutes, that something could not be saved since last time."""
        refused = self.registers.failed_saves + self.keeper.failed_writes
        if refused > self._refused and up_ms >= self._tell_ms:
            self._tell_ms = up_ms + TELL_MS
            self._event({"kind": "anomaly", "what": "flash", "refused": refused})
        self._refused = refused

    def _judge(self, window: "Window") -> "list[float] | None":
        """Return the check's scores; None, and its model given up, where it fails."""
        try:
            z = self.check.window(window)
        except Exception as error:  # noqa: BLE001 - a bad model must not cost a reading
            log(f"app: check failed: {error!r}")
            self.depot.bad()
            return None
        self.depot.good_window()
        return z

    def _guard(self, name: str, work: "Callable[[], Awaitable[None]]") -> "asyncio.Task[None]":
        """Run a side task for ever: what fails in it never stops the measuring."""

        async def forever() -> None:
            while True:
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 - see above
                    log(f"app: {name} failed: {error!r}")
                await asyncio.sleep(RESTART_S)

        return asyncio.create_task(forever())

    # -- how it ends ---------------------------------------------------------------------

    def _save(self) -> None:
        """Put on flash what a restart would lose."""
        try:
            self.registers.save()
            self.keeper.flush(self.clock.offset_ms)
        except (FlashError, MemoryError) as error:
            log(f"app: not all could be saved ({error})")

    async def restart(self) -> None:
        """Save, say goodbye and reset the board."""
        self._save()
        try:
            await asyncio.wait_for(self.link.close(), GOODBYE_S)
        except asyncio.TimeoutError:  # noqa: UP041 - two classes on the board
            pass
        self.board.reset()


def _learn_names() -> None:
    """Load once what is loaded on demand: MicroPython keeps its names for ever.

    Their table is doubled when it is full; that is better done now than in the middle of work.
    """
    import commands  # noqa: PLC0415
    import shelf  # noqa: PLC0415

    del commands, shelf
    drop("commands", "actions", "collector", "shelf", "spool", "reader", "minutes", "records")


def settings_of(root: str) -> "Settings":
    """Return the meter's settings; ConfigError says what is wrong with them."""
    from config import load_config  # noqa: PLC0415

    try:
        return load_config(root)
    finally:
        del load_config
        drop("config")


def main(root: str) -> None:
    """Run the meter whose files lie below `root`; returning means: reset the board."""
    from board import Board  # noqa: PLC0415 - the one of this machine

    try:
        config = settings_of(root)
        if hasattr(gc, "mem_free"):  # MicroPython; CPython's has another meaning
            gc.threshold(COLLECT_BYTES)  # type: ignore[attr-defined]
        board = Board(len(config.channels))
    except (ConfigError, ValueError) as error:  # ValueError: more clamps than the chip has pins
        log(f"app: {error}")
        time.sleep(UNPROVISIONED_S)  # leaves the installer's tools a quiet prompt to interrupt
        return
    asyncio.run(Meter(board, config).run())

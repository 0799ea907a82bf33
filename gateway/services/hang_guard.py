"""Interrupt a detector that computes or blocks for ever, so that the loop goes on without it."""

import signal
import threading
from types import FrameType

TICK_S = 1.0
# In one call that takes microseconds; well below systemd's WatchdogSec, and far above what a
# card that swaps or collects its garbage makes it wait.
MOST_TICKS = 8


class DetectorHungError(BaseException):
    """A detector was interrupted. No Exception, which a detector's own handling might swallow."""


class HangGuard:
    """Raises DetectorHungError in the main thread between `begin` and `end` of one call.

    A thread counts ticks of its own and not the clock: a process that was stopped or a machine
    that slept has not hung. A signal then interrupts Python code, sleeps, locks and system calls;
    native code that never returns is left to the watchdog.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._inside = False
        self._disarmed: threading.Event | None = None

    def arm(self) -> None:
        """Begin to watch; without effect outside of the main thread, where no signal arrives."""
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGVTALRM, self._interrupt)
        self.disarm()
        self._disarmed = threading.Event()
        threading.Thread(
            target=self._watch, args=(self._disarmed,), name="hang-guard", daemon=True
        ).start()

    def disarm(self) -> None:
        """Watch no more."""
        if self._disarmed is not None:
            self._disarmed.set()

    def begin(self) -> None:
        """Note that a call begins."""
        self._calls += 1
        self._inside = True

    def end(self) -> None:
        """Note that it has ended."""
        self._inside = False

    def _watch(self, disarmed: threading.Event) -> None:
        seen, ticks = 0, 0
        while not disarmed.wait(TICK_S):
            if not self._inside or self._calls != seen:
                seen, ticks = self._calls, 0
                continue
            ticks += 1
            if ticks >= MOST_TICKS:
                ticks = 0
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGVTALRM)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._inside:  # else it has ended in the meantime
            msg = f"no answer within {TICK_S * MOST_TICKS:.0f} s"
            raise DetectorHungError(msg)

"""Interrupt a detector that computes for ever, so that the loop goes on without it."""

import signal
import threading
from types import FrameType

TICK_S = 1.0  # CPU time of the process: an idle one is not woken
MOST_TICKS = 5  # in one call that takes microseconds; well below systemd's WatchdogSec


class DetectorHungError(BaseException):
    """A detector was interrupted. No Exception, which a detector's own handling might swallow."""


class HangGuard:
    """Raises DetectorHungError in the main thread between `begin` and `end` of one call.

    It sees code that computes; one that blocks for ever is the watchdog's.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._inside = False
        self._seen = 0
        self._ticks = 0

    def arm(self) -> None:
        """Begin to watch; without effect outside of the main thread, where no signal arrives."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGVTALRM, self._tick)
            signal.siginterrupt(signal.SIGVTALRM, False)  # noqa: FBT003 - system calls go on
            signal.setitimer(signal.ITIMER_VIRTUAL, TICK_S, TICK_S)

    def disarm(self) -> None:
        """Watch no more."""
        if threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def begin(self) -> None:
        """Note that a call begins."""
        self._calls += 1
        self._inside = True

    def end(self) -> None:
        """Note that it has ended."""
        self._inside = False

    def _tick(self, _number: int, _frame: FrameType | None) -> None:
        if not self._inside or self._calls != self._seen:
            self._seen, self._ticks = self._calls, 0
            return
        self._ticks += 1
        if self._ticks >= MOST_TICKS:
            self._ticks = 0
            msg = f"no answer within {TICK_S * MOST_TICKS:.0f} s of computing"
            raise DetectorHungError(msg)

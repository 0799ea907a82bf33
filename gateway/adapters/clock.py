"""The machine's clocks, and whether the wall clock may be believed."""

import ctypes
import time
from pathlib import Path

from gateway.settings import ClockSettings

# No release of this program is older; an earlier wall clock was never set (a Pi has no RTC).
BUILD_MS = 1_748_736_000_000  # 2025-06-01, when the first line of it was designed
TIMESYNCD = Path("/run/systemd/timesync")
CHRONY_PIDS = (Path("/run/chrony/chronyd.pid"), Path("/run/chronyd.pid"))
NTP_PIDS = (Path("/run/ntpd.pid"), Path("/run/ntpsec/ntpd.pid"))
TIME_ERROR = 5  # ntp_adjtime(3): the clock is not synchronised
CHECK_EVERY_S = 5.0


class SystemClock:
    """Wall time for labels, monotonic time for timers, and trust in the former."""

    def __init__(self, settings: ClockSettings) -> None:
        self._trust = settings.trust
        self._checked_s = float("-inf")
        self._trusted = False

    def wall_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def mono_s(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def trusted(self) -> bool:
        """Tell whether the wall clock may be believed; looked up at most every 5 s."""
        if self._trust != "auto":
            return self._trust == "always"
        now_s = time.monotonic()
        if now_s - self._checked_s >= CHECK_EVERY_S:
            self._checked_s = now_s
            self._trusted = self._synchronised()
        return self._trusted

    def _synchronised(self) -> bool:
        """Ask the time service; without one any time after the build date must do."""
        if self.wall_ms() < BUILD_MS:
            return False
        if TIMESYNCD.is_dir():
            # systemd-timesyncd(8): the file is touched whenever the clock was synchronised.
            return (TIMESYNCD / "synchronized").exists() or _kernel_says_synchronised()
        if any(_may_exist(path) for path in (*CHRONY_PIDS, *NTP_PIDS)):
            return _kernel_says_synchronised()
        return True


def _may_exist(path: Path) -> bool:
    """Tell whether a file is there; a folder closed to us is one that its service made."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _kernel_says_synchronised() -> bool:
    """Return the kernel's own flag, which every time daemon keeps (adjtimex(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(512)  # struct timex, modes = 0: only read
    return int(libc.adjtimex(timex)) not in (-1, TIME_ERROR)

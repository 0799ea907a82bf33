"""The meter's wall clock: an offset to the monotonic time since boot, set by NTP or the gateway."""

from log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Uptime(Protocol):
        """What the clock needs of a board."""

        def up_ms(self) -> int:
            """Return ms since boot; never wraps."""
            ...


NTP = "ntp"
ACK = "ack"  # the gateway's clock, from `now` in its acks
FIXED = "fixed"  # given once (simulation): nothing else changes it

EARLIEST_MS = 1_704_067_200_000  # 2024-01-01: no meter is older than its firmware
LATEST_MS = 4_102_444_800_000  # 2100-01-01
NTP_STEP_MS = 500  # a smaller difference is jitter of the network
ACK_STEP_MS = 2_000  # an ack may lie in a buffer for a second
NTP_HOLDS_MS = 6 * 3_600_000  # a crystal of 20 ppm drifts 0.4 s in that time
GATEWAY_WINS_MS = 60_000  # NTP is not authenticated, the gateway is
LATE_ACKS = 5  # so many in a row must say that the clock is fast


class Clock:
    """Wall time as `up + offset`; unknown until the first source was heard.

    After the first setting it is corrected in steps and only when it is clearly off, so that
    `t - up` stays the same within a boot (rule T of the contract). An ack can be late but
    never early: one that lies ahead counts at once, one that lies behind only when several in
    a row agree.
    """

    def __init__(self, board: "Uptime") -> None:
        self.offset_ms: int | None = None  # Unix ms minus ms since boot
        self.source: str | None = None
        self._board = board
        self._ntp_up_ms: int | None = None
        self._gateway_ms: int | None = None  # the gateway's offset as last heard
        self._behind: list[int] = []

    def now_ms(self) -> int | None:
        """Unix time in ms, or None when it was never set."""
        if self.offset_ms is None:
            return None
        return self._board.up_ms() + self.offset_ms

    def set(self, unix_ms: int, source: str) -> bool:
        """Take a source's present time; tell whether the clock was changed by it.

        Times before 2024 or after 2100 are refused, and an NTP time that contradicts the
        gateway by more than a minute.
        """
        if not EARLIEST_MS <= unix_ms < LATEST_MS:
            log(f"clock: {source} says {unix_ms} ms, which cannot be; ignored")
            return False
        up_ms = self._board.up_ms()
        offset_ms = unix_ms - up_ms
        if self.source == FIXED:
            return False
        if source == NTP:
            return self._from_ntp(offset_ms, up_ms)
        if source == ACK:
            return self._from_ack(offset_ms, up_ms)
        return self._step(offset_ms, source)

    def _from_ntp(self, offset_ms: int, up_ms: int) -> bool:
        gateway_ms = self._gateway_ms
        if gateway_ms is not None and abs(offset_ms - gateway_ms) > GATEWAY_WINS_MS:
            log("clock: the time server contradicts the gateway; ignored")
            self._ntp_up_ms = None
            return False
        self._ntp_up_ms = up_ms
        if self.offset_ms is not None and abs(offset_ms - self.offset_ms) <= NTP_STEP_MS:
            self.source = NTP
            return False
        return self._step(offset_ms, NTP)

    def _from_ack(self, offset_ms: int, up_ms: int) -> bool:
        self._gateway_ms = offset_ms
        if self.offset_ms is None:
            return self._step(offset_ms, ACK)
        limit_ms = GATEWAY_WINS_MS if self._ntp_holds(up_ms) else ACK_STEP_MS
        ahead_ms = offset_ms - self.offset_ms
        if ahead_ms > limit_ms:
            return self._step(offset_ms, ACK)
        if ahead_ms >= -limit_ms:
            self._behind.clear()
            return False
        self._behind.append(offset_ms)
        if len(self._behind) < LATE_ACKS:
            return False
        # The least delayed of them is the nearest to the truth.
        return self._step(max(self._behind), ACK)

    def _ntp_holds(self, up_ms: int) -> bool:
        return self._ntp_up_ms is not None and up_ms - self._ntp_up_ms < NTP_HOLDS_MS

    def _step(self, offset_ms: int, source: str) -> bool:
        if self.offset_ms is None:
            log(f"clock: set by {source}")
        else:
            log(f"clock: corrected by {offset_ms - self.offset_ms} ms ({source})")
        self.offset_ms = offset_ms
        self.source = source
        self._behind.clear()
        return True

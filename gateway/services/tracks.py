"""One meter on its way through rollups and judging, with the state that a snapshot keeps."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog

from gateway.domain.alerts import Alert, AlertKind, Finding
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Mark, Stored
from gateway.pipeline.judge import HISTORIC_MS, MeterJudge
from gateway.pipeline.rollups import Calendar, Contribution, MeterRoll
from gateway.services.effects import VerdictRow
from gateway.services.hang_guard import DetectorHungError, HangGuard
from gateway.services.snapshots import LATE_MS, Asked, Snapshot
from gateway.services.watch import detector_failed_finding, detector_works_finding

log = structlog.get_logger()
Failed = Callable[[str, str], None]  # channel ("" = the whole judge), what happened

SNAPSHOT_ROWS = 20_000


class Track:
    """A meter's rollups and judge.

    Deterministic in the readings, so that work after a crash repeats exactly from the snapshot.
    """

    def __init__(self, no: int, info: MeterInfo, judge: MeterJudge, calendar: Calendar) -> None:
        self.no = no
        self.info = info
        self.judge = judge
        self.calendar = calendar
        self.roll = MeterRoll(calendar)
        self.row = 0
        self.at_ms = 0
        self.rows_since_snapshot = 0
        self.snapshot_row = 0
        self.judge_failed = False
        self.unjudged_from = 0  # the row at which the judge failed; after a start it is repeated
        self.guard = HangGuard()
        self.on_failure: Failed | None = None
        # The first row that waits: to be placed in time, or for the models of these channels.
        self.held_from: int | None = None
        self.awaits: set[str] = set()
        self.asked: dict[str, Asked] = {}  # models under way, by channel

    def restore(self, row: int, at_ms: int, state: bytes) -> None:
        """Go on from a stored position; a judge that failed gets another chance from there."""
        self.row = self.snapshot_row = row
        self.at_ms = at_ms
        try:
            snapshot = msgspec.msgpack.decode(state, type=Snapshot)
        except msgspec.MsgspecError as error:  # of another version: begin afresh, lose no row
            log.warning("state_dropped", meter=self.info.id, error=str(error))
            return
        self.roll = MeterRoll(self.calendar, snapshot.channels)
        self.judge.load(snapshot.judge)
        self.unjudged_from = snapshot.unjudged_from
        self.asked = snapshot.asked

    def snapshot(self) -> bytes:
        """Return the state as it is after `row`."""
        self.rows_since_snapshot = 0
        self.snapshot_row = self.row
        return msgspec.msgpack.encode(
            Snapshot(
                self.roll.channels, self.judge.dump(), self.judge_failed, self.unjudged_from,
                self.asked,
            )
        )  # fmt: skip

    def ask(self, channel: str, reading: Stored) -> None:
        """Note that a channel's model is due as of the reading taken last."""
        before_ms = self.judge.open_minute(channel)
        self.asked[channel] = Asked(reading.at_ms, before_ms, self.is_historic(reading))

    def take(self, reading: Stored, out: list[Contribution]) -> list[Finding]:
        """Roll up and judge one reading, in the order of commits."""
        late = self.row > 0 and reading.at_ms + LATE_MS < self.at_ms
        if late:
            reading.marks |= Mark.LATE
        else:
            self.at_ms = max(self.at_ms, reading.at_ms)
        self.row = reading.row
        self.rows_since_snapshot += 1
        self.roll.add(reading, out, late=late)
        if self.judge_failed:
            return []
        return [*self.finish_repeating(reading.at_ms), *self._judge(reading)]

    @property
    def repeats(self) -> bool:
        """Tell whether readings are judged that were rolled up while the judge was off."""
        return self.unjudged_from > 0 and not self.judge_failed

    def repeat(self, reading: Stored) -> list[Finding]:
        """Judge a reading, and only that, which came while the judge was off."""
        self.unjudged_from = reading.row + 1
        self.rows_since_snapshot += 1
        return self._judge(reading)

    def finish_repeating(self, at_ms: int) -> list[Finding]:
        """Note that nothing is left unjudged; return what clears the alert."""
        if not self.repeats:
            return []
        self.unjudged_from = 0
        self.rows_since_snapshot += 1
        return [detector_works_finding(self.info.id, at_ms)]

    def _judge(self, reading: Stored) -> list[Finding]:
        self.guard.begin()
        try:
            found = self.judge.judge(reading)
        except (Exception, DetectorHungError) as error:  # must not stop the rest
            self.guard.end()
            self.judge_failed = True
            self.unjudged_from = reading.row
            told = f"{type(error).__name__}: {error}"
            log.exception("detector_failed", meter=self.info.id, row=reading.row)
            self._tell_failure("", told)
            return [detector_failed_finding(self.info.id, "rules", told, reading.at_ms)]
        self.guard.end()
        for channel, failure in self.judge.take_failures():
            told = f"{type(failure).__name__}: {failure}"
            log.warning("model_failed", meter=self.info.id, channel=channel, error=told)
            self._tell_failure(channel, told)
            found.append(
                detector_failed_finding(
                    self.info.id, "pattern", told, reading.at_ms, channel=channel
                )
            )
        return found

    def _tell_failure(self, channel: str, told: str) -> None:
        if self.on_failure is not None:
            self.on_failure(channel, told)

    def is_historic(self, reading: Stored) -> bool:
        """Tell whether what this reading shows is no news."""
        late_ms = max(reading.received_ms, self.at_ms) - reading.at_ms  # repeated: long ago
        return self.info.recorded or late_ms > HISTORIC_MS


def heed(tracks: Iterable[Track], alert: Alert, verdicts: Sequence[VerdictRow]) -> set[int]:
    """Let the model that raised an alert know of verdicts on it; return the meters this changed.

    Their snapshots must be stored with the verdicts: after a crash the judging goes on from them.
    """
    meter, channel, kind = alert.key
    touched: set[int] = set()
    for track in tracks:
        if kind is AlertKind.ANOMALY and track.info.id == meter:
            for verdict in verdicts:
                if track.judge.heed(channel, alert.opened_ms, right=verdict.right):
                    touched.add(track.no)
    return touched

"""One meter on its way through rollups and judging, with the state that a snapshot keeps."""

import msgspec

from gateway.domain.alerts import Finding
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Mark, Stored
from gateway.pipeline.judge import HISTORIC_MS, MeterJudge
from gateway.pipeline.rollups import Calendar, ChannelRoll, Contribution, MeterRoll
from gateway.services.watch import detector_failed_finding

# Windows of one boot may end a little out of order when the meter's clock is slewed.
LATE_MS = 2000
SNAPSHOT_ROWS = 20_000


class Snapshot(msgspec.Struct, array_like=True):
    """What is stored with a judged position; the judge's part is opaque."""

    channels: dict[str, ChannelRoll]
    judge: bytes
    judge_failed: bool = False


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
        self.held_from: int | None = None  # first row that waits to be placed in time

    def restore(self, row: int, at_ms: int, state: bytes) -> None:
        """Go on from a stored position."""
        snapshot = msgspec.msgpack.decode(state, type=Snapshot)
        self.row = self.snapshot_row = row
        self.at_ms = at_ms
        self.roll = MeterRoll(self.calendar, snapshot.channels)
        self.judge.load(snapshot.judge)
        self.judge_failed = snapshot.judge_failed

    def snapshot(self) -> bytes:
        """Return the state as it is after `row`."""
        self.rows_since_snapshot = 0
        self.snapshot_row = self.row
        return msgspec.msgpack.encode(
            Snapshot(self.roll.channels, self.judge.dump(), self.judge_failed)
        )

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
        try:
            return self.judge.judge(reading)
        except Exception as error:  # noqa: BLE001 - a detector's defect must not stop intake
            self.judge_failed = True
            told = f"{type(error).__name__}: {error}"
            return [detector_failed_finding(self.info.id, "rules", told, reading.at_ms)]

    def is_historic(self, reading: Stored) -> bool:
        """Tell whether what this reading shows is no news."""
        return self.info.recorded or reading.received_ms - reading.at_ms > HISTORIC_MS

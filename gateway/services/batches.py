"""What one commit of the intake writes: plain rows, for the store to carry out as they stand."""

from dataclasses import dataclass, field
from typing import NamedTuple, Self

import msgspec

from gateway.domain.meters import ChannelInfo, MeterInfo
from gateway.pipeline.decode import Rejected
from gateway.pipeline.registers import Registers

# row, boot_no, seq, n, up, t, at, received, dt, marks, body: the store's column order.
Row = tuple[int, int, int, int, int, int | None, int | None, int, int, int, bytes]


class DeadLetter(NamedTuple):
    """A message or reading that could not be stored."""

    received_ms: int
    topic: str
    rejected: Rejected
    size: int


class Ack(NamedTuple):
    """What one meter is told after the commit (contract, section 2, topic `ack`)."""

    meter: str
    boot: int
    upto: int
    more: tuple[tuple[int, int], ...]
    regs: Registers


class BootRow(NamedTuple):
    """One row of the boots table."""

    no: int
    meter_no: int
    boot: int
    bootn: int | None
    first_received_ms: int
    state_anchor_ms: int | None
    reading_anchor_ms: int | None
    offset_ms: int | None


class RunRow(NamedTuple):
    """One row of the runs table."""

    boot_no: int
    first: int
    last: int
    first_at_ms: int | None
    last_at_ms: int | None
    last_up_ms: int
    regs: Registers


class Replaced(NamedTuple):
    """Rows of a boot that the spool record in `by_row` replaces.

    `repeated`: every window of its span had come before, so that, with nothing finer left to
    replace, the record itself is a repetition and goes.
    """

    boot_no: int
    meter_no: int
    first: int
    last: int
    by_row: int
    repeated: bool


class Moved(NamedTuple):
    """A boot whose rows marked with `mark` lie elsewhere now: at anchor + up."""

    boot_no: int
    meter_no: int
    anchor_ms: int
    mark: int


class GapCut(NamedTuple):
    """Windows first … last of a boot are in no gap any more."""

    boot_no: int
    first: int
    last: int


class GapRow(NamedTuple):
    """One row of the gaps table, `state` provisional or final."""

    boot_no: int
    first: int
    last: int
    state: str
    reason: str
    since_ms: int


class MeterState(NamedTuple):
    """The last `state` message of a meter, as JSON."""

    meter_no: int
    payload: str
    at_ms: int
    online: bool

    def after(self, before: str | None) -> Self:
        """Return it with what the meter had said `before`, where this only says that it is gone."""
        if self.online or before is None:
            return self
        said = msgspec.json.decode(before) | msgspec.json.decode(self.payload)
        return self._replace(payload=msgspec.json.encode(said).decode())


@dataclass(slots=True)
class Batch:
    """Everything one commit writes, and what is sent once it is safe."""

    meters: list[tuple[int, MeterInfo]] = field(default_factory=list)
    channels: list[tuple[int, int, ChannelInfo]] = field(default_factory=list)  # no, meter_no
    boots: dict[int, BootRow] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    deleted_runs: list[tuple[int, int]] = field(default_factory=list)
    gaps: list[GapCut | GapRow] = field(default_factory=list)  # in their order
    replaced: list[Replaced] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    states: dict[int, MeterState] = field(default_factory=dict)
    acks: list[Ack] = field(default_factory=list)
    duplicates: int = 0

    def is_empty(self) -> bool:
        """Tell whether there is nothing to write: only repeated readings, perhaps."""
        parts = (
            self.meters, self.channels, self.boots, self.rows, self.runs, self.deleted_runs,
            self.gaps, self.replaced, self.moved, self.dead, self.states,
        )  # fmt: skip
        return not any(parts)

"""What one commit of the judging writes: rollups, alerts, models, and how far it came."""

from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.pipeline.alert_book import Change
from gateway.pipeline.rollups import Bucket


class RollupPart(NamedTuple):
    """A contribution to one interval of one channel."""

    channel_no: int
    resolution: str
    bucket: Bucket


class Position(NamedTuple):
    """Up to which row a meter has been judged, and the state to go on from."""

    meter_no: int
    row: int
    at_ms: int
    state: bytes


class ModelRow(NamedTuple):
    """A fitted model of one channel."""

    meter_no: int
    channel: str
    kind: str
    fitted_ms: int
    body: bytes


class VerdictRow(NamedTuple):
    """What a person said of an alert: a label for training."""

    alert_id: str
    at_ms: int
    who: str
    right: bool
    note: str


class Rebuild(NamedTuple):
    """Intervals of a meter to compute again from its readings up to `row`, in [from, to)."""

    dirty_no: int
    meter_no: int
    from_ms: int
    to_ms: int
    row: int


@dataclass(slots=True)
class Effects:
    """Written in one transaction: all of it, or nothing and the work is done again."""

    rollups: list[RollupPart] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    verdicts: list[VerdictRow] = field(default_factory=list)
    models: list[ModelRow] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    rebuilds: list[Rebuild] = field(default_factory=list)
    looked_at: int = 0  # up to this row nothing is left to do, whatever the meter

    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        parts = (self.rollups, self.changes, self.models, self.positions, self.rebuilds)
        return not any(parts)

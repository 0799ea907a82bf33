"""An imported table as the readings of one boot, with all its channels."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.pipeline.import_table import Table
from gateway.pipeline.tabular import HOLE, LONGEST_MS, SHORTEST_MS, Registers

# A hole of years must not look like nonsense (contract, section 3: at most 10⁶ beyond the highest).
MOST_MISSING = 500_000
NEEDED = ("i", "p", "wh_in", "wh_out")


class ImportWindow(NamedTuple):
    """One reading; `missing` windows before it are in the table's holes."""

    seq: int
    missing: int
    reading: dict[str, object]


class _Channel:
    """One channel's columns; registers that the table lacks are derived from power."""

    def __init__(self) -> None:
        self.columns: dict[str, int] = {}
        self.counted = Registers()

    def read(self, table: Table, row: int, elapsed_ms: int | None) -> dict[str, float | None]:
        """Return the channel's fields; None = not measured."""
        found = {
            field: _or_none(table.values[column][row]) for field, column in self.columns.items()
        }
        if "p" in found:
            self.counted.count(found["p"], elapsed_ms)
            found.setdefault("wh_in", self.counted.wh_in)
            found.setdefault("wh_out", self.counted.wh_out)
        measured = {field: found.get(field) for field in NEEDED}
        return measured | {
            field: value for field in ("q", "v") if (value := found.get(field)) is not None
        }


def import_windows(table: Table, channel: str, boot: int) -> Iterator[ImportWindow]:
    """Yield the readings of a settled table in order.

    Steps longer than 1.5 times the usual one are holes: windows are missing, and registers
    that are derived do not count over them (contract, section 6). `channel` is there always.
    """
    step_ms = table.step_ms()
    targets = list(enumerate(table.targets))
    own = {one.field: at for at, one in targets if not one.channel and not one.is_aux}
    others = [(at, one.field) for at, one in targets if one.is_aux]
    channels: dict[str, _Channel] = {}
    for at, target in targets:
        if target.channel:
            channels.setdefault(target.channel, _Channel()).columns[target.field] = at
    channels = channels or {channel: _Channel()}
    seq, up_ms, before_ms = -1, 0, None
    for row, t_ms in enumerate(table.times):
        elapsed_ms = step_ms if before_ms is None else t_ms - before_ms
        missing, dt_ms = 0, min(max(elapsed_ms, SHORTEST_MS), LONGEST_MS)
        if elapsed_ms > HOLE * step_ms:
            missing = min(max(1, round(elapsed_ms / step_ms) - 1), MOST_MISSING)
            dt_ms = step_ms
        seq += 1 + missing
        up_ms += max(elapsed_ms, SHORTEST_MS)
        counted_ms = None if missing else elapsed_ms
        measured = {name: one.read(table, row, counted_ms) for name, one in channels.items()}
        head: dict[str, object] = {"boot": boot, "seq": seq, "up": up_ms, "t": t_ms, "dt": dt_ms}
        tops = {
            field: _or_none(table.values[own[field]][row]) if field in own else None
            for field in ("v", "f")
        }
        if aux := _others(table, others, row):
            head["aux"] = aux
        yield ImportWindow(seq, missing, {**head, **tops, "ch": measured})
        before_ms = t_ms


def _others(table: Table, others: Sequence[tuple[int, str]], row: int) -> dict[str, float]:
    """Return what else was measured in a row, by name."""
    cells = ((name, table.values[at][row]) for at, name in others)
    return {name: value for name, value in cells if not math.isnan(value)}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value

"""A table's rows as numbers: which cell is which field, and what cannot be read, by its line."""

import math
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.domain.errors import BadInputError
from gateway.domain.meters import USUAL_CLAMP_A
from gateway.pipeline.sniffing import Form, is_null, join_time, number, time_places
from gateway.pipeline.table_times import DateOrder, read_time
from gateway.pipeline.tabular import FIELDS, LONGEST_MS, SHORTEST_MS, Source, source_of

MOST_ERRORS = 200  # told in words; all are counted
MOST_CHANNELS = 6  # of a reading (contract, section 3)
CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,15}\Z")
AUX = re.compile(r"aux\.(?P<name>[a-z][a-z0-9_]{0,31})\Z")  # a reading's other measurements
MOST_AUX = 16  # of a reading (contract, section 3)
# Rows times fields of a table: a million rows of five, not in order, take 160 MB at the most. The
# daemon itself has about 100 MB then, and its unit slows it down from 320 MB on.
MOST_VALUES = 5_000_000
# What a reading may carry (contract, section 3).
RANGES = {
    "v": (0, 500, "V"), "f": (0, 70, "Hz"), "i": (0, 1000, "A"), "p": (-500_000, 500_000, "W"),
    "q": (-500_000, 500_000, "var"), "wh_in": (0, 1e15, "Wh"), "wh_out": (0, 1e15, "Wh"),
}  # fmt: skip
AUX_RANGE = (-1e12, 1e12, "")
LOWEST_HZ = 40.0
EARLIEST_MS, LATEST_MS = -(10**13), 10**13  # 1653 to 2286


# Rated currents of fuses and breakers (IEC 60269, IEC 60898), A.
RATINGS_A = (
    16, 20, 25, 32, 40, 50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000,
)  # fmt: skip


class Target(NamedTuple):
    """One field of one channel ("" = the meter's own v or f), and where it comes from.

    `is_aux`: another measurement of the meter, such as an oil's temperature, named by `field`.
    """

    channel: str
    field: str
    source: Source
    is_aux: bool = False


class LineError(NamedTuple):
    """What is wrong with a line; `column` "" = the line as a whole."""

    line: int
    column: str
    text: str


class CellError(ValueError):
    """A cell that cannot be read."""

    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column


def read_targets(chosen: Mapping[str, str], columns: Sequence[str], channel: str) -> list[Target]:
    """Return what an import's `map` says; BadInputError names the entry that is wrong."""
    targets = []
    for key, text in chosen.items():
        where, _, field = key.rpartition(".")
        if field not in FIELDS and AUX.match(key) is not None:
            targets.append(Target("", field, source_of(f"map.{key}", text, columns), is_aux=True))
            continue
        if field not in FIELDS or (where and CHANNEL.match(where) is None):
            msg = (
                f"map.{key[:40]}: must be one of {', '.join(FIELDS)}, or CHANNEL.FIELD, or aux.NAME"
            )
            raise BadInputError(msg)
        own = "" if not where and field in ("v", "f") else where or channel
        if own and field == "f":
            msg = f"map.{key[:40]}: the frequency is the meter's; give f"
            raise BadInputError(msg)
        targets.append(Target(own, field, source_of(f"map.{key[:40]}", text, columns)))
    channels = {target.channel for target in targets if target.channel}
    if not targets or len(channels) > MOST_CHANNELS:
        msg = f"map: must name at least one field, and at most {MOST_CHANNELS} channels"
        raise BadInputError(msg)
    if sum(target.is_aux for target in targets) > MOST_AUX:
        msg = f"map: at most {MOST_AUX} of aux"
        raise BadInputError(msg)
    return targets


def check_size(rows: int, fields: int) -> None:
    """Raise BadInputError for a table that would take too much memory."""
    if rows * fields > MOST_VALUES:
        msg = (
            f"map: {rows} rows of {fields} fields are more than {MOST_VALUES} values; map at most"
            f" {MOST_VALUES // rows} fields, or split the file"
        )
        raise BadInputError(msg)


class Table:
    """Times in order and one array for each target; NaN = not measured."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = list(targets)
        self.times = array("q")
        self.lines = array("l")
        self.values = [array("d") for _ in targets]

    def __len__(self) -> int:
        return len(self.times)

    def step_ms(self) -> int:
        """Return the median step between rows in ms, within what a reading may cover."""
        steps = sorted(after - before for before, after in pairwise(self.times))
        step = steps[len(steps) // 2] if steps else 60_000
        return min(max(step, SHORTEST_MS), LONGEST_MS)

    def settle(self, note: Callable[[LineError], None]) -> None:
        """Put rows in order of time; drop and `note` those of a time that is there already.

        Works with arrays, column by column: a list of a million numbers takes 40 MB.
        """
        order = array("l", range(len(self)))
        in_order = all(before <= after for before, after in pairwise(self.times))
        if not in_order:
            order = array("l", sorted(order, key=self.times.__getitem__))
        kept = array("l")
        for index in order:
            if kept and self.times[kept[-1]] == self.times[index]:
                first = self.lines[kept[-1]]
                note(LineError(self.lines[index], "", f"has the time of line {first}"))
            else:
                kept.append(index)
        if len(kept) < len(self) or not in_order:
            self.times = array("q", (self.times[index] for index in kept))
            self.lines = array("l", (self.lines[index] for index in kept))
            for place, column in enumerate(self.values):
                self.values[place] = array("d", (column[index] for index in kept))


class TableReader:
    """Reads rows into a table one by one."""

    def __init__(
        self, form: Form, targets: Sequence[Target], time: str, order: DateOrder, zone: ZoneInfo
    ) -> None:
        """Raise BadInputError for a time column that is not there."""
        self.table = Table(targets)
        self.errors: list[LineError] = []
        self.error_count = 0
        self._width = len(form.columns)
        self._places = time_places(form.columns, time)
        self._time = time
        self._order = order
        self._zone = zone
        self._decimal = form.decimal
        at = {name: place for place, name in enumerate(form.columns)}
        self._cells = [
            (at[t.source.column], None if t.source.minus is None else at[t.source.minus], t)
            for t in targets
        ]
        self._last_ms: int | None = None

    def take(self, line: int, row: Sequence[str]) -> None:
        """Take a row in, or note what is wrong with it."""
        try:
            t_ms, values = self._read(row)
        except CellError as error:
            self.note(LineError(line, error.column, str(error)))
            return
        table = self.table
        table.times.append(t_ms)
        table.lines.append(line)
        for column, value in zip(table.values, values, strict=True):
            column.append(value)
        self._last_ms = t_ms

    def note(self, error: LineError) -> None:
        """Count an error; the first ones are kept."""
        self.error_count += 1
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(error)

    def finish(self) -> Table:
        """Return the table in order of time."""
        self.table.settle(self.note)
        return self.table

    def _read(self, row: Sequence[str]) -> tuple[int, list[float]]:
        if len(row) != self._width:
            column, text = "", f"has {len(row)} cells, the header has {self._width}"
            raise CellError(column, text)
        try:
            text = join_time(row, self._places)
            t_ms = read_time(text, self._order, self._zone, self._last_ms)
        except ValueError as error:
            raise CellError(self._time, str(error)) from error
        if not EARLIEST_MS <= t_ms <= LATEST_MS:
            raise CellError(self._time, f"{text!r:.40} is beyond any time")
        return t_ms, [self._value(row, *cell) for cell in self._cells]

    def _value(self, row: Sequence[str], place: int, minus: int | None, target: Target) -> float:
        value = self._cell(row[place], target.source.column)
        if minus is not None:
            value -= self._cell(row[minus], target.source.minus or "")
        if math.isnan(value):
            return value
        if target.source.scale != 1.0:
            value = float(f"{value * target.source.scale:.12g}")
        low, high, unit = AUX_RANGE if target.is_aux else RANGES[target.field]
        if not low <= value <= high or (target.field == "f" and 0 < value < LOWEST_HZ):
            text = f"{target.field} = {value:g} {unit} is outside {low:g} … {high:g} {unit}"
            raise CellError(target.source.column, text)
        return value

    def _cell(self, cell: str, column: str) -> float:
        if is_null(cell):
            return math.nan
        value = number(cell, self._decimal)
        if value is None:
            raise CellError(column, f"{cell.strip()!r:.40} is no number")
        return value


def usual_rating(currents_a: Sequence[float]) -> float | None:
    """Return the least usual rating above all currents; None up to that of a usual clamp."""
    highest_a = max((value for value in currents_a if not math.isnan(value)), default=0.0)
    if highest_a <= USUAL_CLAMP_A:
        return None
    return float(next(rating for rating in RATINGS_A if rating >= highest_a))

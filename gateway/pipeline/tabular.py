"""Turn a table's rows into readings of one boot, as `replay` and imports need them."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.domain.errors import BadInputError
from gateway.pipeline.times import parse, to_ms

FIELDS = ("v", "f", "i", "p", "q", "wh_in", "wh_out")
HOLE = 1.5  # contract, section 6: a step longer than this times the usual one is a hole
SHORTEST_MS, LONGEST_MS = 100, 86_400_000
MS_PER_HOUR = 3_600_000
REGISTER_DIGITS = 4  # 0.1 mWh
SCALED = re.compile(r"(?P<column>.+?):(?P<scale>[-+0-9.eE]+)\Z")


class Source(NamedTuple):
    """Where a field comes from: scale · (column - minus)."""

    column: str
    minus: str | None = None
    scale: float = 1.0


class Line(NamedTuple):
    """One row with its time and its measured fields (None = null), in the order of FIELDS."""

    t_ms: int
    values: tuple[float | None, ...]


class Window(NamedTuple):
    """One reading to send; `missing` windows before it are dropped."""

    seq: int
    missing: int
    reading: dict[str, object]


def parse_map(texts: Sequence[str], columns: Sequence[str]) -> dict[str, Source]:
    """Return where each field comes from; BadInputError names the --map that is wrong.

    `p=p_kw:1000` renames and scales, `p=imp-exp` subtracts; a row where either is null gives
    null. Fields not named come from the column of their own name, where there is one.
    """
    sources = {name: Source(name) for name in ("t", *FIELDS) if name in columns}
    for text in texts:
        field, separator, rest = text.partition("=")
        if not separator or field not in ("t", *FIELDS):
            msg = f"--map {text}: must be FIELD=COLUMN, FIELD one of t, {', '.join(FIELDS)}"
            raise BadInputError(msg)
        sources[field] = source_of(f"--map {text}", rest, columns)
    if "t" not in sources:
        msg = f"--map: no column t; name it with --map t=COLUMN, one of: {', '.join(columns)}"
        raise BadInputError(msg)
    if len(sources) == 1:
        msg = f"--map: no column of {', '.join(FIELDS)}; the file has: {', '.join(columns)}"
        raise BadInputError(msg)
    return sources


def source_of(told: str, rest: str, columns: Sequence[str]) -> Source:
    """Return what `column`, `column:scale` or `column-column` names, or raise BadInputError."""
    scale = 1.0
    if rest not in columns and (match := SCALED.match(rest)) is not None:
        rest = match["column"]
        try:
            scale = float(match["scale"])
        except ValueError:
            scale = math.nan
        if not math.isfinite(scale):
            msg = f"{told}: {match['scale']!r} is no number to scale by"
            raise BadInputError(msg)
    if rest in columns:
        return Source(rest, None, scale)
    for at, letter in enumerate(rest):
        if letter == "-" and rest[:at] in columns and rest[at + 1 :] in columns:
            return Source(rest[:at], rest[at + 1 :], scale)
    msg = f"{told}: the file has no column {rest!r}; it has: {', '.join(columns)}"
    raise BadInputError(msg)


def read_lines(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    sources: dict[str, Source],
    zone: ZoneInfo,
) -> list[Line]:
    """Return all rows in time order; BadInputError names the first row that cannot be read."""
    at = {name: number for number, name in enumerate(columns)}
    time_at = at[sources["t"].column]
    wanted = [sources.get(name) for name in FIELDS]
    lines: list[Line] = []
    before_ms: int | None = None
    for number, row in enumerate(rows, 2):  # as an editor counts: the header is line 1
        try:
            t_ms = _time(row[time_at], zone, before_ms)
            values = tuple(None if s is None else _value(row, at, s) for s in wanted)
        except IndexError as error:
            msg = f"FILE: row {number} has {len(row)} cells, the header has {len(columns)}"
            raise BadInputError(msg) from error
        except ValueError as error:
            msg = f"FILE: row {number}: {error}"
            raise BadInputError(msg) from error
        lines.append(Line(t_ms, values))
        before_ms = t_ms
    return sorted(lines, key=lambda line: line.t_ms)  # stable: equal times keep their order


def _time(cell: object, zone: ZoneInfo, after_ms: int | None) -> int:
    if isinstance(cell, datetime):
        return to_ms(cell, zone, after_ms=after_ms)
    if isinstance(cell, int | float) and math.isfinite(cell):
        return int(cell)
    try:
        return parse(str(cell), zone, name="t", after_ms=after_ms)
    except BadInputError as error:
        raise ValueError(str(error)) from error


def _value(row: Sequence[object], at: dict[str, int], source: Source) -> float | None:
    value = _number(row[at[source.column]], source.column)
    if source.minus is not None:
        minus = _number(row[at[source.minus]], source.minus)
        value = None if value is None or minus is None else value - minus
    if value is None or source.scale == 1.0:
        return value
    # 4.216 · 1000 shall be 4216.0, not 4216.000000000001.
    return float(f"{value * source.scale:.12g}")


def _number(cell: object, column: str) -> float | None:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in ("", "null", "nan", "?")):
        return None
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        msg = f"{column}: {cell!r:.40} is no number"
        raise ValueError(msg) from error
    return number if math.isfinite(number) else None


def usual_step_ms(lines: Sequence[Line]) -> int:
    """Return the median step between rows in ms, within what a reading may cover."""
    steps = sorted(b.t_ms - a.t_ms for a, b in itertools.pairwise(lines))
    step = steps[len(steps) // 2] if steps else MS_PER_HOUR // 60
    return min(max(step, SHORTEST_MS), LONGEST_MS)


def windows(
    lines: Sequence[Line], sources: dict[str, Source], channel: str, boot: int
) -> Iterator[Window]:
    """Yield the readings of a table in order, holes as missing windows before a reading.

    Registers that the table lacks are derived: backward rectangles between rows having p,
    holes adding nothing.
    """
    step_ms = usual_step_ms(lines)
    seq, up_ms, before_ms = -1, 0, None
    counted = Registers()
    derive_in, derive_out = ("p" in sources and name not in sources for name in ("wh_in", "wh_out"))
    for t_ms, values in lines:
        elapsed_ms = step_ms if before_ms is None else t_ms - before_ms
        missing, dt_ms = 0, min(max(elapsed_ms, SHORTEST_MS), LONGEST_MS)
        if elapsed_ms > HOLE * step_ms:
            missing, dt_ms = max(1, round(elapsed_ms / step_ms) - 1), step_ms
        seq += 1 + missing
        up_ms += max(elapsed_ms, SHORTEST_MS)
        v, f, i, p, q, wh_in, wh_out = values
        counted.count(p, None if missing else elapsed_ms)
        measured = {
            "i": i, "p": p, "q": q,
            "wh_in": counted.wh_in if derive_in else wh_in,
            "wh_out": counted.wh_out if derive_out else wh_out,
        }  # fmt: skip
        if q is None:
            del measured["q"]
        yield Window(
            seq, missing,
            {"boot": boot, "seq": seq, "up": up_ms, "t": t_ms, "dt": dt_ms, "v": v, "f": f,
             "ch": {channel: measured}},
        )  # fmt: skip
        before_ms = t_ms


class Registers:
    """Energy counted from power: import from positive, export from negative."""

    def __init__(self) -> None:
        self._in_wh = self._out_wh = 0.0
        self._pending_ms = 0
        self._begun = False

    def count(self, power_w: float | None, elapsed_ms: int | None) -> None:
        """Count one row; `elapsed_ms` None = behind a hole, which adds nothing."""
        self._pending_ms = 0 if elapsed_ms is None else self._pending_ms + elapsed_ms
        if power_w is None:
            return
        if self._begun:
            energy_wh = power_w * self._pending_ms / MS_PER_HOUR
            self._in_wh += max(energy_wh, 0.0)
            self._out_wh += max(-energy_wh, 0.0)
        self._begun = True
        self._pending_ms = 0

    @property
    def wh_in(self) -> float:
        """Return the import register in Wh."""
        return round(self._in_wh, REGISTER_DIGITS)

    @property
    def wh_out(self) -> float:
        """Return the export register in Wh."""
        return round(self._out_wh, REGISTER_DIGITS)

"""What a table of measurements looks like: its delimiter, decimal sign, header and columns."""

import csv
import re
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.domain.errors import BadInputError
from gateway.pipeline.table_times import DateOrder, guess_order, read_time

DELIMITERS = (";", "\t", ",", "|")
SAMPLE_LINES = 200
MOST_COLUMNS = 200
MOSTLY = 0.8  # of a column's cells must fit what the column is taken for
COMMA_NUMBER = re.compile(r"-?[0-9.]*[0-9],[0-9]+\Z")
NULLS = frozenset({"", "null", "nan", "na", "n/a", "none", "?", "-"})
UTC = ZoneInfo("UTC")


class Form(NamedTuple):
    """How to read a table: `header_line` counts from 1 and is 0 where there is none."""

    delimiter: str
    decimal: str
    header_line: int
    columns: tuple[str, ...]
    time: str  # a column, two joined by +, or "" where none looks like times
    date_order: DateOrder
    step_s: float | None  # the usual distance of rows


def sniff(lines: Sequence[str]) -> Form:
    """Look at a table's first lines; BadInputError where they are no table."""
    delimiter = _delimiter(lines)
    rows = list(csv.reader(lines, delimiter=delimiter))
    width = _usual([len(row) for row in rows if row])
    first = next(index for index, row in enumerate(rows) if len(row) == width)
    has_header = not any(number(cell, ".") is not None for cell in rows[first])
    body = [row for row in rows[first + has_header :] if len(row) == width]
    if not body:
        msg = "file: there are no rows below the header"
        raise BadInputError(msg)
    decimal = "," if delimiter != "," and _has_commas(body) else "."
    columns = _names(rows[first] if has_header else [""] * width)
    time, order = _find_time(columns, body)
    return Form(
        delimiter, decimal, first + 1 if has_header else 0, columns, time, order,
        _step_s(columns, body, time, order),
    )  # fmt: skip


def number(cell: str, decimal: str) -> float | None:
    """Return a cell as a finite number, None where it is none; `decimal` is its decimal sign."""
    text = cell.strip()
    if decimal == ",":
        text = text.replace(".", "").replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def is_null(cell: str) -> bool:
    """Tell whether a cell says that nothing was measured."""
    return cell.strip().lower() in NULLS


def join_time(row: Sequence[str], places: Sequence[int]) -> str:
    """Return a row's time, of one cell or two."""
    return " ".join(row[place].strip() for place in places)


def _delimiter(lines: Sequence[str]) -> str:
    """Return the sign that cuts most lines into the same number of parts, more than one."""
    best, best_score = "", 0.0
    for sign in DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=sign) if row]
        if not widths:
            break
        width = _usual(widths)
        score = widths.count(width) / len(widths) if 1 < width <= MOST_COLUMNS else 0.0
        if score > best_score:
            best, best_score = sign, score
    if not best:
        msg = "file: is no table: a time and a value a line are needed, parted by , ; | or tab"
        raise BadInputError(msg)
    return best


def _usual(widths: Sequence[int]) -> int:
    return statistics.mode(widths) if widths else 0


def _has_commas(body: Sequence[Sequence[str]]) -> bool:
    cells = [cell.strip() for row in body for cell in row]
    return sum(COMMA_NUMBER.match(cell) is not None for cell in cells) > sum(
        re.match(r"-?[0-9]+\.[0-9]+\Z", cell) is not None for cell in cells
    )


def _names(header: Sequence[str]) -> tuple[str, ...]:
    """Return each column's name; unnamed and doubled ones get a number."""
    names: list[str] = []
    for place, cell in enumerate(header, 1):
        name = cell.strip()[:80] or f"column {place}"
        names.append(name if name not in names else f"{name} ({place})")
    return tuple(names)


def _find_time(columns: Sequence[str], body: Sequence[Sequence[str]]) -> tuple[str, DateOrder]:
    for place, name in enumerate(columns):
        texts = [row[place] for row in body]
        order = guess_order(texts)
        if _fits(texts, order):
            if place + 1 < len(columns) and _are_clocks([row[place + 1] for row in body]):
                return f"{name}+{columns[place + 1]}", order
            return name, order
    return "", DateOrder.YMD


def _fits(texts: Sequence[str], order: DateOrder) -> bool:
    good = 0
    for text in texts:
        try:
            read_time(text, order, UTC)
        except ValueError:
            continue
        good += 1
    return good >= MOSTLY * len(texts)


def _are_clocks(texts: Sequence[str]) -> bool:
    clock = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?(\s*[AaPp][Mm])?\Z")
    return sum(clock.match(text.strip()) is not None for text in texts) >= MOSTLY * len(texts)


def _step_s(
    columns: Sequence[str], body: Sequence[Sequence[str]], time: str, order: DateOrder
) -> float | None:
    if not time:
        return None
    places = time_places(columns, time)
    times = []
    for row in body:
        try:
            times.append(read_time(join_time(row, places), order, UTC))
        except ValueError:
            continue
    steps = [after - before for before, after in pairwise(times)]
    rises = [step for step in steps if step > 0]
    return statistics.median(rises) / 1000 if rises else None


def time_places(columns: Sequence[str], time: str) -> tuple[int, ...]:
    """Return where the time's cells stand; BadInputError for a column that is not there."""
    if time in columns:
        return (columns.index(time),)
    date, _, clock = time.partition("+")
    if date in columns and clock in columns:
        return columns.index(date), columns.index(clock)
    msg = f"time: the file has no column {time[:80]!r}; it has: {', '.join(columns)[:300]}"
    raise BadInputError(msg)

"""Times as tables of the world write them: ISO 8601, Unix, and days in three orders."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from gateway.pipeline.times import to_ms

UNIX = re.compile(r"-?[0-9]{9,13}(?:\.[0-9]{1,9})?\Z")
SECONDS_UP_TO = 10**11  # seconds until the year 5138; milliseconds from 1973 on
DAY = re.compile(
    r"(?P<a>[0-9]{1,4})(?P<s>[-/.])(?P<b>[0-9]{1,2})(?P=s)(?P<c>[0-9]{1,4})"
    r"(?:[T ,;]+(?P<h>[0-9]{1,2})[:.h](?P<m>[0-9]{2})(?:[:.](?P<sec>[0-9]{2})(?:[.,][0-9]{1,9})?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?\Z"
)
SHORT_YEARS, PIVOT = 100, 69  # of two digits, as POSIX has it: 69 is 1969, 68 is 2068
NOON_H = 12


class DateOrder(StrEnum):
    """In which order a date's parts stand where it does not begin with the year."""

    YMD = "ymd"
    DMY = "dmy"
    MDY = "mdy"


def guess_order(texts: Iterable[str]) -> DateOrder:
    """Return the order that fits all dates; day first where both would."""
    first_above = second_above = False
    for text in texts:
        match = DAY.match(text.strip())
        if match is None:
            continue
        if len(match["a"]) == len("2026"):
            return DateOrder.YMD
        first_above |= int(match["a"]) > NOON_H
        second_above |= int(match["b"]) > NOON_H
    return DateOrder.MDY if second_above and not first_above else DateOrder.DMY


def read_time(text: str, order: DateOrder, zone: ZoneInfo, after_ms: int | None = None) -> int:
    """Return Unix ms of a cell, or raise ValueError in words.

    A time without offset is local to `zone`; of an hour that the clock shows twice the first is
    meant, unless only the second comes after `after_ms`.
    """
    stripped = text.strip()
    if UNIX.match(stripped) is not None:
        number = float(stripped)
        return round(number * 1000) if abs(number) < SECONDS_UP_TO else round(number)
    try:
        moment = _moment(stripped, order)
        return to_ms(moment, zone, after_ms=after_ms)
    except (ValueError, OverflowError) as error:
        msg = f"{text!r:.40} is no time"
        raise ValueError(msg) from error


def _moment(text: str, order: DateOrder) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        match = DAY.match(text)
    if match is None:
        raise ValueError(text)
    a, b, c = match["a"], match["b"], match["c"]
    if len(a) == len("2026"):
        year, month, day = int(a), int(b), int(c)
    else:
        day, month = (int(b), int(a)) if order is DateOrder.MDY else (int(a), int(b))
        year = int(c)
        if year < SHORT_YEARS:
            year += 1900 if year >= PIVOT else 2000
    hour, minute, second = (int(match[name] or 0) for name in ("h", "m", "sec"))
    half = (match["half"] or "").lower()
    if half:
        if not 1 <= hour <= NOON_H:
            raise ValueError(text)
        hour = hour % NOON_H + (NOON_H if half.startswith("p") else 0)
    if (hour, minute, second) == (24, 0, 0):  # the end of a day, as many meters write it
        return datetime(year, month, day) + timedelta(days=1)  # noqa: DTZ001 - local to the table
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - as above

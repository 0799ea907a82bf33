"""Read times that people write: ISO 8601 or Unix milliseconds."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from gateway.domain.errors import BadInputError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_DIGITS = 15  # of Unix milliseconds: thirty thousand years; SQLite's integers hold more
MILLISECOND = timedelta(milliseconds=1)


def to_ms(moment: datetime, zone: ZoneInfo, *, after_ms: int | None = None) -> int:
    """Return Unix milliseconds; a time without offset is local to `zone`.

    Of an hour that the clock shows twice the first is meant, unless only the second comes
    after `after_ms`.
    """
    if moment.tzinfo is not None:
        return (moment - EPOCH) // MILLISECOND
    first = (moment.replace(tzinfo=zone).astimezone(UTC) - EPOCH) // MILLISECOND
    if after_ms is None or first > after_ms:
        return first
    second = (moment.replace(tzinfo=zone, fold=1).astimezone(UTC) - EPOCH) // MILLISECOND
    return second if second > after_ms else first


def parse(text: str, zone: ZoneInfo, *, name: str, after_ms: int | None = None) -> int:
    """Return Unix milliseconds of a text, or raise BadInputError naming `name`."""
    stripped = text.strip()
    digits = stripped.removeprefix("-")
    if digits.isdecimal() and len(digits) != len("20260101") and len(digits) <= MOST_DIGITS:
        return int(stripped)
    try:
        return to_ms(datetime.fromisoformat(stripped), zone, after_ms=after_ms)
    except (ValueError, OverflowError) as error:
        msg = f"{name}: {text!r:.60} is neither ISO 8601 nor Unix milliseconds"
        raise BadInputError(msg) from error


def iso(at_ms: int, zone: tzinfo) -> str:
    """Return a time for people, in local time with its offset."""
    return (EPOCH + at_ms * MILLISECOND).astimezone(zone).isoformat(timespec="seconds")

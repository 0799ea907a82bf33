"""Times as people write them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.errors import BadInputError
from gateway.pipeline.times import iso, parse, to_ms

LISBON = ZoneInfo("Europe/Lisbon")
PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1763760000250", 1_763_760_000_250),
        ("0", 0),
        ("2026-01-01", 1_767_222_000_000),  # midnight in Paris
        ("20260101", 1_767_222_000_000),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01 01:00:00+01:00", 1_767_225_600_000),
    ],
)
def test_both_kinds_are_read(text: str, expected: int) -> None:
    assert parse(text, PARIS, name="--start") == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "1e12", "9" * 16, "9" * 5000])
def test_anything_else_names_the_option(text: str) -> None:
    with pytest.raises(BadInputError, match="--start"):
        parse(text, PARIS, name="--start")


def test_an_hour_shown_twice() -> None:
    twice = datetime(2026, 10, 25, 1, 30)  # noqa: DTZ001 - local on purpose
    first = to_ms(twice, LISBON)
    assert first == to_ms(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), LISBON)
    assert to_ms(twice, LISBON, after_ms=first) == first + 3_600_000
    assert to_ms(twice, LISBON, after_ms=first - 1) == first


def test_people_see_local_time_with_its_offset() -> None:
    assert iso(1_767_225_600_000, PARIS) == "2026-01-01T01:00:00+01:00"

"""Rollups: contributions in any split are what a computation from all readings gives."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.readings import Channel, Stored
from gateway.pipeline.rollups import RESOLUTIONS, Bucket, Calendar, Contribution, MeterRoll
from tests.support.judging import reading

LISBON = ZoneInfo("Europe/Lisbon")
ZONES = [LISBON, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/Havana"),
         ZoneInfo("Africa/Cairo"), ZoneInfo("Australia/Lord_Howe")]  # fmt: skip
# Half an hour before and after the autumn and spring changes of 2025 in Europe.
CHANGES_MS = [1_761_440_400_000, 1_743_296_400_000, 1_760_000_400_000]


def model(readings: list[Stored], zone: ZoneInfo) -> dict[tuple[str, int], dict[str, object]]:
    """Compute every interval anew with nothing but arithmetic and the standard library."""
    found: dict[tuple[str, int], list[Stored]] = {}
    for one in readings:
        middle_ms = one.at_ms - one.dt_ms // 2
        for name, length in (("1m", 60_000), ("15m", 900_000), ("1h", 3_600_000)):
            found.setdefault((name, middle_ms // length * length), []).append(one)
        local = datetime.fromtimestamp(middle_ms / 1000, UTC).astimezone(zone)
        midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
        found.setdefault(("1d", int(midnight.timestamp() * 1000)), []).append(one)
    return {key: summary(inside) for key, inside in found.items()}


def summary(inside: list[Stored]) -> dict[str, object]:
    powers = [(one.ch["grid"].p, one.dt_ms) for one in inside if one.ch["grid"].p is not None]
    volts = [(one.v, one.dt_ms) for one in inside if one.v is not None]
    return {
        "n": sum(one.n for one in inside),
        "dt_ms": sum(one.dt_ms for one in inside),
        "p": pytest.approx(_mean(powers)) if powers else None,
        "p_min": min((p for p, _ in powers), default=None),
        "p_max": max((p for p, _ in powers), default=None),
        "v": pytest.approx(_mean(volts)) if volts else None,
        "v_min": min((v for v, _ in volts), default=None),
        "v_max": max((v for v, _ in volts), default=None),
    }


def _mean(pairs: list[tuple[float, int]]) -> float:
    return sum(x * dt for x, dt in pairs) / sum(dt for _, dt in pairs)


def told(bucket: Bucket) -> dict[str, object]:
    return {
        "n": bucket.n, "dt_ms": bucket.dt_ms,
        "p": bucket.mean("p"), "p_min": bucket.p_min, "p_max": bucket.p_max,
        "v": bucket.mean("v"), "v_min": bucket.v_min, "v_max": bucket.v_max,
    }  # fmt: skip


def merged(parts: list[Contribution]) -> dict[tuple[str, int], Bucket]:
    found: dict[tuple[str, int], Bucket] = {}
    for part in parts:
        key = (part.resolution, part.bucket.start_ms)
        found.setdefault(key, Bucket(part.bucket.start_ms)).merge(part.bucket)
    return found


@st.composite
def stories(draw: st.DrawFn) -> list[Stored]:
    """Draw readings in the order in which they are committed: mostly forward, some late."""
    begin_ms = draw(st.sampled_from(CHANGES_MS))
    steps = draw(
        st.lists(
            st.tuples(
                st.integers(-7_200_000, 7_200_000),
                st.sampled_from([200, 1000, 10_000, 900_000]),
                st.none() | st.integers(-9000, 9000).map(float),
                st.none() | st.integers(0, 500).map(float),
                st.integers(1, 900),
            ),
            min_size=1,
            max_size=40,
        )
    )
    return [
        reading(begin_ms + off_ms, dt_ms, n=n, v=v, ch={"grid": Channel(1.0, p, None, None)})
        for off_ms, dt_ms, p, v, n in steps
    ]


@settings(max_examples=60, deadline=None)
@given(stories(), st.sampled_from(ZONES), st.data())
def test_any_split_gives_what_all_readings_give(
    story: list[Stored], zone: ZoneInfo, data: st.DataObject
) -> None:
    roll = MeterRoll(Calendar(zone))
    parts: list[Contribution] = []
    newest_ms = 0
    for one in story:
        roll.add(one, parts, late=one.at_ms < newest_ms)
        newest_ms = max(newest_ms, one.at_ms)
        if data.draw(st.integers(0, 9)) == 0:
            roll.flush(parts)
    held = [Contribution(c.channel, c.resolution, c.bucket) for c in roll.open_parts()]
    wanted = model(story, zone)
    for found in (merged([*parts, *held]), _flushed(roll, parts)):
        assert found.keys() == wanted.keys()
        for key, bucket in found.items():
            assert told(bucket) == wanted[key], key


def _flushed(roll: MeterRoll, parts: list[Contribution]) -> dict[tuple[str, int], Bucket]:
    rest = list(parts)
    roll.flush(rest)
    assert list(roll.open_parts()) == []
    return merged(rest)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.integers(0, 400).map(float), min_size=2, max_size=60))
def test_register_plus_base_never_falls(registers: list[float | None]) -> None:
    roll = MeterRoll(Calendar(LISBON))
    parts: list[Contribution] = []
    for k, wh in enumerate(registers):
        at_ms = CHANGES_MS[2] + k * 20_000
        roll.add(reading(at_ms, 20_000, ch={"grid": Channel(1.0, 1.0, wh, 0.0)}), parts)
    roll.flush(parts)
    found = merged(parts)
    for resolution in RESOLUTIONS:
        totals = [
            bucket.wh_in + bucket.base_in
            for (name, _), bucket in sorted(found.items())
            if name == resolution and bucket.wh_in is not None
        ]
        assert totals == sorted(totals)
        if totals:
            rises = [value for value in registers if value is not None]
            most = sum(max(0.0, b - a) for a, b in pairwise(rises))
            assert totals[-1] - rises[0] <= most


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_local_days_follow_one_another_without_hole_or_overlap(zone: ZoneInfo) -> None:
    calendar = Calendar(zone)
    at_ms = calendar.start_of("1d", 1_735_700_000_000)
    for _ in range(370):
        end_ms = calendar.end_of("1d", at_ms)
        assert 22 * 3_600_000 <= end_ms - at_ms <= 26 * 3_600_000
        assert calendar.start_of("1d", end_ms - 1) == at_ms
        assert calendar.start_of("1d", at_ms) == at_ms
        assert calendar.start_of("1d", end_ms) == end_ms
        at_ms = end_ms


def test_fixed_intervals_begin_on_whole_ones() -> None:
    calendar = Calendar(LISBON)
    assert calendar.start_of("15m", 1_760_000_400_000 + 899_999) == 1_760_000_400_000
    assert calendar.end_of("15m", 1_760_000_400_000) == 1_760_001_300_000
    assert calendar.start_of("1m", -1) == -60_000


def test_resume_counts_energy_on_from_an_earlier_interval() -> None:
    before = Bucket(0, reg_at_ms=5, wh_in=90.0, base_in=1000.0)
    roll = MeterRoll(Calendar(LISBON))
    roll.resume("grid", before)
    parts: list[Contribution] = []
    roll.add(reading(CHANGES_MS[2], ch={"grid": Channel(1.0, 1.0, 10.0, None)}), parts)
    roll.flush(parts)
    assert parts[0].bucket.wh_in == 10.0
    assert parts[0].bucket.base_in == 1080.0

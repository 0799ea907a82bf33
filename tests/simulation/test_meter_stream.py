"""Readings of a simulated meter against the wire contract."""

import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.faults import Fault, FaultKind
from simulation.home import Home
from simulation.houses import demo_homes, family_house, flat
from simulation.meter_stream import MeterStream, Reading, Span, StreamOptions

NOON = 20_200 * 86_400_000 + 12 * 3_600_000


def stream(options: StreamOptions | None = None, *faults: Fault) -> MeterStream:
    home = Home(1, family_house(), since_ms=NOON, faults=faults)
    return MeterStream(home, boot=7, number=3, options=options)


def test_a_reading_has_the_contracts_fields_and_resolution() -> None:
    reading = next(stream().take(1))
    assert list(reading) == ["boot", "seq", "up", "t", "dt", "v", "f", "ch"]
    assert (reading["boot"], reading["seq"], reading["dt"]) == (7, 0, 1000)
    assert (reading["up"], reading["t"]) == (1000, NOON + 1000)
    assert set(reading["ch"]) == {"grid", "solar"}
    assert set(reading["ch"]["grid"]) == {"i", "p", "q", "wh_in", "wh_out"}
    assert 200 < reading["v"] < 260
    assert 49 < reading["f"] < 51
    assert json.loads(json.dumps(reading, allow_nan=False)) == reading
    grid = reading["ch"]["grid"]
    for number, decimals in (
        (reading["v"], 2),
        (reading["f"], 2),
        (grid["i"], 3),
        (grid["p"], 1),
        (grid["q"], 1),
        (grid["wh_in"], 2),
    ):
        assert len(repr(number).partition(".")[2]) <= decimals


def test_seq_counts_up_and_registers_follow_the_power() -> None:
    readings = list(stream().take(3600))
    assert [r["seq"] for r in readings] == list(range(3600))
    assert [r["up"] for r in readings] == [1000 * k for k in range(1, 3601)]
    solar = [r["ch"]["solar"] for r in readings]
    assert all(a["wh_in"] <= b["wh_in"] for a, b in itertools.pairwise(solar))
    integral = sum(channel["p"] for channel in solar) / 3600
    assert solar[-1]["wh_in"] == pytest.approx(integral, abs=0.1)
    for reading in readings:
        for channel in reading["ch"].values():
            apparent = reading["v"] * channel["i"]
            assert (
                abs(channel["p"]) <= apparent + 0.05 + 0.0005 * reading["v"] + 0.005 * channel["i"]
            )


def test_taking_in_pieces_changes_nothing() -> None:
    whole, pieces = stream(), stream()
    expected = list(whole.take(50))
    assert [r for n in (1, 1, 30, 18) for r in pieces.take(n)] == expected
    assert pieces.next_seq == 50
    assert pieces.now_ms == NOON + 50_000


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 500)), min_size=1, max_size=5))
def test_registers_go_on_over_boots_and_skip_what_was_off(boots: list[tuple[int, int]]) -> None:
    meter = stream()
    counted = 0.0
    before: Reading | None = None
    for number, (windows, seconds_off) in enumerate(boots):
        if number:
            meter.reboot(100 + number, meter.now_ms + seconds_off * 1000)
            assert meter.boot.number == 3 + number
        readings = list(meter.take(windows))
        assert readings[0]["seq"] == 0
        assert readings[0]["up"] == 1000
        if before is not None:
            step = readings[0]["ch"]["solar"]["wh_in"] - before["ch"]["solar"]["wh_in"]
            assert step == pytest.approx(readings[0]["ch"]["solar"]["p"] / 3600, abs=0.011)
        counted += sum(r["ch"]["solar"]["p"] for r in readings) / 3600
        before = readings[-1]
    assert before is not None
    assert before["ch"]["solar"]["wh_in"] == pytest.approx(counted, abs=0.1)


def test_reboot_into_the_past_is_refused() -> None:
    meter = stream()
    list(meter.take(10))
    with pytest.raises(ValueError, match="before the last window's end"):
        meter.reboot(8, NOON + 5000)


def test_clock_unset_then_set_with_an_offset() -> None:
    meter = stream(StreamOptions(clock_set_after_ms=None))
    early = list(meter.take(3))
    assert all(r["t"] is None and r["flags"] == ["nosync"] for r in early)
    meter.set_clock(-4000)
    late = next(meter.take(1))
    assert late["t"] == NOON + 4000 - 4000
    assert "flags" not in late


def test_clock_sets_itself_after_a_while() -> None:
    readings = list(stream(StreamOptions(clock_set_after_ms=5000, clock_offset_ms=250)).take(8))
    assert [r["t"] is None for r in readings] == [True] * 5 + [False] * 3
    assert readings[5]["t"] == NOON + 6000 + 250


def test_spool_records_cover_their_windows() -> None:
    single = list(stream().take(25))
    spooled = list(stream(StreamOptions(windows_per_record=10)).take(25))
    assert [(r["seq"], r["n"], r["dt"]) for r in spooled] == [
        (9, 10, 10_000),
        (19, 10, 10_000),
        (24, 5, 5000),
    ]
    assert all(r["flags"] == ["spool"] for r in spooled)
    mean = sum(r["ch"]["grid"]["p"] for r in single[:10]) / 10
    assert spooled[0]["ch"]["grid"]["p"] == pytest.approx(mean, abs=0.11)
    assert spooled[1]["ch"]["solar"]["wh_in"] == single[19]["ch"]["solar"]["wh_in"]
    assert spooled[1]["t"] == single[19]["t"]


def test_lost_and_silent_windows_leave_holes_that_registers_span() -> None:
    silent = Fault(FaultKind.METER_SILENT, NOON + 10_000, 5000)
    meter = stream(StreamOptions(lost=[Span(2, 3)]), silent)
    readings = list(meter.take(20))
    assert [r["seq"] for r in readings] == [0, 1, *range(4, 10), *range(15, 20)]
    full = list(stream().take(20))
    assert readings[-1]["ch"] == full[-1]["ch"]


def test_spool_records_stop_at_a_hole() -> None:
    meter = stream(StreamOptions(windows_per_record=4, lost=[Span(5, 6)]))
    spans = [(r["seq"] - r.get("n", 1) + 1, r["seq"]) for r in meter.take(12)]
    assert spans == [(0, 3), (4, 4), (7, 10), (11, 11)]


def test_clipping_is_flagged() -> None:
    fault = Fault(FaultKind.CLIPPED_SENSOR, NOON, 5000, 1.0)
    flags = [r.get("flags") for r in stream(None, fault).take(6)]
    assert flags == [["clip"]] * 5 + [None]


def test_demo_homes_have_meter_ids_and_different_clamps() -> None:
    homes = demo_homes(4)
    names = [spec.name for _, spec in homes]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{1,31}", name) for name in names)
    assert len({seed for seed, _ in homes}) == 3
    assert [spec.channels for _, spec in homes] == [
        ("grid",),
        ("grid", "solar"),
        ("grid", "load1", "load2"),
    ]
    assert flat().name == "flat"

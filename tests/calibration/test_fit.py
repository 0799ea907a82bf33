"""The fit gives back the sensors it was shown, and says what was wrong with a measurement."""

import json
import math
from dataclasses import replace

import pytest
import tables
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.fit import LOWEST_A, LoadPoint, Reference, fit
from calibration.sums import ChannelSums, RawSums
from gateway.domain.errors import BadInputError

V_GAIN = 0.233
NOISE = 3.2
AMPERES = (0.1, 0.3, 1.0, 5.0, 20.0)


def sums(amps: float, gain: float = 0.0227, phase: float = 0.0, volts: float = 230.0) -> RawSums:
    """Return what a meter with these sensors sums for a resistive load; phase = clamp's lead."""
    v, i = volts / V_GAIN, amps / gain
    row = ChannelSums(
        rms=math.hypot(i, NOISE),
        mean=2048.0,
        p=v * i * math.cos(phase),
        q=-v * i * math.sin(phase),
        clipped=0,
    )
    return RawSums(30, 50.0, v, 2048.0, {"grid": row})


def point(amps: float, gain: float = 0.0227, phase: float = 0.0) -> LoadPoint:
    return LoadPoint("grid", sums(amps, gain, phase), Reference(230.0, amps, 230.0 * amps))


NO_LOAD = sums(0.0)


@settings(deadline=None)
@given(
    base=st.floats(0.018, 0.028),
    slope=st.floats(-2e-4, 2e-4),
    phase=st.floats(-0.1, 0.1),
    turn=st.floats(-0.01, 0.01),
    sign=st.sampled_from([1, -1]),
)
def test_round_trip(base: float, slope: float, phase: float, turn: float, sign: int) -> None:
    def gain(amps: float) -> float:
        return base + slope * math.log(amps)

    def lead(amps: float) -> float:
        return phase + turn * math.log(amps)

    angle = 0.0 if sign > 0 else math.pi
    points = [point(amps, gain(amps), lead(amps) + angle) for amps in AMPERES]
    text = fit(NO_LOAD, points, version=7, made="2026-11-22").as_json()
    # The firmware's own reader is what the record is for.
    calibration = tables.loads(text, ["grid"])
    row = calibration.channels[0]
    assert calibration.v_gain == pytest.approx(V_GAIN, rel=1e-6)
    assert row.sign == sign
    assert row.noise == pytest.approx(NOISE**2, rel=1e-6)
    for amps in (*AMPERES, LOWEST_A):  # the trend goes on below the lowest load
        own_gain, own_phase = row.at(amps / gain(amps))
        assert own_gain == pytest.approx(gain(amps), rel=1e-5)
        assert own_phase == pytest.approx(lead(amps), abs=1e-6)


def test_the_record_is_canonical_and_carries_its_version() -> None:
    text = fit(NO_LOAD, [point(1.0)], version=7, made="2026-11-22").as_json()
    record = json.loads(text)
    assert (record["format"], record["version"], record["made"]) == (1, 7, "2026-11-22")
    assert text == json.dumps(record, sort_keys=True, separators=(",", ":"))


def test_a_leak_is_taken_off_only_when_it_is_no_chance() -> None:
    small, big = NO_LOAD.v_rms**2 * 1e-6, NO_LOAD.v_rms**2 * 1e-3

    def leak(amount: float) -> float:
        row = replace(NO_LOAD.channels["grid"], p=amount)
        points = [
            LoadPoint(
                "grid",
                replace(
                    sums(a),
                    channels={
                        "grid": replace(
                            sums(a).channels["grid"], p=sums(a).channels["grid"].p + amount
                        )
                    },
                ),
                Reference(230.0, a, 230 * a),
            )
            for a in AMPERES
        ]
        made = fit(replace(NO_LOAD, channels={"grid": row}), points, version=1)
        assert made.channels[0].points[-1].gain == pytest.approx(0.0227, rel=1e-4)
        return made.channels[0].leak_p

    assert leak(small) == 0.0
    assert leak(big) == pytest.approx(1e-3)


def test_loads_that_hardly_differ_are_one_point() -> None:
    made = fit(NO_LOAD, [point(1.0, 0.0226), point(1.05, 0.0228)], version=1)
    assert len(made.channels[0].points) == 1
    assert made.channels[0].points[0].gain == pytest.approx(0.0227)


def test_the_voltage_gain_follows_the_level_and_the_meter_reads_it_so() -> None:
    def bent(volts: float) -> float:
        """Return codes of a converter that loses 1 % of gain per 100 % of level."""
        return volts / V_GAIN * (1 + 0.01 * (volts / 230 - 1))

    points = []
    for volts, amps in ((234.0, 0.1), (232.0, 1.0), (230.0, 5.0), (226.0, 20.0)):
        true = sums(amps, volts=volts)
        row = true.channels["grid"]
        row = replace(row, p=row.p * bent(volts) * V_GAIN / volts)
        moved = replace(true, v_rms=bent(volts), channels={"grid": row})
        points.append(LoadPoint("grid", moved, Reference(volts, amps, volts * amps)))
    made = fit(NO_LOAD, points, version=1)
    assert made.v_slope == pytest.approx(-0.01, rel=0.4)  # held back on purpose
    calibration = tables.loads(made.as_json(), ["grid"])
    for volts in (207.0, 253.0):
        read = calibration.volts_per_code(bent(volts)) * bent(volts)
        assert read == pytest.approx(volts, rel=4e-4)
    assert made.channels[0].points[-1].gain == pytest.approx(0.0227, rel=1e-4)


def test_an_instruments_digits_do_not_make_a_slope() -> None:
    points = [
        LoadPoint("grid", sums(a, volts=230 + n / 10), Reference(230.0, a, 230 * a))
        for n, a in enumerate(AMPERES)
    ]
    assert abs(fit(NO_LOAD, points, version=1).v_slope) < 0.015


def _with(change: dict[str, float | int]) -> LoadPoint:
    good = point(5.0)
    row = replace(good.sums.channels["grid"], **change)  # type: ignore[arg-type]
    return replace(good, sums=replace(good.sums, channels={"grid": row}))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "no load was measured"),
        ([replace(point(5.0), channel="solar")], "channel grid: no load"),
        ([_with({"p": 1.0, "q": 0.0})], "shows nothing"),
        ([_with({"clipped": 500})], "clipped"),
        ([_with({"q": 2e5})], "degrees off"),
        ([replace(point(5.0), reference=Reference(230.0, 5.0, 900.0))], "power factor"),
        ([replace(point(5.0), reference=Reference(230.0, 0.0, 0.0))], "above zero"),
        ([replace(point(5.0), reference=Reference(0.0, 5.0, 1150.0))], "without voltage"),
        ([point(1.0), point(5.0, phase=math.pi)], "both directions"),
        ([point(1.3**n) for n in range(9)], "at most 7"),
        ([replace(point(5.0), sums=replace(sums(5.0), channels={}))], "do not have"),
    ],
)
def test_bad_measurements_are_named(points: list[LoadPoint], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        fit(NO_LOAD, points, version=1)


def test_no_load_needs_a_voltage() -> None:
    with pytest.raises(BadInputError, match="no-load measurement has no voltage"):
        fit(replace(NO_LOAD, v_rms=0.0), [point(5.0)], version=1)

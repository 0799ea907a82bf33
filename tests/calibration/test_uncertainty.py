"""The budget: what each component does, and that it covers what it says it covers."""

import math
from itertools import pairwise

import numpy as np
import pytest
import tables
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.apply import applied
from calibration.fit import Reference, fit
from calibration.nominal import A_PER_CODE, V_PER_CODE
from calibration.points import ENOUGH, Pair, merged, settled, spread, steadiness
from calibration.record import parse as parse_record
from calibration.sums import ChannelSums, RawSums, as_data, combined, parse
from calibration.uncertainty import Instrument, budget, repeatability

NOISE = 3.2
AMPERES = (0.1, 0.3, 1.0, 5.0, 20.0)
IDLE = RawSums(60, 50.0, 990.0, 2048.0, {"grid": ChannelSums(NOISE, 2048.0, 0.0, 0.0, 0)})


def stretch(random: np.random.Generator, amps: float, windows: int = 5) -> RawSums:
    """Return what nominal parts sum up, with the noise that such a clamp has."""
    v, i = 230.0 / V_PER_CODE, amps / A_PER_CODE
    chance = NOISE * v / math.sqrt(windows * 3000)
    p, q = v * i + random.normal(0, chance), random.normal(0, chance)
    row = ChannelSums(math.hypot(i, NOISE), 2048.0, p, q, 0)
    return RawSums(windows, 50.0, v, 2048.0, {"grid": row})


def pairs(random: np.random.Generator, amps: float, noise: float, off: float) -> list[Pair]:
    def read() -> Reference:
        a, b, c = 1 + random.normal(0, noise, 3)
        return Reference(230 * a * (1 + off), amps * b, 230 * amps * c * (1 + off))

    return [Pair(stretch(random, amps), read()) for _ in range(12 if amps < 1 else 6)]


def test_it_covers_the_error_in_about_95_of_100() -> None:
    random = np.random.default_rng(11)
    covered, wide = [], []
    for _ in range(60):
        off = random.uniform(-0.001, 0.001)  # an instrument of class 0.1
        loads = [("grid", pairs(random, amps, 0.002, off)) for amps in AMPERES]
        repeats = repeatability([spread(name, some).volts for name, some in loads])
        record = fit(IDLE, [merged(*load) for load in loads], version=1, repeats=repeats)
        left = budget(IDLE, loads, record, Instrument("", 0.1))
        for amps in (0.2, 0.6, 2.0, 9.0):
            seen = applied(record, "grid", stretch(random, amps, windows=10))
            allowed = left.of_load("grid", v=230.0, i=amps)
            covered.append(abs(seen.p / (230 * amps) - 1) <= allowed.p)
            wide.append(allowed.p)
    assert 0.90 <= np.mean(covered) <= 0.995
    assert np.median(wide) < 0.005


def made(class_pct: float, noise: float = 0.0) -> object:
    random = np.random.default_rng(3)
    loads = [("grid", pairs(random, amps, noise, 0.0)) for amps in AMPERES]
    record = fit(IDLE, [merged(*load) for load in loads], version=1)
    return budget(IDLE, loads, record, Instrument("", class_pct)).of_load("grid", v=230.0, i=1.0)


def test_a_better_reference_leaves_less_open_until_the_rest_counts() -> None:
    widths = [made(class_pct).p for class_pct in (2.0, 1.0, 0.5, 0.1)]  # type: ignore[attr-defined]
    assert all(a > b for a, b in pairwise(widths))
    assert widths[0] == pytest.approx(2 * 0.02 / math.sqrt(3), rel=0.05)
    assert made(0.5, 0.01).p > made(0.5).p  # type: ignore[attr-defined]


def test_it_grows_where_less_is_known() -> None:
    random = np.random.default_rng(4)
    loads = [("grid", pairs(random, amps, 0.001, 0.0)) for amps in AMPERES]
    record = fit(IDLE, [merged(*load) for load in loads], version=1)
    left = budget(IDLE, loads, record, Instrument("", 0.1))
    at = left.of_load("grid", v=230.0, i=1.0)
    assert left.of_load("grid", v=230.0, i=0.02).p > 5 * at.p  # below the lowest load
    assert left.of_load("grid", v=230.0, i=1.0, factor=0.5).p > at.p  # its angle counts
    assert left.of_load("grid", v=265.0, i=1.0).v > at.v  # another level
    assert (
        left.of_load("grid", v=230.0, i=0.3, seconds=1).p
        > left.of_load("grid", v=230.0, i=0.3, seconds=100).p
    )


@settings(deadline=None)
@given(
    amps=st.floats(0.03, 25.0), turn=st.floats(-0.1, 0.1), sign=st.sampled_from([1, -1]),
    volts=st.floats(700, 1200),
)  # fmt: skip
def test_a_record_means_the_same_here_and_on_the_meter(
    amps: float, turn: float, sign: int, volts: float
) -> None:
    random = np.random.default_rng(5)
    record = fit(
        IDLE, [merged("grid", pairs(random, one, 0.001, 0.0)) for one in AMPERES], version=4
    )
    i = amps / A_PER_CODE
    power = sign * volts * i
    row = ChannelSums(
        math.hypot(i, NOISE), 2048.0, power * math.cos(turn), power * math.sin(turn), 0
    )
    seen = applied(record, "grid", RawSums(1, 50.0, volts, 2048.0, {"grid": row}))
    meter = tables.loads(record.as_json(), ["grid"])
    gain, phase = meter.channels[0].at(i)
    v_gain = meter.volts_per_code(volts)
    assert seen.v == pytest.approx(volts * v_gain, rel=1e-6)
    true = power * gain * v_gain * math.cos(turn + phase) * meter.channels[0].sign
    assert seen.p == pytest.approx(true, rel=1e-6)
    assert parse_record(record.as_json()).as_json() == record.as_json()


def test_sums_combine_and_are_read_back() -> None:
    random = np.random.default_rng(6)
    parts = [stretch(random, 1.0, windows=5), stretch(random, 3.0, windows=15)]
    whole = combined(parts)
    assert whole.windows == 20
    mean = (parts[0].channels["grid"].p + 3 * parts[1].channels["grid"].p) / 4
    assert whole.channels["grid"].p == pytest.approx(mean)
    assert parse(as_data(whole)) == whole
    with pytest.raises(ValueError, match="no sums"):
        combined([])


def test_steady_restless_and_too_short() -> None:
    random = np.random.default_rng(7)
    calm = [stretch(random, 5.0) for _ in range(6)]
    assert not steadiness("grid", calm[:2], NOISE).enough
    assert steadiness("grid", calm, NOISE).enough
    wild = [stretch(random, amps) for amps in (5.0, 5.3, 4.8, 5.2, 4.7, 5.1)]
    state = steadiness("grid", wild, NOISE)
    assert state.restless
    assert not state.enough
    small = [stretch(random, 0.1) for _ in range(4)]
    assert not steadiness("grid", small, NOISE).enough  # noise alone, so longer helps
    assert not steadiness("grid", small, NOISE).restless
    assert steadiness("grid", [stretch(random, 0.1) for _ in range(12)], NOISE).enough


def test_a_reference_that_scatters_takes_longer() -> None:
    random = np.random.default_rng(8)
    parts = [stretch(random, 5.0) for _ in range(12)]
    firm = [Pair(part, Reference(230.0, 5.0, 1150.0)) for part in parts]
    assert settled("grid", firm[:4], NOISE).enough

    def read() -> Reference:
        v, p = 1 + random.normal(0.0, 2e-3, 2)
        return Reference(230.0 * v, 5.0, 1150.0 * p)

    loose = [Pair(part, read()) for part in parts]
    state = settled("grid", loose[:4], NOISE)
    assert not state.enough
    assert state.error > ENOUGH
    assert not state.restless  # it is the reference, not the load
    assert settled("grid", loose, NOISE).enough  # a minute is all that is asked of a person

"""A home's wires, sampled densely, give the home's own windows."""

import numpy as np
import pytest

from simulation import houses
from simulation.chain import Chain
from simulation.faults import Fault, FaultKind
from simulation.home import Home
from simulation.home_source import HomeSource
from simulation.noise import Floats
from simulation.spec import HomeSpec

NOON = 1_750_000_000_000 - 1_750_000_000_000 % 86_400_000 + 12 * 3_600_000
RATE = 20_000


def second(source: HomeSource, number: int) -> Floats:
    """Return the instants of one window; a margin shows that edges may be crossed."""
    return number + np.arange(RATE) / RATE


@pytest.mark.parametrize("spec", [houses.flat(), houses.family_house(), houses.workshop()])
def test_voltage_current_and_power_agree_with_the_windows(spec: HomeSpec) -> None:
    home = Home(7, spec, since_ms=NOON)
    source = HomeSource(home, NOON + 500)
    assert source.start_ms == NOON
    count = 20
    windows = home.windows(NOON, count)
    for number in range(count):
        t_s = second(source, number)
        v = source.volts(t_s)
        assert np.sqrt(np.mean(v * v)) == pytest.approx(windows.v[number], rel=2e-3)
        for clamp, name in enumerate(home.spec.channels):
            i = source.amps(clamp, t_s)
            channel = windows.channels[name]
            # A window holds no whole number of cycles, so its ends show a little.
            assert np.sqrt(np.mean(i * i)) == pytest.approx(channel.i[number], rel=5e-3, abs=0.01)
            apparent = windows.v[number] * channel.i[number]
            assert np.mean(v * i) == pytest.approx(channel.p[number], abs=1 + 5e-3 * apparent)


def test_angle_goes_on_from_window_to_window_and_from_call_to_call() -> None:
    source = HomeSource(Home(1, houses.flat(), since_ms=NOON), NOON)
    t_s = np.arange(3 * RATE) / RATE
    whole = source.volts(t_s)
    assert np.abs(np.diff(whole)).max() < 1.3 * 2 * np.pi * 50 / RATE * 330
    pieces = np.concatenate([source.volts(t_s[low : low + 500]) for low in range(0, len(t_s), 500)])
    assert np.array_equal(pieces, whole)


def test_bursts_start_and_end_within_a_window() -> None:
    home = Home(7, houses.flat(), since_ms=NOON)
    power = home.windows(NOON, 6 * 3600).channels["grid"].p
    steps = NOON + 1000 * np.flatnonzero(np.abs(np.diff(power)) > 300)
    start_ms, flows = next(
        (int(at_ms), flows)
        for step in steps
        for at_ms in (step, step + 1000)
        if len((flows := home.flows(int(at_ms))).until_ms) > 1
    )
    assert flows.until_ms[-1] == 1000
    assert (np.diff(flows.until_ms) > 0).all()
    source = HomeSource(home, start_ms)
    t_s = second(source, 0)
    channel = home.windows(start_ms, 1).channels["grid"]
    p = np.mean(source.volts(t_s) * source.amps(0, t_s))
    assert p == pytest.approx(channel.p[0], rel=0.03, abs=5)


def test_faults_show_from_the_next_window_on() -> None:
    home = Home(3, houses.flat(), since_ms=NOON)
    source = HomeSource(home, NOON)
    before = source.volts(second(source, 0)) @ source.amps(0, second(source, 0))
    home.inject(
        Fault(FaultKind.REVERSED_CLAMP, NOON + 1000, 60_000),
        Fault(FaultKind.OUTAGE, NOON + 3000, 2000),
    )
    after = source.volts(second(source, 1)) @ source.amps(0, second(source, 1))
    assert before > 0 > after
    assert not source.volts(second(source, 3)).any()
    assert not source.amps(0, second(source, 4)).any()
    assert source.volts(second(source, 5)).any()


def test_a_chain_hangs_in_a_home() -> None:
    source = HomeSource(Home(2, houses.family_house(), since_ms=NOON), NOON)
    chain = Chain(1, 2)
    ticks, codes = chain.codes(source, 0.0, 500)
    later, _ = chain.codes(source, 100.0, 500)
    assert codes.shape == (500, 3)
    assert int(later[0]) - int(ticks[0]) == 100_000_000
    assert not source.amps(2, np.zeros(3)).any()
    with pytest.raises(ValueError, match="no start of a window"):
        source.home.flows(NOON + 1)

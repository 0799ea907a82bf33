"""Waveforms agree with the windows of the same time."""

import numpy as np
import pytest

from simulation import appliances
from simulation.faults import Fault, FaultKind
from simulation.habits import Always
from simulation.home import Home
from simulation.houses import demo_homes
from simulation.noise import Floats
from simulation.spec import Fitting, HomeSpec

NOON = 20_200 * 86_400_000 + 12 * 3_600_000
RATE_HZ = 8000.0


def check(home: Home, at_ms: int, *, cycles: int = 10, rel: float = 0.005) -> None:
    """Compare RMS, P, Q and PF of a waveform with the window that holds it."""
    window = next(home.iterate(home.align(at_ms), 1))
    wave = home.waveform(at_ms, cycles, RATE_HZ)
    volts = rms(wave.v)
    assert volts == pytest.approx(window.v, rel=rel)
    for name, channel in window.channels.items():
        current = wave.i[name]
        scale = max(channel.i * window.v, 1.0)
        assert rms(current) == pytest.approx(channel.i, rel=rel, abs=1e-6)
        active = float((wave.v * current).mean())
        assert active == pytest.approx(channel.p, abs=rel * scale)
        assert reactive(wave.v, current, cycles) == pytest.approx(channel.q, abs=rel * scale)
        if scale > 10:
            factor = abs(channel.p) / scale
            assert abs(active) / (volts * rms(current)) == pytest.approx(factor, abs=rel)


def rms(values: Floats) -> float:
    return float(np.sqrt((values**2).mean()))


def reactive(volts: Floats, current: Floats, cycles: int) -> float:
    """Return the fundamental's reactive power by correlation with its harmonic."""
    turning = np.exp(-2j * np.pi * cycles * np.arange(len(volts)) / len(volts))
    v, i = (2 * (values * turning).mean() / np.sqrt(2) for values in (volts, current))
    return float((v * np.conj(i)).imag)


def steady(home: Home, start_ms: int, count: int) -> list[int]:
    """Return starts of windows in which nothing switches: power stays within its noise."""
    powers = home.windows(start_ms, count).channels["grid"].p
    calm = np.abs(np.diff(powers)) < 0.02 * np.abs(powers[1:]) + 5
    inside = np.flatnonzero(calm[:-1] & calm[1:]) + 1
    return [start_ms + int(index) * 1000 for index in inside]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_homes_agree_through_the_day(number: int) -> None:
    """Steady windows at night, morning, noon and evening."""
    seed, spec = demo_homes(3)[number]
    home = Home(seed, spec, since_ms=NOON - 12 * 3_600_000)
    for hour in (2, 8, 12, 19, 21):
        calm = steady(home, home.since_ms + hour * 3_600_000, 1200)
        assert len(calm) > 100
        for at_ms in calm[:: len(calm) // 4]:
            check(home, at_ms + 300)


@pytest.mark.parametrize(
    "part",
    [
        *appliances.induction_hob().parts,
        *appliances.hair_dryer().parts,
        *appliances.dimmed_lamp().parts,
        *appliances.fridge().parts,
        *appliances.led_lights().parts,
        *appliances.microwave().parts,
        *appliances.power_tools().parts,
        *appliances.filters().parts,
    ],
)
def test_each_shape_agrees(part: appliances.Part) -> None:
    """A whole second of every kind of load, burst-fired ones included."""
    always = Always()
    spec = HomeSpec("one", (Fitting(appliances.Appliance("it", (part,), always)),))
    check(Home(1, spec, since_ms=NOON), NOON, cycles=50, rel=0.006)


def test_a_burst_fired_hob_has_the_published_power_factor() -> None:
    """PF 0.71 over a second, though its current is nearly a sine."""
    part = appliances.induction_hob().parts[1]
    spec = HomeSpec("hob", (Fitting(appliances.Appliance("hob", (part,), Always())),))
    window = next(Home(1, spec, since_ms=NOON).iterate(NOON, 1))
    grid = window.channels["grid"]
    assert grid.p / (window.v * grid.i) == pytest.approx(0.71, abs=0.01)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.REVERSED_CLAMP, NOON, 60_000),
        Fault(FaultKind.BYPASS, NOON, 60_000, 0.4),
        Fault(FaultKind.VOLTAGE_SENSOR_OFF, NOON, 60_000, 1.04),
        Fault(FaultKind.VOLTAGE_SWELL, NOON, 60_000),
        Fault(FaultKind.POOR_POWER_FACTOR, NOON, 60_000, 400.0),
        Fault(FaultKind.OUTAGE, NOON, 60_000),
    ],
)
def test_faults_are_in_the_waveform_too(fault: Fault) -> None:
    fittings = (Fitting(appliances.standby(500.0)), Fitting(appliances.filters()))
    home = Home(1, HomeSpec("it", fittings), since_ms=NOON, faults=[fault])
    check(home, NOON + 5000)


def test_a_clipped_sensor_cuts_the_peaks_and_agrees_for_a_sine() -> None:
    kettle = appliances.Appliance("k", (appliances.heater(3000.0),), Always())
    fault = Fault(FaultKind.CLIPPED_SENSOR, NOON, 60_000, 10.0)
    home = Home(1, HomeSpec("it", (Fitting(kettle),)), since_ms=NOON, faults=[fault])
    assert np.abs(home.waveform(NOON, 5, RATE_HZ).i["grid"]).max() == 10.0
    check(home, NOON, rel=0.01)


def test_sampling_spans_windows_and_whole_cycles() -> None:
    """Three seconds come out in one piece, beginning with a rising zero."""
    home = Home(1, demo_homes()[1][1], since_ms=NOON)
    wave = home.waveform(NOON + 500, 150, 4000.0)
    assert len(wave.t_s) == pytest.approx(12_000, abs=30)
    assert abs(wave.v[0]) < 25  # only the harmonics' angles keep it from 0
    assert wave.v[1] > wave.v[0]
    jumps = np.abs(np.diff(wave.v)).max()
    assert jumps < 2 * np.pi * 50 / 4000 * 1.2 * 235 * np.sqrt(2)


def test_what_cannot_be_sampled() -> None:
    home = Home(1, demo_homes()[0][1], since_ms=NOON)
    for at_ms, cycles, rate_hz in ((NOON - 1, 1, 4000), (NOON, 0, 4000), (NOON, 1, 10)):
        with pytest.raises(ValueError, match="cannot be sampled"):
            home.waveform(at_ms, cycles, rate_hz)

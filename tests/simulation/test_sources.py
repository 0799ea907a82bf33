"""What is on the wires agrees with what an ideal meter is said to read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation import shapes
from simulation.shapes import Shape
from simulation.sources import (
    Faults,
    FaultySource,
    Load,
    RecordingSource,
    Source,
    SteadySource,
    Truth,
    Wire,
)

LOADS = st.builds(
    Load,
    watts=st.floats(-5000, 5000).filter(lambda w: abs(w) > 1),
    shape=st.sampled_from(
        [
            shapes.RESISTIVE,
            shapes.DIMMED,
            shapes.HALF_WAVE,
            shapes.LED_LAMP,
            Shape(60.0),
            Shape(-45.0),
        ]
    ),
    burst=st.sampled_from([None, None, (1, 2), (3, 10)]),
)


def measured(source: Source, seconds: float, clamp: int = 0) -> Truth:
    """Return V, I, P of dense samples, as an ideal meter would compute them."""
    t_s = np.arange(int(seconds * 50_000)) / 50_000
    v, i = source.volts(t_s), source.amps(clamp, t_s)
    rms_v, rms_i = (float(np.sqrt(np.mean(x * x))) for x in (v, i))
    return Truth(rms_v, source.nominal_hz, rms_i, float(np.mean(v * i)), 0.0)


@settings(max_examples=40, deadline=None)
@given(LOADS, st.floats(195, 265), st.sampled_from([50.0, 60.0]))
def test_samples_agree_with_the_truth(load: Load, volts: float, hz: float) -> None:
    source = SteadySource(Wire(volts, hz), [load])
    truth, seen = source.truth(0), measured(source, 1.0)
    assert seen.v == pytest.approx(volts, rel=1e-4)
    assert truth.p == pytest.approx(load.watts * load.duty, rel=1e-9)
    assert seen.p == pytest.approx(truth.p, rel=1e-3, abs=0.01)
    assert seen.i == pytest.approx(truth.i, rel=1e-3)
    assert seen.pf == pytest.approx(truth.pf, abs=1e-3)


def test_lag_is_positive_reactive_power_and_the_current_is_late() -> None:
    source = SteadySource(Wire(), [Load(1000.0, Shape(60.0))])
    truth = source.truth(0)
    assert truth.q == pytest.approx(1000.0 * np.tan(np.deg2rad(60)), rel=1e-6)
    assert truth.pf == pytest.approx(0.5, rel=1e-3)
    t_s = np.arange(20_000) / 1e6
    crossing = [
        np.flatnonzero((x[:-1] < 0) & (x[1:] >= 0))[0]
        for x in (source.volts(t_s + 0.0185), source.amps(0, t_s + 0.0185))
    ]
    assert crossing[1] - crossing[0] == pytest.approx(20_000 / 6, abs=60)


def test_loads_add_up_and_a_clamp_without_loads_is_still() -> None:
    both = SteadySource(Wire(), [Load(500.0), Load(300.0, shapes.LED_LAMP, (1, 4))])
    seen, truth = measured(both, 2.0), both.truth(0)
    assert seen.p == pytest.approx(575.0, rel=1e-3)
    assert seen.i == pytest.approx(truth.i, rel=1e-3)
    assert measured(both, 0.1, clamp=3).i == 0.0
    assert both.truth(3).i == 0.0


def test_frequency_drifts_without_a_jump() -> None:
    wire = Wire(frequency_hz=50.0, drift_hz=0.5)
    t_s = np.arange(0.0, 61.0, 1e-4)
    rate = np.diff(wire.turns(t_s)) / 1e-4
    assert rate.min() == pytest.approx(49.5, abs=1e-3)
    assert rate.max() == pytest.approx(50.5, abs=1e-3)
    assert np.abs(np.diff(rate)).max() < 1e-4


def test_any_instants_give_the_same_as_one_long_call() -> None:
    source = SteadySource(Wire(drift_hz=0.1, sway=0.02), [Load(800.0, shapes.DIMMED, (2, 5))])
    t_s = np.linspace(3.0, 4.0, 999)
    whole = source.amps(0, t_s)
    assert np.array_equal(whole[500:], source.amps(0, t_s[500:]))


def test_a_recording_is_played_over_and_over() -> None:
    rate = 25_000.0
    angle = 2 * np.pi * 50 * np.arange(2500) / rate
    source = RecordingSource(
        325 * np.sin(angle), [3 * np.sin(angle - 1)], rate_hz=rate, nominal_hz=50.0
    )
    t_s = np.arange(0.0, 1.0, 0.00025)
    assert source.volts(t_s) == pytest.approx(325 * np.sin(2 * np.pi * 50 * t_s), abs=0.05)
    assert measured(source, 1.0).pf == pytest.approx(np.cos(1), abs=1e-4)
    assert not source.amps(1, t_s).any()
    with pytest.raises(ValueError, match="as many amperes"):
        RecordingSource(np.ones(3), [np.ones(2)], rate_hz=1.0, nominal_hz=50.0)


def test_faults_on_the_wires_can_come_and_go() -> None:
    source = FaultySource(SteadySource(Wire(), [Load(1000.0)], [Load(500.0)]))
    assert measured(source, 0.2).p == pytest.approx(1000, rel=1e-3)
    source.faults = Faults().on(1, -1.0)
    assert measured(source, 0.2, 1).p == pytest.approx(-500, rel=1e-3)
    assert measured(source, 0.2).p == pytest.approx(1000, rel=1e-3)
    source.faults = Faults(outage=True)
    assert measured(source, 0.2).v == 0.0
    assert measured(source, 0.2).i == 0.0

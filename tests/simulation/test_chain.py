"""The simulated analog chain: what it may get wrong, and what it must get right."""

import time

import numpy as np
import pytest

from simulation.analog import ADAPTER_V_PER_V, CT_V_PER_A, SCALE_V, Converter, CurrentClamp
from simulation.chain import TICKS, Chain
from simulation.noise import Floats
from simulation.shapes import Shape
from simulation.sources import Load, SteadySource, Wire

SECOND = 4000  # frames


def volts_of(chain: Chain, codes: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> Floats:
    """Return what the board believes it read, V."""
    return np.asarray(chain.linear[codes >> 4] * (SCALE_V / 65536))


def phasor(chain: Chain, signal: Floats, place: int, hz: float = 50.0) -> complex:
    """Return the RMS phasor of the fundamental, the nominal delay of this input taken out."""
    t_s = np.arange(len(signal)) * chain.frame_us * 1e-6 + place * chain.read_us * 1e-6
    return complex(np.sqrt(2) * np.mean(signal * np.exp(-2j * np.pi * hz * t_s)))


@pytest.mark.parametrize("hz", [50.0, 60.0])
@pytest.mark.parametrize("seed", range(6))
def test_amplitudes_and_phases_are_those_of_the_parts(hz: float, seed: int) -> None:
    chain = Chain(seed, 2, quiet=True)
    warmer_k = chain.temperature_c - 25.0
    source = SteadySource(Wire(frequency_hz=hz), [Load(1500.0)], [Load(400.0, Shape(60.0))])
    seen = volts_of(chain, chain.codes(source, 0.0, SECOND)[1])
    v, *currents = (phasor(chain, seen[:, place], place, hz) for place in range(3))
    # Integral non-linearity of 8 mV stays within 1.2 % of what swings by a volt.
    assert abs(v) == pytest.approx(230.0 * chain.adapter.factor(warmer_k), rel=0.012)
    trimmed_v = 230.0 * ADAPTER_V_PER_V
    assert abs(v) == pytest.approx(trimmed_v, rel=0.05)
    for clamp, current in enumerate(currents):
        amperes = source.truth(clamp).i
        volts = amperes * chain.sensors[clamp].factor(amperes, warmer_k)
        assert abs(current) == pytest.approx(volts, rel=0.03)
        assert volts == pytest.approx(amperes * CT_V_PER_A, rel=0.025)
        lead = chain.sensors[clamp].lead(amperes, warmer_k) - chain.adapter.lead(warmer_k)
        slip_s = (clamp + 1) * (chain.between_us - chain.read_us) * 1e-6
        expected = np.rad2deg(lead + 2 * np.pi * hz * slip_s) - (60.0 if clamp else 0.0)
        assert np.rad2deg(np.angle(current / v)) == pytest.approx(expected, abs=0.05)


def test_boards_differ_and_the_same_seed_is_the_same_board() -> None:
    sensors = [CurrentClamp.draw(np.random.default_rng(seed)) for seed in range(30)]
    leads = np.rad2deg([sensor.lead(1.0, 0.0) for sensor in sensors])
    assert 2.2 * 0.7 <= leads.min() < 1.9
    assert 2.5 < leads.max() <= 2.2 * 1.3
    lows = np.rad2deg([sensor.lead(0.02, 0.0) for sensor in sensors])
    assert (lows > leads).all(), "the lead falls with the current"
    source = SteadySource(Wire(), [Load(100.0)])
    one, two, other = Chain(3), Chain(3), Chain(4)
    assert (one.codes(source, 0.0, 500)[1] == two.codes(source, 0.0, 500)[1]).all()
    assert (one.linear != other.linear).any()


def test_error_after_the_fuses_is_smooth_and_within_8_mv() -> None:
    worst = []
    for seed in range(20):
        converter = Converter(np.random.default_rng(seed))
        converter.noise_v = converter.spike_share = 0.0
        volts = np.linspace(0.2, 2.9, 5000)
        codes = converter.convert(volts, np.random.default_rng(0))
        error = converter.linear[codes >> 4] * (SCALE_V / 65536) - volts
        worst.append(np.abs(error).max())
        assert np.abs(np.diff(np.convolve(error, np.ones(50) / 50, "valid"))).max() < 1e-4
        assert (np.diff(converter.linear.astype(int)) >= 0).all(), "the table is monotone"
    assert 0.004 < min(worst) <= max(worst) < 0.0085


def test_dead_zones_end_at_the_last_codes() -> None:
    chain = Chain(5)
    _, codes = chain.codes(SteadySource(Wire(), [Load(12_000.0)]), 0.0, SECOND)
    clamp = codes[:, 1] >> 4
    assert clamp.min() == 0
    assert clamp.max() == 4095
    assert (clamp == 0).mean() > 0.1
    calm = codes[:, 0] >> 4
    assert 0 < calm.min() < calm.max() < 4095


def test_noise_and_spikes_have_the_measured_size() -> None:
    chain = Chain(7)
    _, codes = chain.codes(SteadySource(Wire(), []), 0.0, 10 * SECOND)
    idle = volts_of(chain, codes)[:, 1]
    rest = idle - np.convolve(idle, np.ones(401) / 401, "same")
    rest = rest[500:-500]
    assert np.median(np.abs(rest)) / 0.6745 == pytest.approx(0.0025, rel=0.15)
    assert 0.0001 < (np.abs(rest) > 0.0165).mean() < 0.0008


def test_ticks_start_when_due_never_come_early_and_wrap() -> None:
    chain = Chain(8, 3)
    source = SteadySource(Wire(), [Load(10.0)])
    start_s = (TICKS - 20_000) * 1e-6
    late = []
    for burst in range(40):
        first_us = round(start_s * 1e6) + burst * 500 * 250
        ticks, codes = chain.codes(source, first_us * 1e-6, 500)
        assert ticks.dtype == np.uint32
        assert codes.shape == (500, 4)
        due = (first_us + np.arange(500) * 250) % TICKS
        behind = (ticks.astype(np.int64) - due + TICKS // 2) % TICKS - TICKS // 2
        assert behind[0] == 0
        assert (behind >= 0).all()
        late.append(behind)
    behind = np.concatenate(late)
    assert np.median(behind) < 4
    assert 0 < (behind > 20).mean() < 0.005, "rarely something holds a frame up"


def test_a_frozen_converter_and_an_open_clamp() -> None:
    chain = Chain(9, 2)
    source = SteadySource(Wire(), [Load(2000.0)], [Load(2000.0)])
    chain.open_clamps.add(0)
    _, codes = chain.codes(source, 0.0, SECOND)
    seen = volts_of(chain, codes)
    assert seen[:, 1].std() < 0.006
    assert seen[:, 2].std() > 0.2
    chain.frozen = True
    _, stuck = chain.codes(source, 1.0, 500)
    assert (stuck == codes[-1]).all()
    chain.frozen = False
    assert volts_of(chain, chain.codes(source, 2.0, SECOND)[1])[:, 2].std() > 0.2


def test_bias_drifts_by_millivolts_and_temperature_moves_the_gain_a_little() -> None:
    chain = Chain(10)
    source = SteadySource(Wire(), [Load(2000.0)])
    means = [
        volts_of(chain, chain.codes(source, at_s, SECOND)[1])[:, 1].mean()
        for at_s in range(0, 3000, 300)
    ]
    assert 0.001 < np.ptp(means) <= 0.012
    assert np.mean(means) == pytest.approx(1.65, abs=0.03)
    spans = []
    for temperature_c in (0.0, 50.0):
        still = Chain(10, quiet=True)
        still.temperature_c = temperature_c
        spans.append(volts_of(still, still.codes(source, 0.0, SECOND)[1]).std(axis=0))
    change = np.abs(spans[1] / spans[0] - 1)
    assert (change > 1e-5).all()
    assert (change < 0.003).all()


def test_a_second_costs_milliseconds() -> None:
    chain = Chain(11, 3)
    source = SteadySource(Wire(), *[[Load(w)] for w in (20.0, 300.0, 2000.0)])
    spent = []
    for at_s in range(8):
        began = time.thread_time()
        chain.codes(source, float(at_s), SECOND)
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.015, f"{min(spent) * 1000:.1f} ms of CPU for one second of samples"

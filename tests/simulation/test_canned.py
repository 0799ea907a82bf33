"""Samples that repeat are still those of the board and its wires."""

import time

import numpy as np
import pytest

from simulation.analog import SCALE_V
from simulation.canned import CannedChain
from simulation.chain import Chain
from simulation.sources import Load, SteadySource, Wire


@pytest.mark.parametrize("hz", [50.0, 60.0])
def test_it_measures_like_the_chain_over_the_seam(hz: float) -> None:
    source = SteadySource(Wire(frequency_hz=hz), [Load(1000.0)])
    canned, plain = CannedChain(3), Chain(3)
    seen = []
    for chain in (canned, plain):
        codes = np.concatenate([chain.codes(source, 9.5 + k / 8, 500)[1] for k in range(8)])
        volts = chain.linear[codes >> 4] * (SCALE_V / 65536)
        seen.append((volts - volts.mean(axis=0)).T @ (volts - volts.mean(axis=0)) / len(volts))
    assert seen[0] == pytest.approx(seen[1], rel=0.003, abs=2e-5)
    ticks, _ = canned.codes(source, 1e6, 10)
    assert ticks.tolist() == ((10**12 + 250 * np.arange(10)) % (1 << 30)).tolist()


def test_another_source_is_recorded_anew_and_playing_is_cheap() -> None:
    canned = CannedChain(3, 3)
    loud, calm = (SteadySource(Wire(), [Load(w)]) for w in (2000.0, 1.0))
    assert canned.codes(loud, 0.0, 500)[1][:, 1].std() > 1000
    assert canned.codes(calm, 5.0, 500)[1][:, 1].std() < 300
    began = time.thread_time()
    for k in range(80):
        canned.codes(calm, k / 8, 500)
    assert time.thread_time() - began < 0.1, "ten seconds of samples"

"""The same boards and the same sums as a guided session, without broker, daemon and waiting.

The firmware gets its codes through a pipe, as fast as it takes them; what it sums is judged,
fitted and stated by the functions that the session calls. For whoever changes those.
"""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from bench.common import progress
from bench.metering_loads import CHANNEL, NO_LOAD_S, Case, Session
from bench.metering_rig import Rig
from calibration.fit import Reference, fit
from calibration.points import Pair, merged, settled, spread
from calibration.record import CalibrationRecord
from calibration.sums import RawSums, parse
from calibration.uncertainty import Budget, Expanded, Instrument, budget, repeatability
from gateway.cli.guided import LONGEST_S
from simulation.sources import Load, SteadySource, Truth
from tests.support.calibration_rig import LOADS_A

STRETCH_S = 5
READINGS_PER_S = 1.6  # of the log: what the session's reference writes at the bench's speed
AVERAGE_S = 10

Row = tuple[float, float, float, float, Truth, Expanded]


class Direct:
    """One board at its bench, with the reference beside it."""

    def __init__(self, seed: int, noise: float, class_pct: float) -> None:
        self.session = Session(seed, 50.0)
        self.random = np.random.default_rng([seed, 4711])
        self.noise, self.class_pct = noise, class_pct
        self.off_v, self.off_p = self.random.uniform(-class_pct, class_pct, 2) / 100

    def calibrate(self, rig: Rig) -> tuple[CalibrationRecord, Budget]:
        """Return the record and its budget, made as the guided session makes them."""
        session = self.session
        session.chain.temperature_c = float(self.random.uniform(18.0, 28.0))
        no_load = self._sums(rig, SteadySource(session.wire(230.0), []), NO_LOAD_S)
        idle = no_load.channels[CHANNEL].rms
        loads = []
        for amps in LOADS_A:
            volts = float(self.random.uniform(225.0, 235.0))
            source = SteadySource(session.wire(volts), [Load(volts * amps)])
            pairs: list[Pair] = []
            while not pairs or not self._done(pairs, idle):
                sums = self._sums(rig, source, STRETCH_S)
                pairs.append(Pair(sums, self._read(source.truth(0))))
            loads.append((CHANNEL, pairs))
        repeats = repeatability([spread(name, pairs).volts for name, pairs in loads])
        points = [merged(name, pairs) for name, pairs in loads]
        record = fit(no_load, points, version=1, repeats=repeats)
        return record, budget(no_load, loads, record, Instrument("simulated", self.class_pct))

    @staticmethod
    def _done(pairs: Sequence[Pair], idle: float) -> bool:
        state = settled(CHANNEL, pairs, idle)
        return state.enough or state.windows >= LONGEST_S

    def _sums(self, rig: Rig, source: SteadySource, seconds: int) -> RawSums:
        return parse(rig.measure(self.session.bursts(source, seconds), seconds)[1])

    def _read(self, true: Truth) -> Reference:
        scatter = self.noise / math.sqrt(STRETCH_S * READINGS_PER_S)
        a, b, c = 1 + self.random.normal(0.0, scatter, 3)
        return Reference(
            v=true.v * a * (1 + self.off_v),
            i=true.i * b * (1 + self.off_p) / (1 + self.off_v),
            p=true.p * c * (1 + self.off_p),
        )

    def row(self, rig: Rig, case: Case, left: Budget) -> Row:
        """Measure one load: errors of V, I, P in %, the power factor's, the truth, the stated."""
        error, _ = self.session.errors(rig, case)
        true = SteadySource(self.session.wire(case.v), [case.load]).truth(0)
        factor = min(true.pf + error.pf, 1.0)
        stated = left.of_load(CHANNEL, v=true.v, i=true.i, factor=factor, seconds=AVERAGE_S)
        return error.v, error.i, error.p, error.pf, true, stated


def board(task: tuple[int, float, float, Sequence[Case]]) -> list[Row]:
    """Calibrate one board and measure all loads at another temperature."""
    seed, noise, class_pct, cases = task
    direct = Direct(seed, noise, class_pct)
    session = direct.session
    with Rig(session.chain, [CHANNEL]) as rig:
        record, left = direct.calibrate(rig)
        session.chain.temperature_c = float(direct.random.uniform(0.0, 50.0))
        idle = SteadySource(session.wire(230.0), [])
        rig.measure(session.bursts(idle, 1), 1, json.loads(record.as_json()))
        return [direct.row(rig, case, left) for case in cases]


def run(
    numbers: Sequence[int], noise: float, class_pct: float, cases: Sequence[Case]
) -> list[list[Row]]:
    """Do the boards of these numbers, two at a time."""
    tasks = [(seed, noise, class_pct, cases) for seed in numbers]
    out = []
    with ProcessPoolExecutor(2) as pool:
        for task, rows in zip(tasks, pool.map(board, tasks), strict=True):
            progress(f"board {task[0]} done")
            out.append(rows)
    return out

"""What is measured: the loads of the error table, boards, and the calibration session."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.metering_rig import BURSTS, FRAMES, GAP_US, Burst, Measured, Rig
from calibration.fit import LoadPoint, Reference, fit
from calibration.sums import parse
from simulation import shapes
from simulation.chain import Chain
from simulation.shapes import Shape
from simulation.sources import Load, Source, SteadySource, Truth, Wire

CHANNEL = "grid"
CALIBRATION_A = (0.1, 0.3, 1.0, 5.0, 20.0)
CALIBRATION_S = {0.1: 60, 0.3: 60}  # the others:
_CALIBRATION_S = 30
NO_LOAD_S = 60
AVERAGE_S = 10
_BURST_S = (FRAMES * 250 + GAP_US) * 1e-6
_GAP_VARIES_S = 0.006  # a meter has more to do after some bursts than after others
_FINE_S = 1 / 20_000
_LATER_S = 3 * 3600.0  # between calibration and measurement: the bias has drifted


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table. `limits` in %: of P, of I, of V; None is reported only."""

    name: str
    load: Load
    v: float = 230.0
    p_limit: float | None = None
    i_limit: float | None = None
    v_limit: float | None = None
    pf_judged: bool = False
    emonlib: tuple[str, str, str] = ("", "", "")  # default I / P, phase tuned P, EmonLibCM I / P


LAG, LEAD = Shape(60.0), Shape(-60.0)
CASES = (
    Case("5 W", Load(5.0), p_limit=5.0, emonlib=("+306 / -1.2 (15)", "-1.2", "+312 / -1.8")),
    Case("20 W", Load(20.0), p_limit=2.0, emonlib=("+40 / -1.3", "-1.3", "+41 / -0.8")),
    Case("100 W", Load(100.0), p_limit=0.5, i_limit=0.5, pf_judged=True,
         emonlib=("+0.8 / -1.1", "-1.1", "+1.7 / -0.3")),
    Case("1 kW", Load(1000.0), p_limit=0.5, i_limit=0.5, pf_judged=True,
         emonlib=("cal point", "-0.1", "+0.9 / +0.8")),
    Case("5 kW", Load(5000.0), p_limit=0.5, i_limit=0.5, pf_judged=True,
         emonlib=("+2.9 / +2.9", "+2.9", "+3.9 / +3.8")),
    Case("500 W, PF 0.5", Load(500.0, LAG), p_limit=1.0, i_limit=1.0, pf_judged=True,
         emonlib=("0 / -2.2", "-0.8", "+0.9 / -0.8")),
    Case("2 kW, PF 0.5", Load(2000.0, LAG), p_limit=1.0, i_limit=1.0, pf_judged=True,
         emonlib=("+2.9 / -0.6", "+0.8", "+3.8 / +0.8")),
    Case("500 W, PF 0.5 lead", Load(500.0, LEAD), p_limit=1.0, i_limit=1.0, pf_judged=True),
    Case("export 2 kW", Load(-2000.0), p_limit=0.5, i_limit=0.5, pf_judged=True),
    Case("195 V", Load(700.0), v=195.0, v_limit=0.2, pf_judged=True),
    Case("207 V", Load(700.0), v=207.0, v_limit=0.2, pf_judged=True),
    Case("230 V", Load(700.0), v=230.0, v_limit=0.2, pf_judged=True),
    Case("253 V", Load(700.0), v=253.0, v_limit=0.2, pf_judged=True),
    Case("265 V", Load(700.0), v=265.0, v_limit=0.2, pf_judged=True),
    Case("burst-fired 2 kW, 15 of 50", Load(2000.0, burst=(15, 50))),
    Case("burst-fired 2 kW, 1 of 2", Load(2000.0, burst=(1, 2))),
    Case("dimmed 300 W", Load(300.0, shapes.DIMMED)),
    Case("dimmed 1 kW", Load(1000.0, shapes.DIMMED)),
    Case("half-wave 600 W", Load(600.0, shapes.HALF_WAVE)),
    Case("LED lamps 60 W", Load(60.0, shapes.LED_LAMP)),
    Case("switched supply 150 W", Load(150.0, shapes.SWITCHED)),
    Case("compressor 120 W", Load(120.0, shapes.COMPRESSOR)),
    Case("microwave 1.1 kW", Load(1100.0, shapes.MICROWAVE)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Error:
    """How far one 10 s average was off: % of V, I, P; absolute PF; mHz."""

    v: float
    i: float
    p: float
    pf: float
    f: float


@dataclass(frozen=True, slots=True)
class BoardResult:
    """All errors of one board at one frequency, by case; and what a window cost."""

    errors: dict[str, list[Error]]
    busy_ms: float
    heap_bytes: int
    flagged: int


class Session:
    """One board on the bench at 50 or 60 Hz: calibrated, then measured at other weather."""

    def __init__(self, seed: int, hz: float, windows_share: float = 1.0) -> None:
        self._random = np.random.default_rng([seed, int(hz), 77])
        self.chain = Chain(1000 + seed, 1)
        self._hz = hz + self._random.uniform(-0.15, 0.15)
        self._share = windows_share
        self._at_s = self._random.uniform(0.0, 600.0)

    def wire(self, volts: float) -> Wire:
        """Return the mains at a voltage: its frequency drifts."""
        return Wire(volts_v=volts, frequency_hz=self._hz, drift_hz=0.05)

    def bursts(self, source: Source, windows: int) -> Iterator[Burst]:
        """Yield the codes of some windows; the pauses between bursts are time too."""
        for _ in range(windows * BURSTS):
            yield self.chain.codes(source, self._at_s, FRAMES)
            self._at_s += _BURST_S + self._random.uniform(-_GAP_VARIES_S, _GAP_VARIES_S)

    def calibrate(self, rig: Rig) -> dict[str, Any]:
        """Return the record that our own fit makes from the meter's sums and a reference.

        The reference tells V, A and W of the load; of the board nothing is told.
        """
        self.chain.temperature_c = self._random.uniform(18.0, 28.0)
        no_load = self._sums(rig, SteadySource(self.wire(230.0), []), NO_LOAD_S)
        points = []
        for amperes in CALIBRATION_A:
            volts = self._random.uniform(225.0, 235.0)  # as the mains happens to be
            source = SteadySource(self.wire(volts), [Load(volts * amperes)])
            true = source.truth(0)
            sums = self._sums(rig, source, CALIBRATION_S.get(amperes, _CALIBRATION_S))
            points.append(LoadPoint(CHANNEL, parse(sums), Reference(true.v, true.i, true.p)))
        record = json.loads(fit(parse(no_load), points, version=1).as_json())
        self._at_s += _LATER_S
        self.chain.temperature_c = self._random.uniform(0.0, 50.0)
        return dict(record)

    def _sums(self, rig: Rig, source: Source, seconds: int) -> object:
        windows = max(round(seconds * self._share), 5)
        return rig.measure(self.bursts(source, windows), windows)[1]

    def errors(self, rig: Rig, case: Case) -> tuple[Error, list[Measured]]:
        """Measure one load for 10 s; return how far the averages were off."""
        wire = self.wire(case.v)
        source = SteadySource(wire, [case.load])
        began_s = self._at_s
        windows, _ = rig.measure(self.bursts(source, AVERAGE_S), AVERAGE_S)
        ends = wire.turns(np.array([began_s, self._at_s]))
        hz = float(ends[1] - ends[0]) / (self._at_s - began_s)
        true = source.truth(0)
        if case.load.burst:  # the time measured is no whole number of its periods
            true = integral(source, began_s, self._at_s)
        return compare(windows, true, hz), windows


def integral(source: SteadySource, began_s: float, ended_s: float) -> Truth:
    """Return what an ideal meter reads between two instants."""
    instants = np.arange(began_s, ended_s, _FINE_S)
    volts, amps = source.volts(instants), source.amps(0, instants)
    v_rms, i_rms = float(np.sqrt(np.mean(volts**2))), float(np.sqrt(np.mean(amps**2)))
    return Truth(v_rms, 0.0, i_rms, float(np.mean(volts * amps)), 0.0)


def compare(windows: list[Measured], true: Truth, hz: float) -> Error:
    """Return the errors of the windows' means."""
    volts = float(np.mean([w.v for w in windows]))
    # Currents that come and go: the mean of squares is what the truth is, too.
    amperes = float(np.sqrt(np.mean([w.i[0] ** 2 for w in windows])))
    watts = float(np.mean([w.p[0] for w in windows]))
    factor = abs(watts) / (volts * amperes) if amperes else 0.0
    return Error(
        v=100 * (volts / true.v - 1),
        i=100 * (amperes / true.i - 1),
        p=100 * (watts / true.p - 1),
        pf=factor - true.pf,
        f=1000 * (float(np.mean([w.f for w in windows])) - hz),
    )


def run_board(task: tuple[int, float, int, float]) -> BoardResult:
    """Calibrate and measure one board: (seed, Hz, repeats, share of calibration time)."""
    seed, hz, repeats, share = task
    session = Session(seed, hz, share)
    errors: dict[str, list[Error]] = {case.name: [] for case in CASES}
    busy: list[int] = []
    flagged = 0
    with Rig(session.chain, [CHANNEL]) as rig:
        record: dict[str, Any] | None = session.calibrate(rig)
        rig.measure(session.bursts(SteadySource(session.wire(230.0), []), 1), 1, record)
        for _ in range(repeats):
            for case in CASES:
                error, windows = session.errors(rig, case)
                errors[case.name].append(error)
                busy += [w.busy_us for w in windows]
                flagged += sum(w.flags != 0 for w in windows)
        return BoardResult(errors, float(np.median(busy)) / 1000, rig.heap_bytes, flagged)

"""A calibration in the making and when it is made, as it is stored."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

import msgspec

from calibration.apply import Applied
from calibration.fit import Reference
from calibration.points import Pair, merged
from calibration.record import CalibrationRecord
from calibration.sums import RawSums
from calibration.uncertainty import Budget, Instrument, budget
from gateway.domain.errors import NotFoundError

PERCENT = 100.0
# W and power factor of loads that a calibration's uncertainty is told for, as means of 10 s.
TYPICAL = ((5.0, 1.0), (20.0, 1.0), (100.0, 1.0), (1000.0, 1.0), (5000.0, 1.0), (500.0, 0.5))


class Load(msgspec.Struct, frozen=True):
    """A load as it was measured on one channel."""

    channel: str
    pairs: Sequence[Pair]


class Check(msgspec.Struct, frozen=True):
    """One more load after the calibration: what the meter showed, what was true, in W, V, A.

    `allowed_pct` is what both uncertainties (k = 3) together explain.
    """

    channel: str
    at_ms: int
    shown: Applied
    reference: Reference
    error_pct: float
    allowed_pct: float

    @property
    def passed(self) -> bool:
        """Tell whether meter and reference agree."""
        return abs(self.error_pct) <= self.allowed_pct


class Session(msgspec.Struct):
    """A calibration that is being made; every step is on disk before the next one begins.

    `version` is 0 until the record has been fitted and sent.
    """

    meter: str
    begun_ms: int
    by: str
    instrument: Instrument
    no_load: RawSums | None = None
    loads: list[Load] = msgspec.field(default_factory=list)
    version: int = 0


class Made(msgspec.Struct, frozen=True):
    """A calibration record with all that it was made from. `note` tells where it came from.

    Of nominal parts nothing was measured: no instrument, no loads. `since_ms` is when it was given
    to the meter, where that was later than it was made: an earlier record that was sent again.
    """

    meter: str
    version: int
    made_ms: int
    by: str
    record: CalibrationRecord
    instrument: Instrument | None = None
    no_load: RawSums | None = None
    loads: Sequence[Load] = ()
    checks: Sequence[Check] = ()
    note: str = ""
    since_ms: int = 0

    @property
    def in_force_ms(self) -> int:
        """Return when it was given to the meter."""
        return self.since_ms or self.made_ms

    def budget(self) -> Budget:
        """Return its uncertainty budget. NotFoundError for nominal parts, which have none."""
        if self.no_load is None or self.instrument is None or not self.loads:
            msg = f"calibration {self.version} of {self.meter} is nominal parts, not measured"
            raise NotFoundError(msg)
        loads = [(load.channel, load.pairs) for load in self.loads]
        return budget(self.no_load, loads, self.record, self.instrument)


class CalibrationStore(Protocol):
    """What calibrations need from storage."""

    async def session(self, meter: str) -> Session | None:
        """Return what was begun."""

    async def save_session(self, session: Session, at_ms: int) -> None:
        """Keep it, in place of what was there."""

    async def drop_session(self, meter: str) -> None:
        """Forget it."""

    async def keep(self, made: Made, session: Session | None) -> None:
        """Store a calibration, and the session that made it, in one commit."""

    async def made(self, meter: str) -> Sequence[Made]:
        """Return a meter's calibrations, the newest first."""


def shown(made: Made) -> dict[str, object]:
    """Return a calibration for people and programs; see docs/calibration.md."""
    left = made.budget() if made.loads else None
    return {
        "meter": made.meter,
        "version": made.version,
        "made": made.made_ms,
        "by": made.by,
        "note": made.note,
        "reference": asdict(made.instrument) if made.instrument else None,
        "voltage_uncertainty_pct": PERCENT * 2 * left.volts if left else None,
        "points": _points(made, left) if left else [],
        "loads": [
            _expected(left, name, watts, factor)
            for name in dict.fromkeys(load.channel for load in made.loads)
            for watts, factor in TYPICAL
        ]
        if left
        else [],
        "checks": [{**msgspec.to_builtins(check), "passed": check.passed} for check in made.checks],
        "record": msgspec.to_builtins(made.record),
    }


def _points(made: Made, left: Budget) -> list[dict[str, object]]:
    """Return each load with its residual and budget."""
    return [
        {
            "channel": load.channel,
            "i": point.i,
            "p": merged(load.channel, load.pairs).reference.p,
            "v": merged(load.channel, load.pairs).reference.v,
            "readings": len(load.pairs),
            "residual_pct": PERCENT * point.residual,
            "uncertainty_pct": PERCENT * point.expanded,
            "budget_pct": {
                "reference": PERCENT * point.reference,
                "noise": PERCENT * point.noise,
                "fit": PERCENT * point.fit,
                "temperature": PERCENT * point.temperature,
            },
            "phase_uncertainty_rad": 2 * point.phase_rad,
        }
        for load, point in zip(made.loads, left.points, strict=True)
    ]


def _expected(left: Budget, channel: str, watts: float, factor: float) -> dict[str, object]:
    """Return the expanded uncertainties of a load, in %."""
    found = left.of_load(channel, v=left.at_v, i=watts / factor / left.at_v, factor=factor)
    return {
        "channel": channel,
        "p": watts,
        "factor": factor,
        "p_pct": PERCENT * found.p,
        "i_pct": PERCENT * found.i,
        "v_pct": PERCENT * found.v,
    }

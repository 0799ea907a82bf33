"""What a meter shows while a load is measured, and how it and references agree."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from calibration.apply import Applied
from calibration.points import Pair, merged, spread
from calibration.uncertainty import COVERAGE, Instrument
from gateway.domain.readings import Stored
from gateway.services.calibration_forms import PERCENT, Check, Made

# At k = 2 one right calibration in twenty would be refused, at k = 3 one in some hundred.
CHECK_COVERAGE = 3.0
SHOWN_LEAST = 3


@dataclass
class Seen:
    """Readings that began after a moment of the meter's own clock."""

    after_up_ms: int
    rows: list[Stored] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, reading: Stored) -> None:
        """Take a reading that is not too old."""
        if reading.up_ms - reading.dt_ms >= self.after_up_ms:
            self.rows.append(reading)
        if len(self.rows) >= SHOWN_LEAST:
            self.enough.set()

    def means(self) -> dict[str, Applied]:
        """Return per channel the means of what was shown; nothing without readings."""
        out: dict[str, Applied] = {}
        names = self.rows[0].ch if self.rows else ()
        for name in names:
            good = [
                (row.v, row.ch[name].i, row.ch[name].p, row.ch[name].q or 0.0)
                for row in self.rows
                if name in row.ch and None not in (row.v, row.ch[name].i, row.ch[name].p)
            ]
            if good:
                columns = zip(*good, strict=True)
                v, i, p, q = (sum(x or 0.0 for x in column) / len(good) for column in columns)
                out[name] = Applied(v, i, p, q)
        return out


def compared(  # noqa: PLR0913, PLR0917 - what is compared
    made: Made, instrument: Instrument, channel: str, pairs: Sequence[Pair], shown: Applied,
    at_ms: int,
) -> Check:  # fmt: skip
    """Return how what a meter shows agrees with the reference, and what is explained."""
    reference = merged(channel, pairs).reference
    left = made.budget().of_load(channel, v=reference.v, i=reference.i)
    scatter = spread(channel, pairs).gain if len(pairs) > 1 else 0.0
    own = COVERAGE * (instrument.power(reference.p) ** 2 + scatter**2) ** 0.5
    allowed = CHECK_COVERAGE / COVERAGE * (left.p**2 + own**2) ** 0.5
    error = abs(shown.p) / reference.p - 1
    return Check(channel, at_ms, shown, reference, PERCENT * error, PERCENT * allowed)


def differences(old: Instrument, new: Instrument) -> str:
    """Return in which options two reference instruments differ, and how."""
    options = (
        ("--class", f"{old.class_pct:g}", f"{new.class_pct:g}"),
        ("--reference", repr(old.name), repr(new.name)),
        (
            "--digits",
            f"{old.digit_v:g} {old.digit_p:g}",
            f"{new.digit_v:g} {new.digit_p:g}",
        ),
    )
    return ", ".join(f"{name} {was}, now {now}" for name, was, now in options if was != now)

"""Recorded series for `replay`, with holes and electrical faults at known places."""

import math
import random
from dataclasses import dataclass
from pathlib import Path

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Recording:
    """A written file and what is in it, in time order."""

    path: Path
    rows: list[dict[str, float]]  # t (ms), v, i, p, q
    missing: int  # windows that the holes lack


def write_recording(path: Path, *, rows: int, start_ms: int, seed: int = 3) -> Recording:
    """Write minutes of a home: three holes, a swell, a dip and an outage in them.

    The voltage faults pass the limits of EN 50160 (10-minute mean outside 207-253 V)
    for long enough that any correct gateway must tell.
    """
    rng = random.Random(seed)
    holes = {rows // 5: 30, rows // 2: 240, rows * 4 // 5: 2}
    minute = 0
    made: list[dict[str, float]] = []
    for index in range(rows):
        minute += holes.get(index, 0)
        volts = round(_voltage(index, rows) + rng.uniform(-0.8, 0.8), 2)
        watts = round(250 + 150 * math.sin(index / 90) + rng.uniform(0, 80), 1)
        reactive = round(0.2 * watts, 1)
        amperes = math.ceil(math.hypot(watts, reactive) / volts * 1000) / 1000
        t = start_ms + minute * MINUTE_MS
        made.append({"t": t, "v": volts, "i": amperes, "p": watts, "q": reactive})
        minute += 1
    lines = ["t,v,i,p,q"]
    lines += [f"{row['t']:.0f},{row['v']},{row['i']},{row['p']},{row['q']}" for row in made]
    path.write_text("\n".join(lines) + "\n")
    return Recording(path, made, sum(holes.values()))


def _voltage(index: int, rows: int) -> float:
    if rows * 3 // 10 <= index < rows * 3 // 10 + 60:
        return 259.0
    if rows * 6 // 10 <= index < rows * 6 // 10 + 60:
        return 199.0
    return 231.0

"""Windows for tests of the self-check: look-alikes of the meter's own, from simulated homes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from check import Check
from model import default

from simulation.home import Home

DAY_MS = 86_400_000
NOON_MS = 1_748_778_000_000 // 86_400_000 * 86_400_000 + DAY_MS // 2


@dataclass
class Seen:
    """A window as power.py makes them."""

    up_ms: int
    dt_ms: int = 1000
    v: float | None = 230.0
    f: float | None = 50.0
    i: list[float] = field(default_factory=lambda: [1.0])
    p: list[float] = field(default_factory=lambda: [230.0])
    q: list[float] = field(default_factory=lambda: [0.0])
    flags: int = 0
    clipped: list[int] = field(default_factory=lambda: [0])
    raw: Any = None
    frozen: bool = False


def seen(
    home: Home, start_ms: int, count: int, *, seed: int = 0, v_ratio: float = 1.0
) -> Iterator[Seen]:
    """Yield a home's windows as a real clamp shows them: with its noise of 12 mA and 0.3 W.

    `v_ratio` makes a 120 V home of a 230 V one: the currents stay, the powers follow.
    """
    wild = np.random.default_rng(seed)
    names = list(home.spec.channels)
    for number, window in enumerate(home.iterate(start_ms, count)):
        shown = [window.channels[name] for name in names]
        noise = wild.standard_normal((2, len(names)))
        yield Seen(
            (number + 1) * home.dt_ms,
            home.dt_ms,
            window.v * v_ratio,
            window.f,
            [float(np.hypot(c.i, 0.012 * n)) for c, n in zip(shown, noise[0], strict=True)],
            [c.p * v_ratio + 0.3 * float(n) for c, n in zip(shown, noise[1], strict=True)],
            [c.q * v_ratio for c in shown],
            1 if window.clip else 0,
            # Peaks of a sine above the limit: some dozens of samples in a second.
            [60 if window.clip else int(n > 2) for n in noise[0]],
            None,
            frozen=False,
        )


def run(
    windows: Iterator[Seen], channels: Sequence[str], nominal: tuple[float, float] = (230.0, 50.0)
) -> tuple[list[dict[str, Any]], list[list[float]]]:
    """Return the events of the built-in model, and every z."""
    events: list[dict[str, Any]] = []
    check = Check(channels, default(*nominal), events.append)
    return events, [check.window(window) for window in windows]

"""A picture per fault as SVG: the series clean and with the fault, and when the alert came."""

import math
from datetime import UTC, datetime
from html import escape
from typing import NamedTuple

import numpy as np

from tinymodels.detect.injector import LAWS, FaultName
from tinymodels.detect.minutes import Floats, Minutes, Times
from tinymodels.train.protocol import Example
from tinymodels.train.report import plain, span

WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 190, 70, 46, 34
MOST_POINTS = 600
PLOTTED = {
    "p_mean_w": ("power", "W"),
    "v_mean_v": ("voltage", "V"),
    "q_mean_var": ("reactive", "var"),
}
# What each fault moves most; power is always drawn.
SECOND = {
    FaultName.STUCK_HEATER: "v_mean_v",
    FaultName.SWELL: "v_mean_v",
    FaultName.BYPASS: "v_mean_v",
    FaultName.POOR_PF: "q_mean_var",
    FaultName.SENSOR_OFF: "v_mean_v",
    FaultName.FRIDGE: "q_mean_var",
}
STYLE = (
    "text{font:12px sans-serif;fill:#333}.t{font-size:14px;font-weight:600}"
    ".clean{stroke:#9aa5b1;fill:none}.faulty{stroke:#c2410c;fill:none}"
    ".fault{fill:#fde68a;opacity:.5}.alert{stroke:#1d4ed8;stroke-width:2}.axis{stroke:#ccc}"
)


class _Frame(NamedTuple):
    """Where one curve's panel stands, and what its edges mean."""

    top: float
    from_ms: int
    to_ms: int
    least: float
    most: float

    def x(self, at_ms: float) -> float:
        """Return where a time stands."""
        part = (at_ms - self.from_ms) / max(self.to_ms - self.from_ms, 1)
        return LEFT + part * (WIDTH - LEFT - 20)

    def y(self, value: float) -> float:
        """Return where a value stands."""
        part = (value - self.least) / max(self.most - self.least, 1e-9)
        return self.top + (1 - part) * HEIGHT


def svg(example: Example) -> str:
    """Return the picture as SVG text."""
    event = example.event
    length_ms = max(event.end_ms, event.deadline_ms) - event.start_ms
    from_ms = event.start_ms - max(length_ms // 2, 3 * 3_600_000)
    to_ms = event.start_ms + length_ms + length_ms // 4
    clean, faulty = example.clean.between(from_ms, to_ms), example.faulty.between(from_ms, to_ms)
    names = ["p_mean_w"]
    second = SECOND.get(event.fault)
    if second and np.isfinite(clean[second]).any():
        names.append(second)
    height = TOP + len(names) * (HEIGHT + GAP) + 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}"><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f'<text class="t" x="{LEFT}" y="20">{escape(title(example))}</text>'
        f'<text x="{LEFT}" y="37">grey: the series as it was; orange: with the fault (yellow); '
        "blue: the alert</text>"
    )
    body = [head]
    for number, name in enumerate(names):
        both = np.concatenate((clean[name], faulty[name]))
        known = both[np.isfinite(both)]
        least, most = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        top = TOP + number * (HEIGHT + GAP)
        frame = _Frame(top, from_ms, to_ms, least, most)
        body.append(_panel(frame, name, clean, faulty, example))
    return "\n".join([*body, "</svg>"]) + "\n"


def title(example: Example) -> str:
    """Return what happened and when it was found, in one line."""
    event, law = example.event, LAWS[example.event.fault]
    size = f" {event.size:.3g} {law.unit}" if law.unit else ""
    at = f"{datetime.fromtimestamp(event.start_ms / 1000, UTC):%Y-%m-%d %H:%M}"
    found = (
        "not found in time"
        if example.alert_ms is None
        else f"found after {span(example.alert_ms - event.start_ms)}"
    )
    return f"{plain(event.fault)}{size} from {at}: {found} ({example.detector})"


def _panel(frame: _Frame, name: str, clean: Minutes, faulty: Minutes, example: Example) -> str:
    label, unit = PLOTTED[name]
    event, bottom = example.event, frame.top + HEIGHT
    begin, end = frame.x(event.start_ms), min(frame.x(event.end_ms), WIDTH - 20)
    box = f'x="{begin:.1f}" y="{frame.top}" width="{max(end - begin, 1):.1f}" height="{HEIGHT}"'
    parts = [
        f'<rect class="fault" {box}/>',
        f'<path class="axis" d="M{LEFT} {frame.top}V{bottom}H{WIDTH - 20}" fill="none"/>',
        f'<text x="6" y="{frame.top + 12}">{label}, {unit}</text>',
        f'<text x="6" y="{bottom}">{frame.least:.0f}</text>',
        f'<text x="6" y="{frame.top + 28}">{frame.most:.0f}</text>',
        _curve(frame, clean.start_ms, clean[name], "clean"),
        _curve(frame, faulty.start_ms, faulty[name], "faulty"),
        *_ticks(frame, bottom),
    ]
    if example.alert_ms is not None:
        x = frame.x(example.alert_ms)
        parts.append(f'<path class="alert" d="M{x:.1f} {frame.top}V{bottom}"/>')
    return "".join(parts)


def _ticks(frame: _Frame, bottom: float) -> list[str]:
    """Return five times below a panel."""
    found = []
    for number in range(5):
        at_ms = frame.from_ms + number * (frame.to_ms - frame.from_ms) // 4
        text = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%m-%d %H:%M}"
        anchor = "end" if number == 4 else "middle" if number else "start"  # noqa: PLR2004
        found.append(
            f'<text x="{frame.x(at_ms):.0f}" y="{bottom + 15}" text-anchor="{anchor}">{text}</text>'
        )
    return found


def _curve(frame: _Frame, start_ms: Times, values: Floats, style: str) -> str:
    """Return a line of at most MOST_POINTS, each the mean of its share, broken at holes."""
    share = max(1, math.ceil(len(values) / MOST_POINTS))
    points: list[tuple[float, float]] = []
    for low in range(0, len(values), share):
        part = values[low : low + share]
        known = part[np.isfinite(part)]
        if known.size:
            points.append((float(start_ms[low]), float(known.mean())))
    text, before_ms = [], -math.inf
    for at_ms, value in points:
        step = "L" if at_ms - before_ms <= 4 * share * 60_000 else "M"
        text.append(f"{step}{frame.x(at_ms):.1f} {frame.y(value):.1f}")
        before_ms = at_ms
    return f'<path class="{style}" d="{"".join(text)}"/>'

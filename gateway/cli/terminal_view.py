"""What the demo shows: a live picture on a terminal, now and then a line elsewhere."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

SPARKS = "▁▂▃▄▅▆▇█"
HISTORY_S = 40  # one value a second
BAR_CELLS = 12
LINE_EVERY_S = 5.0
ALERTS_SHOWN = 6
_STYLES = {"critical": "bold red", "warning": "yellow", "resolved": "green"}


@dataclass(slots=True)
class MeterRow:
    """One meter as last measured; `powers_w` by channel, `backlog` readings without an ack."""

    meter: str
    online: bool = False
    voltage_v: float | None = None
    powers_w: Mapping[str, float] = field(default_factory=dict)
    history_w: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY_S))
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert of the gateway, with its sentence."""

    id: str
    at_s: float  # since the demo began
    meter: str
    severity: str
    state: str
    title: str
    sentence: str


@dataclass(slots=True)
class Picture:
    """Everything there is to see at one moment."""

    elapsed_s: float = 0.0
    meters: Sequence[MeterRow] = ()
    committed: int = 0
    backlog: int = 0  # of the gateway: committed and not judged yet
    alerts: Sequence[AlertRow] = ()
    announced: Sequence[str] = ()
    web: str = ""


class View(Protocol):
    """Shows pictures between entering and leaving."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back."""

    def show(self, picture: Picture) -> None:
        """Show the present state."""


class LiveView:
    """Redraws a table in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, picture: Picture) -> None:
        """Draw the picture over the last one."""
        self._live.update(drawn(picture), refresh=True)


class LineView:
    """Says what is new at once and how things stand every five seconds."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._announced = 0
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind: lines need no tidying."""

    def show(self, picture: Picture) -> None:
        """Print what has changed."""
        for sentence in picture.announced[self._announced :]:
            click.echo(f"{_clock(picture.elapsed_s)} fault injected: {sentence}")
        self._announced = len(picture.announced)
        for alert in picture.alerts:
            if self._told.get(alert.id) != alert.state:
                self._told[alert.id] = alert.state
                click.echo(f"{_clock(picture.elapsed_s)} {alert_line(alert)}")
        if picture.elapsed_s >= self._next_s:
            self._next_s = picture.elapsed_s + LINE_EVERY_S
            meters = "  ".join(_short(row) for row in picture.meters)
            click.echo(
                f"{_clock(picture.elapsed_s)} {meters}  "
                f"committed {picture.committed}, backlog {picture.backlog}"
            )


def choose(console: Console) -> View:
    """Return the live view on a terminal, the line view elsewhere."""
    return LiveView(console) if console.is_terminal else LineView()


def alert_line(alert: AlertRow) -> str:
    """Return an alert in one line of plain text."""
    head = f"alert {alert.state}: {alert.severity}, {alert.meter or 'gateway'}"
    return f"{head}: {alert.title}. {alert.sentence}"


def drawn(picture: Picture) -> RenderableType:
    """Return a picture for a terminal."""
    parts: list[RenderableType] = [_meters(picture)]
    status = f"committed {picture.committed} readings, backlog {picture.backlog}"
    if picture.web:
        status += f", web at {picture.web}"
    parts.append(Text(status, style="dim"))
    parts += [Text(f"Fault injected: {text}", style="magenta") for text in picture.announced]
    parts += [_alert(alert) for alert in list(picture.alerts)[:ALERTS_SHOWN]]
    if not picture.alerts:
        parts.append(Text("No alerts.", style="dim"))
    title = f"Wattwarden demo {_clock(picture.elapsed_s)} (Ctrl-C ends it)"
    return Panel(Group(*parts), title=title)


def sparkline(values: Sequence[float]) -> str:
    """Return one block character for each value, between the least and the most.

    Less than a tenth of the largest value from top to bottom would only show noise.
    """
    if not values:
        return ""
    least = min(values)
    span = max(max(values) - least, 0.1 * max(map(abs, values)))
    step = span / (len(SPARKS) - 1)
    return "".join(SPARKS[round((value - least) / step) if step else 0] for value in values)


def bar(power_w: float, full_w: float) -> Text:
    """Return a bar as long as the power's share of `full_w`; green where it flows out."""
    cells = min(round(abs(power_w) / full_w * BAR_CELLS), BAR_CELLS) if full_w > 0 else 0
    return Text("█" * cells + "·" * (BAR_CELLS - cells), style="green" if power_w < 0 else "cyan")


def _meters(picture: Picture) -> Table:
    """Return a row for each channel of each meter."""
    table = Table(expand=True, box=None)
    for heading in ("meter", "channel", "power", "", f"last {HISTORY_S} s", "voltage", "unsaved"):
        right = heading in ("power", "voltage", "unsaved")
        justify: Literal["left", "right"] = "right" if right else "left"
        table.add_column(heading, justify=justify, no_wrap=True, min_width=len(heading))
    full_w = max((abs(p) for row in picture.meters for p in row.powers_w.values()), default=0.0)
    for row in picture.meters:
        first = True
        for channel, power_w in row.powers_w.items():
            table.add_row(
                Text(row.meter, style="bold" if row.online else "dim") if first else "",
                channel,
                f"{power_w:,.0f} W",
                bar(power_w, full_w),
                sparkline(row.history_w) if first else "",
                _volts(row) if first else "",
                str(row.backlog) if first else "",
            )
            first = False
        if first:
            table.add_row(Text(row.meter, style="dim"), "", "waiting", "", "", "", "")
    return table


def _alert(alert: AlertRow) -> Text:
    style = _STYLES.get(alert.state) or _STYLES.get(alert.severity, "")
    return Text(f"{_clock(alert.at_s)} {alert_line(alert)}", style=style)


def _short(row: MeterRow) -> str:
    power = row.powers_w.get("grid")
    if power is None:
        return f"{row.meter} waiting"
    return f"{row.meter} {power:.0f} W {_volts(row)}"


def _volts(row: MeterRow) -> str:
    return "" if row.voltage_v is None else f"{row.voltage_v:.1f} V"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}"

"""Where a calibration's true values come from: typed, from a file, or from another meter's log."""

import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import click

from calibration.fit import LEAST_LOADS, Reference
from gateway.domain.errors import BadInputError, GatewayError
from gateway.pipeline import times

CHECK = "check"  # the label of the load that the finished calibration is checked on
SUGGESTED_A = (0.1, 0.3, 1.0, 5.0, 12.0)
MOST_LOG_BYTES = 60_000  # 20 minutes of a row a second
Say = Callable[[str], None]
Sees = Callable[[str], float]  # a channel's W at this moment, by nominal parts


@dataclass(frozen=True, slots=True)
class Wanted:
    """The load that is wanted next: its channel, its number from 1, and those before in A."""

    channel: str
    number: int
    before_a: Sequence[float]
    is_check: bool = False

    @property
    def name(self) -> str:
        """Return it in words."""
        what = "one more load, to check" if self.is_check else f"load {self.number}"
        return f"{what} on {self.channel}"


class ReferenceSource(Protocol):
    """What tells the truth about loads."""

    stretches: int  # stretches of the meter that one reading stands for

    def ready(self, wanted: Wanted) -> bool:
        """Wait until the load is on; False when there are no more loads."""

    def readings(self) -> int | None:
        """Return how many readings this load has, None when measuring decides."""

    def read(self, began_s: float, ended_s: float) -> Reference:
        """Return what the reference read between two instants, Unix seconds."""


class Typed:
    """A person reads a plug meter or clamp meter; each reading is asked for as it is measured."""

    def __init__(self, say: Say, count: int) -> None:
        self._say = say
        self._count = count
        self.stretches = 3

    def ready(self, wanted: Wanted) -> bool:
        """Ask for the load to be switched on."""
        amps = SUGGESTED_A[min(wanted.number, len(SUGGESTED_A)) - 1]
        about = "" if wanted.is_check else f" (about {amps:g} A, {amps * 230:.0f} W at 230 V)"
        self._say(
            f"\n{wanted.name}: switch on a resistive load{about}: a kettle, an iron, a lamp"
            " with a filament. Nothing else may run behind this clamp."
        )
        enough = wanted.number > LEAST_LOADS and not wanted.is_check
        answer = click.prompt(
            "Press Enter when it is on" + (", or q when there are no more" if enough else ""),
            default="", show_default=False, err=True,
        )  # fmt: skip
        return not (enough and answer.strip().lower() == "q")

    def readings(self) -> int | None:
        """Return how many times a person is asked."""
        return self._count

    def read(self, began_s: float, ended_s: float) -> Reference:  # noqa: ARG002 - the port's
        """Ask for the reference's display."""
        volts = click.prompt("  volts on the reference", type=float, err=True)
        watts = click.prompt("  watts", type=float, err=True)
        amps = click.prompt(
            "  amperes (Enter: not shown)", type=float, default=watts / volts if volts else 0.0,
            show_default=False, err=True,
        )  # fmt: skip
        return Reference(volts, amps, watts)


@dataclass
class Listed:
    """Readings in a CSV file: columns `load`, `channel`, `v`, `p` and, where it is shown, `i`.

    Rows with the same load and channel are readings of one load; the load `check` comes last.
    """

    rows: dict[tuple[str, str], list[Reference]]
    sees: Sees
    say: Say
    wait_s: float
    stretches: int = 3
    _present: list[Reference] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path, sees: Sees, say: Say, wait_s: float) -> "Listed":
        """Read the file. BadInputError names the line, or the channel, that is wrong."""
        rows: dict[tuple[str, str], list[Reference]] = {}
        for number, row in _table(path, ("load", "channel", "v", "p")):
            key = (row["channel"], row["load"])
            rows.setdefault(key, []).append(_reference(row, path, number))
        if not rows:
            msg = f"{path}: has no readings"
            raise BadInputError(msg)
        for channel in dict.fromkeys(channel for channel, _ in rows):
            if sum(one == channel and label != CHECK for one, label in rows) < LEAST_LOADS:
                msg = (
                    f"{path}: channel {channel} has readings of fewer than {LEAST_LOADS} loads, the"
                    f" check aside; it takes {LEAST_LOADS} to make a curve"
                )
                raise BadInputError(msg)
        return cls(rows, sees, say, wait_s)

    def ready(self, wanted: Wanted) -> bool:
        """Wait until the meter sees about what the file says, or as long as was allowed."""
        labels = [label for channel, label in self.rows if channel == wanted.channel]
        loads = [label for label in labels if label != CHECK]
        if wanted.is_check:
            if CHECK not in labels:
                return False
            label = CHECK
        elif wanted.number > len(loads):
            return False
        else:
            label = loads[wanted.number - 1]
        self._present = list(self.rows[wanted.channel, label])
        watts = self._present[0].p
        self.say(f"{wanted.name}: waiting for about {watts:.0f} W")
        until_s = time.monotonic() + self.wait_s
        while time.monotonic() < until_s:
            if 0.7 < abs(self.sees(wanted.channel)) / watts < 1.4:  # noqa: PLR2004 - nominal parts
                return True
        return True  # measured all the same: what is wrong will then be said

    def readings(self) -> int | None:
        """Return how many rows this load has."""
        return len(self._present)

    def read(self, began_s: float, ended_s: float) -> Reference:  # noqa: ARG002 - the port's
        """Return the next row of this load."""
        return self._present.pop(0) if len(self._present) > 1 else self._present[0]


class Logged:
    """A reference meter that writes a CSV with `t`, `v`, `p` (and `i`), a row a second or so."""

    stretches = 1
    STEADY_ROWS, STEADY = 5, 0.05
    APART = 1.2  # loads nearer than this are one point of the curve
    LEAST_A = 0.02
    PATIENCE_S = 10.0

    def __init__(self, path: Path, say: Say, *, loads: int, wait_s: float, zone: ZoneInfo) -> None:
        self._path = path
        self._zone = zone
        self._say = say
        self._loads = loads
        self._wait_s = wait_s

    def ready(self, wanted: Wanted) -> bool:
        """Wait until the log shows a steady load that is none of those before."""
        if not wanted.is_check and wanted.number > self._loads:
            return False
        self._say(f"{wanted.name}: switch it on; waiting for it in {self._path}")
        began_s = time.time()
        until_s = time.monotonic() + self._wait_s
        while time.monotonic() < until_s:
            rows = [row for at_s, row in self._rows() if at_s >= began_s][-self.STEADY_ROWS :]
            if len(rows) == self.STEADY_ROWS and self._is_new(rows, wanted.before_a):
                return True
            time.sleep(0.1)
        msg = (
            f"{wanted.name}: no new steady load in {self._path} within {self._wait_s:.0f} s."
            " Is the reference meter still writing?"
        )
        raise GatewayError(msg)

    def _is_new(self, rows: Sequence[Reference], before_a: Sequence[float]) -> bool:
        powers = [row.p for row in rows]
        amps = statistics.median(row.i for row in rows)
        middle = statistics.median(powers)
        steady = middle > 0 and (max(powers) - min(powers)) / middle < self.STEADY
        new = all(max(amps, a) / min(amps, a) > self.APART for a in before_a if amps > 0)
        return steady and new and amps > self.LEAST_A

    def readings(self) -> int | None:
        """Let measuring decide: there are as many readings as one wants."""
        return None

    def read(self, began_s: float, ended_s: float) -> Reference:
        """Return the means of the rows between two instants."""
        until_s = time.monotonic() + self.PATIENCE_S
        while True:
            rows = [row for at_s, row in self._rows() if began_s <= at_s <= ended_s]
            if rows:
                n = len(rows)
                return Reference(
                    sum(row.v for row in rows) / n,
                    sum(row.i for row in rows) / n,
                    sum(row.p for row in rows) / n,
                )
            if time.monotonic() > until_s:
                msg = f"{self._path}: no row of the last seconds; is the reference still writing?"
                raise GatewayError(msg)
            time.sleep(0.1)

    def _rows(self) -> list[tuple[float, Reference]]:
        return [
            (
                times.parse(row["t"], self._zone, name=f"{self._path}, line {number}: t") / 1000,
                _reference(row, self._path, number),
            )
            for number, row in _table(self._path, ("t", "v", "p"))
        ]


def _table(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return a CSV file's rows with their line numbers; a last line half written is left out."""
    try:
        text = _head_and_tail(path)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise BadInputError(msg) from error
    lines = text[: text.rfind("\n") + 1].splitlines()
    reader = csv.DictReader(lines)
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        msg = f"{path}: has no column {missing[0]!r}; needed are {', '.join(needed)}"
        raise BadInputError(msg)
    return [(reader.line_num, row) for row in reader]


def _reference(row: dict[str, str], path: Path, number: int) -> Reference:
    try:
        volts, watts = float(row["v"]), float(row["p"])
        amps = row.get("i") or ""
        return Reference(volts, float(amps) if amps else watts / volts, watts)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        msg = f"{path}, line {number}: v, i and p must be numbers, in V, A and W"
        raise BadInputError(msg) from error


def _head_and_tail(path: Path) -> str:
    """Return a file's text; of a long log its first line and its end."""
    with path.open("rb") as file:
        head = file.readline()
        size = path.stat().st_size
        if size > MOST_LOG_BYTES:
            file.seek(size - MOST_LOG_BYTES)
            file.readline()  # the rest of a line
        return (head + file.read()).decode("utf-8-sig")

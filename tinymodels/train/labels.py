"""What people said of alerts: right or wrong, as labels for fitting and judging.

`wattwarden alerts labels` writes them: one JSON object a line, nobody's name in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tinymodels.detect.events import MERGE_MS, Event
from tinymodels.train.errors import EvaluationError

MOST_BYTES: Final = 50_000_000


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A verdict on one alert; `channel` "" is the whole meter, times are the data's, UTC ms."""

    meter: str
    channel: str
    kind: str
    from_ms: int
    to_ms: int
    right: bool
    note: str = ""


class LabelCount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many `right` alerts a detector found, how many `wrong` ones it would repeat."""

    right: int = 0
    found: int = 0
    wrong: int = 0
    repeated: int = 0


def read_labels(path: Path) -> dict[tuple[str, str], list[Label]]:
    """Return labels by meter and channel, in time order; EvaluationError names a bad line."""
    try:
        if path.stat().st_size > MOST_BYTES:
            msg = f"--labels: {path} is larger than {MOST_BYTES} bytes"
            raise EvaluationError(msg)
        lines = path.read_bytes().splitlines()
    except OSError as error:
        msg = f"--labels: {path} cannot be read: {error.strerror}"
        raise EvaluationError(msg) from error
    found: dict[tuple[str, str], list[Label]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label = msgspec.json.decode(line, type=Label)
        except msgspec.MsgspecError as error:
            msg = f"--labels: {path}, line {number}: {error}"
            raise EvaluationError(msg) from error
        if label.to_ms < label.from_ms:
            msg = f"--labels: {path}, line {number}: it ends before it begins"
            raise EvaluationError(msg)
        found.setdefault((label.meter, label.channel), []).append(label)
    return {key: sorted(labels, key=lambda one: one.from_ms) for key, labels in found.items()}


def of_channel(
    labels: Mapping[tuple[str, str], Sequence[Label]], meter: str, channel: str
) -> list[Label]:
    """Return the labels that speak of a channel: its own and those of the whole meter."""
    found = [*labels.get((meter, channel), ()), *labels.get((meter, ""), ())]
    return sorted(found, key=lambda one: one.from_ms)


def left_out(labels: Iterable[Label]) -> list[tuple[int, int]]:
    """Return the spans that no model is fitted on: what was wrong with the home, or the alert."""
    return [(label.from_ms, label.to_ms) for label in labels]


def false_ones(alerts: Sequence[Event], labels: Sequence[Label]) -> list[Event]:
    """Return the alerts of a clean series that no right verdict explains."""
    real = [label for label in labels if label.right]
    return [alert for alert in alerts if not any(_meets(alert, label) for label in real)]


def count(alerts: Sequence[Event], labels: Sequence[Label]) -> LabelCount:
    """Count how a detector's alerts meet the verdicts."""
    right = [label for label in labels if label.right]
    wrong = [label for label in labels if not label.right]
    return LabelCount(
        len(right),
        sum(any(_meets(alert, label) for alert in alerts) for label in right),
        len(wrong),
        sum(any(_meets(alert, label) for alert in alerts) for label in wrong),
    )


def _meets(alert: Event, label: Label) -> bool:
    """Tell whether both are about the same time: they overlap, or nearly do."""
    return alert.from_ms <= label.to_ms + MERGE_MS and alert.to_ms >= label.from_ms - MERGE_MS

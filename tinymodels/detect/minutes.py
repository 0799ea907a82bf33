"""A channel's minutes: what every detector reads, live one row at a time or as columns."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.domain.errors import BadInputError

if TYPE_CHECKING:
    from pandas import DataFrame

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

MINUTE_MS = 60_000
STEP_MS = 5 * MINUTE_MS  # detectors that judge by blocks judge by these
DAY_MS = 1440 * MINUTE_MS
VALUES = ("p_mean_w", "p_min_w", "p_max_w", "v_mean_v", "v_max_v", "q_mean_var", "i_mean_a")
COLUMNS = ("start_ms", *VALUES)


def or_nan(value: float | None) -> float:
    """Return what detectors see of a value: NaN where it is unknown."""
    return math.nan if value is None else value


class Row(NamedTuple):
    """One minute of one channel; `start_ms` is UTC, NaN where nothing was measured."""

    start_ms: int
    p_mean_w: float
    p_min_w: float
    p_max_w: float
    v_mean_v: float
    v_max_v: float
    q_mean_var: float
    i_mean_a: float


class Minutes:
    """Minutes of one channel in time order, each at most once; missing ones are simply absent.

    `start_ms` is int64 UTC ms; `values` has one float64 column per name in VALUES.
    """

    __slots__ = ("start_ms", "values")

    def __init__(self, start_ms: Times, values: Floats) -> None:
        """Raise BadInputError for times out of order or columns that do not match."""
        self.start_ms = np.asarray(start_ms, dtype=np.int64)
        self.values = np.asarray(values, dtype=np.float64)
        if self.values.shape != (len(self.start_ms), len(VALUES)):
            msg = f"minutes are {len(VALUES)} columns of one length, not {self.values.shape}"
            raise BadInputError(msg)
        if (np.diff(self.start_ms) <= 0).any() or (self.start_ms % MINUTE_MS).any():
            msg = "minutes must be whole, in time order, each once"
            raise BadInputError(msg)

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> "Minutes":
        """Gather rows that are in time order."""
        kept = list(rows)
        starts = np.array([row.start_ms for row in kept], dtype=np.int64)
        return cls(starts, np.array([row[1:] for row in kept]).reshape(len(kept), len(VALUES)))

    @classmethod
    def from_frame(cls, frame: "DataFrame") -> "Minutes":
        """Take a pandas frame with the names of COLUMNS; a column that lacks is unknown.

        `start_ms` may be the index's name. BadInputError without times or power.
        """
        if "start_ms" not in frame.columns and frame.index.name == "start_ms":
            frame = frame.reset_index()
        for name in ("start_ms", "p_mean_w"):
            if name not in frame.columns:
                msg = f"minutes need a column {name}; there are {', '.join(map(str, frame))}"
                raise BadInputError(msg)
        values = np.full((len(frame), len(VALUES)), math.nan)
        for number, name in enumerate(VALUES):
            if name in frame.columns:
                values[:, number] = frame[name].to_numpy(dtype=np.float64, na_value=math.nan)
        return cls(frame["start_ms"].to_numpy(dtype=np.int64), values)

    def to_frame(self) -> "DataFrame":
        """Return a pandas frame with the names of COLUMNS."""
        from pandas import DataFrame

        columns: dict[str, Times | Floats] = {"start_ms": self.start_ms}
        columns |= {name: self.values[:, number] for number, name in enumerate(VALUES)}
        return DataFrame(columns)

    def __len__(self) -> int:
        return len(self.start_ms)

    def __getitem__(self, name: str) -> Floats:
        """Return one column of VALUES."""
        column: Floats = self.values[:, VALUES.index(name)]
        return column

    def rows(self) -> Iterator[Row]:
        """Yield the minutes one by one, as they come live."""
        for start_ms, values in zip(self.start_ms.tolist(), self.values.tolist(), strict=True):
            yield Row(start_ms, *values)

    def between(self, from_ms: int, to_ms: int) -> "Minutes":
        """Return the minutes that start in [from, to)."""
        low, high = np.searchsorted(self.start_ms, [from_ms, to_ms])
        return Minutes(self.start_ms[low:high], self.values[low:high])

    def without(self, spans_ms: Sequence[tuple[int, int]]) -> "Minutes":
        """Return the minutes outside all spans [from, to), such as alerts and wrong verdicts."""
        keep = np.ones(len(self), dtype=bool)
        for from_ms, to_ms in spans_ms:
            keep &= (self.start_ms + MINUTE_MS <= from_ms) | (self.start_ms >= to_ms)
        return Minutes(self.start_ms[keep], self.values[keep])


def block_of(at_ms: int) -> int:
    """Return when the block begins that a time lies in."""
    return at_ms - at_ms % STEP_MS

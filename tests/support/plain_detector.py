"""The least detector of the contract, for tests of what judges detectors: z of 15-minute power."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import msgspec
import numpy as np

from tinymodels.detect.contract import (
    Explanation,
    FitRefusedError,
    ModelRefusedError,
    Options,
    Verdict,
)
from tinymodels.detect.minutes import DAY_MS, Floats, Minutes, Row, Times

QUARTER_MS = 900_000


@dataclass(slots=True)
class PlainState:
    start_ms: int = -1
    total_w: float = 0.0
    count: int = 0
    score: float = 0.0


@dataclass(frozen=True)
class PlainModel:
    """Distance of a quarter's mean power from the usual, in spreads; `limit` by the budget."""

    kind: ClassVar[str] = "plain"
    mean_w: float
    spread_w: float
    limit: float
    trained: tuple[int, int]
    step_ms: int = QUARTER_MS

    @property
    def clear_limit(self) -> float:
        return 0.7 * self.limit

    def with_limit(self, limit: float) -> Self:
        return replace(self, limit=limit)

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode((self.mean_w, self.spread_w, self.limit, self.trained))

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        try:
            mean_w, spread_w, limit, trained = msgspec.msgpack.decode(body)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ModelRefusedError(str(error)) from error
        return cls(mean_w, spread_w, limit, (trained[0], trained[1]))

    def new_state(self) -> PlainState:
        return PlainState()

    def dump_state(self, state: PlainState) -> bytes:
        return msgspec.msgpack.encode(state)

    def load_state(self, body: bytes) -> PlainState:
        return msgspec.msgpack.decode(body, type=PlainState)

    def step(self, state: PlainState, row: Row) -> Verdict | None:
        start_ms = row.start_ms - row.start_ms % QUARTER_MS
        verdict = None
        if state.start_ms not in (-1, start_ms):
            state.score = abs(state.total_w / state.count - self.mean_w) / self.spread_w
            verdict = Verdict(state.score, state.score > self.limit)
        if start_ms != state.start_ms:
            state.start_ms, state.total_w, state.count = start_ms, 0.0, 0
        state.total_w += row.p_mean_w
        state.count += 1
        return verdict

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        starts, means = quarters(minutes)
        return starts[:-1], np.abs(means[:-1] - self.mean_w) / self.spread_w

    def explain(self, state: PlainState) -> Explanation:
        return Explanation("power", math.nan, self.mean_w, "W", state.start_ms, state.score)


class PlainFitter:
    """Takes mean and spread; the limit is the quantile that the budget allows."""

    def fit(self, minutes: Minutes, options: Options) -> PlainModel:
        if len(minutes) < 2 * DAY_MS // 60_000:
            msg = "less than two days"
            raise FitRefusedError(msg)
        _, means = quarters(minutes)
        spread_w = max(float(means.std()), 1.0)
        z = np.sort(np.abs(means - means.mean()) / spread_w)
        months = len(means) / 96 / 30.44
        limit = float(z[-1 - int(0.5 * options.alarms_per_month * months)]) * 1.05
        ends = (int(minutes.start_ms[0]), int(minutes.start_ms[-1]))
        return PlainModel(float(means.mean()), spread_w, limit, ends)


def quarters(minutes: Minutes) -> tuple[Times, Floats]:
    """Return the starts of the quarters that have minutes, and their mean powers."""
    starts, where = np.unique(minutes.start_ms // QUARTER_MS * QUARTER_MS, return_index=True)
    sums = np.add.reduceat(minutes["p_mean_w"], where)
    return starts, sums / np.diff(np.append(where, len(minutes)))

"""A bank of exponentially weighted charts: one per feature and scale, given the time of day."""

import functools
import math
from collections.abc import Sequence
from typing import ClassVar, Final, Self
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from msgspec import Struct, field

from tinymodels.detect.bank import (
    CHARTS,
    SCALES_MS,
    averages,
    fit_usual_of,
    inputs,
    lasting,
    usable,
)
from tinymodels.detect.conditioning import (
    Table,
    Usual,
    check,
    clock_basis,
    expected,
    standardise,
    tabulate,
)
from tinymodels.detect.contract import Explanation, ModelRefusedError, Options, Verdict
from tinymodels.detect.fitted import FittedModel
from tinymodels.detect.history import check_enough, check_power, folds
from tinymodels.detect.limits import chart_levels, choose_limit
from tinymodels.detect.minutes import STEP_MS, Floats, Minutes, Row, Times
from tinymodels.detect.signals import INDEX, Signals, natural
from tinymodels.detect.sweep import featurise

VERSION: Final = 1


class ChartsState(Struct, array_like=True):
    """What the charts remember."""

    signals: Signals = field(default_factory=Signals)
    last_ms: int = 0
    averages: list[list[float]] = field(default_factory=list)  # scale by chart
    values: list[float] = field(default_factory=list)  # the last features
    since_ms: list[list[int]] = field(default_factory=list)  # since when each is far out


class ChartsModel(FittedModel, frozen=True, dict=True):
    """Fitted charts: what is usual, and how far each average goes up and down by itself.

    The score is the greatest of the averages as parts of how far they went in the history, so
    1 is what a chart reaches a few times in eight weeks.
    """

    kind: ClassVar[str] = "charts"

    charts: tuple[str, ...]
    usual: list[Usual]  # per chart
    up: list[list[float]]  # scale by chart, in sigmas; NEVER where a scale is not watched
    down: list[list[float]]
    limit: float
    zone: str
    from_ms: int
    to_ms: int
    steps: int
    version: int = VERSION

    @property
    def trained(self) -> tuple[int, int]:
        """Return the span of the data."""
        return self.from_ms, self.to_ms

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Return the model, or raise ModelRefusedError."""
        try:
            model = msgspec.msgpack.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            msg = f"no bank of charts: {error}; it must be fitted anew"
            raise ModelRefusedError(msg) from error
        if model.version != VERSION or not set(model.charts) <= set(CHARTS):
            msg = f"charts of version {model.version}, not {VERSION}: they must be fitted anew"
            raise ModelRefusedError(msg)
        check(model.usual, len(model.charts), [len(CHARTS[name][1]) for name in model.charts])
        levels = np.asarray([model.up, model.down])
        if levels.shape != (2, len(SCALES_MS), len(model.charts)) or not (levels > 0).all():
            msg = "charts whose levels do not fit them: they must be fitted anew"
            raise ModelRefusedError(msg)
        return model

    def new_state(self) -> ChartsState:
        """Return a state that has seen nothing."""
        shape = (len(SCALES_MS), len(self.charts))
        return ChartsState(
            averages=np.zeros(shape).tolist(), since_ms=np.zeros(shape, dtype=int).tolist()
        )

    def load_state(self, body: bytes) -> ChartsState:
        """Return a dumped state; of other charts only what the features need is taken over."""
        fresh = self.new_state()
        try:
            state = msgspec.msgpack.decode(body, type=ChartsState)
        except msgspec.MsgspecError:
            return fresh
        shapes = {np.shape(state.averages), np.shape(state.since_ms)}
        if shapes == {np.shape(fresh.averages)}:
            return state
        fresh.signals = state.signals
        return fresh

    def step(self, state: ChartsState, row: Row) -> Verdict | None:
        """Take in one minute; return the verdict on the block it shows to be over."""
        done = state.signals.add(row)
        return None if done is None else self.judge(state, *done)

    def judge(self, state: ChartsState, start_ms: int, values: Sequence[float]) -> Verdict:
        """Return the verdict on a block's features; for who has them already."""
        score = float(self.advance(state, start_ms, values).max())
        return Verdict(score, score > self.limit)

    def advance(self, state: ChartsState, start_ms: int, values: Sequence[float]) -> Floats:
        """Take in a block's features; return what `ratios` gives of the averages after it."""
        starts = np.array([start_ms])
        z = self.standardised(starts, np.array([values]))
        after = averages(z, starts, np.array(state.averages), state.last_ms)[0]
        ratios = self.ratios(after)
        since = np.array(state.since_ms)
        since = np.where(ratios > self.clear_limit, np.where(since > 0, since, start_ms), 0)
        state.last_ms, state.averages, state.values = start_ms, after.tolist(), list(values)
        state.since_ms = since.tolist()
        return ratios

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return starts and scores of all blocks that are over."""
        return self.judge_many(*featurise(minutes))

    def judge_many(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return starts and scores of blocks whose features are known already."""
        ratios = self.ratios(self.trace(starts, values))
        return starts, ratios.max(axis=(1, 2), initial=0.0)

    def trace(self, starts: Times, values: Floats) -> Floats:
        """Return all averages after each block, in sigmas, shape (step, scale, chart)."""
        fresh = np.zeros((len(SCALES_MS), len(self.charts)))
        return averages(self.standardised(starts, values), starts, fresh, 0)

    def explain(self, state: ChartsState, among: Sequence[int] = ()) -> Explanation:
        """Return the chart that is furthest beyond its level, in its feature's units.

        `among`: the places of those that are asked for, of all where it is empty.
        """
        if not state.values:
            return Explanation("power", math.nan, math.nan, "W", 0, 0.0)
        places = among or range(len(self.charts))
        ratios = self.ratios(np.array(state.averages))[:, places]
        scale, place = divmod(int(ratios.argmax()), len(places))
        return self.describe(state, scale, places[place])

    def describe(self, state: ChartsState, scale: int, chart: int) -> Explanation:
        """Return where one average is, and where it usually is, by the numbers of its place."""
        name, given, _ = CHARTS[self.charts[chart]]
        clock = clock_basis(np.array([state.last_ms]), ZoneInfo(self.zone))
        others = np.array([[state.values[INDEX[other]] for other in given]]).reshape(1, len(given))
        usual = self.usual[chart]
        mean = float(expected(usual, clock, others)[0])
        spread = float(np.exp(clock @ np.asarray(usual.scale))[0])
        sigmas = state.averages[scale][chart]
        value, unit = natural(name, mean + sigmas * spread)  # where the average is
        since_ms = state.since_ms[scale][chart] or state.last_ms
        return Explanation(
            self.charts[chart], value, natural(name, mean)[0], unit, since_ms, sigmas
        )

    def standardised(self, starts: Times, values: Floats) -> Floats:
        """Return z of each chart's feature (step, chart) at these times; NaN where unknown."""
        clock = clock_basis(starts, ZoneInfo(self.zone))
        return standardise(self._table, clock, *inputs(self.charts, values))

    @functools.cached_property
    def _table(self) -> Table:
        return tabulate(self.usual)

    @functools.cached_property
    def _levels(self) -> tuple[Floats, Floats]:
        return np.asarray(self.up), -np.asarray(self.down)

    def ratios(self, after: Floats) -> Floats:
        """Return averages (…, scale, chart) as parts of how far they go by themselves."""
        now = lasting(after)
        result: Floats = now / np.where(now > 0, *self._levels)
        return result


class ChartsFitter:
    """Fits the bank on a channel's usual minutes."""

    def fit(self, minutes: Minutes, options: Options) -> ChartsModel:
        """Fit what is usual, then levels and limit on parts that the fit has not seen."""
        return self.fit_features(*featurise(minutes), options)

    def fit_features(self, starts: Times, values: Floats, options: Options) -> ChartsModel:
        """Fit on features; for who has them already."""
        return self.fit_held_out(starts, values, options)[0]

    def fit_held_out(
        self, starts: Times, values: Floats, options: Options
    ) -> tuple[ChartsModel, Floats]:
        """Return the charts, and the averages by charts that had not seen them (as `trace`)."""
        check_enough(starts)
        check_power(values)
        charts = usable(starts, values, voltage=options.voltage)
        clock = clock_basis(starts, options.zone)
        usual = fit_usual_of(charts, clock, values)
        held_out = np.empty((len(starts), len(charts)))
        for out in folds(starts):
            part = fit_usual_of(charts, clock[~out], values[~out])
            held_out[out] = standardise(tabulate(part), clock[out], *inputs(charts, values[out]))
        after = averages(held_out, starts, np.zeros((len(SCALES_MS), len(charts))), 0)
        up, down = chart_levels(starts, lasting(after), charts)
        model = ChartsModel(
            tuple(charts), usual, up.tolist(), down.tolist(), 1.0, options.zone.key or "UTC",
            int(starts[0]), int(starts[-1]) + STEP_MS, len(starts),
        )  # fmt: skip
        scores = model.ratios(after).max(axis=(1, 2))
        limit = choose_limit(model, starts, scores, options.alarms_per_month)
        return model.with_limit(limit), after


FITTER: Final = ChartsFitter()

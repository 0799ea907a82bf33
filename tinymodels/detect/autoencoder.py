"""A dense autoencoder over the charts' averages: what moves together, seen by a small network."""

import functools
import math
from collections.abc import Sequence
from typing import ClassVar, Final, Self

import msgspec
import numpy as np
from msgspec import Struct, field

from tinymodels.detect.bank import CHARTS, SCALES_MS
from tinymodels.detect.charts import FITTER as CHARTS_FITTER
from tinymodels.detect.charts import ChartsModel, ChartsState
from tinymodels.detect.contract import (
    Explanation,
    FitRefusedError,
    ModelRefusedError,
    Options,
    Verdict,
)
from tinymodels.detect.fitted import FittedModel
from tinymodels.detect.limits import choose_limit
from tinymodels.detect.litert import Network
from tinymodels.detect.minutes import Floats, Minutes, Row, Times
from tinymodels.detect.sweep import featurise

VERSION: Final = 1
MOST_FED: Final = 6.0  # spreads; what the network has seen, and what int8 resolves well
MOST_COUNTED: Final = 30.0  # spreads; beyond this a value is simply far
LEAST_RESIDUAL: Final = 0.1  # spreads: what int8 leaves of a value
# A fault moves a few charts: the score is the root mean square of this many largest errors.
LARGEST: Final = 6


class AutoencoderState(Struct, array_like=True):
    """What the charts remember, and how far each input is from what the network expects."""

    charts: ChartsState
    errors: list[float] = field(default_factory=list)
    since_ms: list[int] = field(default_factory=list)


class AutoencoderModel(FittedModel, frozen=True, dict=True):
    """A network, and what a channel's own averages are measured in.

    `charts` condition on the time of day; `inputs` are the charts' names in the network's order,
    each over SCALES_MS; `spread` and `residual` are of the inputs and of what the network leaves
    of them. Loading one loads the network, which takes a moment: not on an event loop.
    """

    kind: ClassVar[str] = "autoencoder"

    charts: ChartsModel
    inputs: tuple[str, ...]
    network: bytes
    spread: list[float]
    residual: list[float]
    limit: float
    version: int = VERSION

    @functools.cached_property
    def runtime(self) -> Network:
        """The network, ready to run; ModelRefusedError where it cannot be."""
        return Network(self.network)

    @property
    def trained(self) -> tuple[int, int]:
        """Return the span of the channel's own data."""
        return self.charts.trained

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Return the model with its network loaded, or raise ModelRefusedError."""
        try:
            model = msgspec.msgpack.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            msg = f"no autoencoder: {error}; it must be trained anew"
            raise ModelRefusedError(msg) from error
        model.check()
        return model

    def check(self) -> None:
        """Raise ModelRefusedError for another version, and where sizes do not fit each other."""
        ChartsModel.from_bytes(self.charts.to_bytes())
        count = len(self.inputs) * len(SCALES_MS)
        network = (self.runtime.inputs, self.runtime.outputs)
        sizes = {*network, len(self.spread), len(self.residual)}
        names = set(self.inputs) <= set(CHARTS) and set(self.charts.charts) <= set(self.inputs)
        units = np.array([*self.spread, *self.residual, self.limit])
        if not (np.isfinite(units) & (units > 0)).all():
            msg = "an autoencoder whose spreads or limit are no positive numbers"
            raise ModelRefusedError(msg)
        if self.version != VERSION or sizes != {count} or not names:
            msg = (
                f"an autoencoder of version {self.version} with {len(self.inputs)} charts and a"
                f" network of {network}: not what version {VERSION} runs"
            )
            raise ModelRefusedError(msg)

    def new_state(self) -> AutoencoderState:
        """Return a state that has seen nothing."""
        return AutoencoderState(self.charts.new_state())

    def load_state(self, body: bytes) -> AutoencoderState:
        """Return a dumped state, a new one where it does not fit."""
        try:
            state = msgspec.msgpack.decode(body, type=AutoencoderState)
        except msgspec.MsgspecError:
            return self.new_state()
        charts = self.charts.load_state(msgspec.msgpack.encode(state.charts))
        fits = len(state.errors) in (0, len(self.spread)) and charts == state.charts
        return state if fits else self.new_state()

    def step(self, state: AutoencoderState, row: Row) -> Verdict | None:
        """Take in one minute; return the verdict on the block it shows to be over."""
        done = state.charts.signals.add(row)
        return None if done is None else self.judge(state, *done)

    def judge(self, state: AutoencoderState, start_ms: int, values: Sequence[float]) -> Verdict:
        """Return the verdict on a block's features; for who has them already."""
        self.charts.judge(state.charts, start_ms, values)
        errors = self.errors(np.array([state.charts.averages]))[0]
        state.errors = errors.tolist()
        since = state.since_ms or [0] * len(state.errors)
        far = np.abs(errors) > self.clear_limit
        state.since_ms = [
            (was or start_ms) if now else 0 for was, now in zip(since, far.tolist(), strict=True)
        ]
        score = float(_scores(errors[None])[0])
        return Verdict(score, score > self.limit)

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return starts and scores of all blocks that are over."""
        return self.judge_many(*featurise(minutes))

    def judge_many(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return starts and scores of blocks whose features are known already."""
        return starts, _scores(self.errors(self.charts.trace(starts, values)))

    def errors(self, after: Floats) -> Floats:
        """Return how far each input is from the network's, in usual residuals.

        `after` are averages of shape (step, scale, chart).
        """
        x = laid_out(after, self.charts.charts, self.inputs) / np.asarray(self.spread)
        expected = self.runtime.run(np.clip(x, -MOST_FED, MOST_FED))
        found: Floats = (np.clip(x, -MOST_COUNTED, MOST_COUNTED) - expected) / self.residual
        known = np.isin(self.inputs, self.charts.charts).repeat(len(SCALES_MS))
        found[:, ~known] = 0.0
        return found

    def explain(self, state: AutoencoderState) -> Explanation:
        """Return the average that is furthest from what the network expects."""
        if not state.errors:
            return Explanation("power", math.nan, math.nan, "W", 0, 0.0)
        worst = int(np.argmax(np.abs(state.errors)))
        place, scale = divmod(worst, len(SCALES_MS))
        chart = self.charts.charts.index(self.inputs[place])
        told = self.charts.describe(state.charts, scale, chart)
        return told._replace(since_ms=state.since_ms[worst] or state.charts.last_ms)


def laid_out(after: Floats, charts: Sequence[str], inputs: Sequence[str]) -> Floats:
    """Return averages (step, scale, chart) as the network takes them: a chart's scales together.

    A chart that this channel lacks is as usual: 0.
    """
    laid = np.zeros((len(after), len(inputs), len(SCALES_MS)))
    for number, name in enumerate(charts):
        laid[:, inputs.index(name)] = after[:, :, number]
    return laid.reshape(len(after), len(inputs) * len(SCALES_MS))


def _scores(errors: Floats) -> Floats:
    """Return the root mean square of each step's largest errors."""
    squares = np.sort(errors**2, axis=1)[:, -LARGEST:]
    result: Floats = np.sqrt(squares.mean(axis=1))
    return result


class AutoencoderFitter:
    """Fits all but the network on a channel's usual minutes, so it needs no TensorFlow.

    The network comes from training (`tinymodels.train.autoencoder`); None can fit nothing.
    """

    def __init__(self, network: bytes | None, inputs: Sequence[str] = tuple(CHARTS)) -> None:
        self._network = network
        self._inputs = tuple(inputs)

    def fit(self, minutes: Minutes, options: Options) -> AutoencoderModel:
        """Fit charts, spreads and limit; FitRefusedError with too little history or no network."""
        return self.fit_features(*featurise(minutes), options)

    def fit_features(self, starts: Times, values: Floats, options: Options) -> AutoencoderModel:
        """Fit on features; for who has them already."""
        if self._network is None:
            msg = "an autoencoder needs a trained network: wattwarden train makes one"
            raise FitRefusedError(msg)
        charts, after = CHARTS_FITTER.fit_held_out(starts, values, options)
        x = laid_out(after, charts.charts, self._inputs)
        spread = np.maximum(x.std(axis=0), LEAST_RESIDUAL)
        ones = np.ones(len(spread))
        model = AutoencoderModel(
            charts, self._inputs, self._network, spread.tolist(), ones.tolist(), 1.0
        )
        left = model.errors(after)
        residual = np.maximum(np.sqrt(np.mean(left**2, axis=0)), LEAST_RESIDUAL)
        model = msgspec.structs.replace(model, residual=residual.tolist())
        scores = _scores(left / residual)
        return model.with_limit(choose_limit(model, starts, scores, options.alarms_per_month))


FITTER: Final = AutoencoderFitter(None)

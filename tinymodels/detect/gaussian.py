"""Gaussian P(x) of a channel's features, given the time of day."""

import functools
from collections.abc import Sequence
from typing import ClassVar, Final, Self
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from msgspec import Struct, field

from tinymodels.detect import conditioning
from tinymodels.detect.conditioning import (
    Table,
    Usual,
    clock_basis,
    fit_usual,
    standardise,
    tabulate,
)
from tinymodels.detect.contract import Explanation, ModelRefusedError, Options, Verdict
from tinymodels.detect.fitted import FittedModel
from tinymodels.detect.history import (
    FLOORS,
    LEAST_DAYS_OF_DAY,
    check_enough,
    check_power,
    folds,
    known_enough,
)
from tinymodels.detect.limits import choose_limit
from tinymodels.detect.minutes import DAY_MS, STEP_MS, Floats, Minutes, Row, Times
from tinymodels.detect.signals import HOLE_MS, INDEX, Signals, natural
from tinymodels.detect.sweep import featurise

VERSION: Final = 2
FEATURES: Final = ("power", "base", "day", "voltage", "reactive", "power_factor")
CORRELATION_SHRINK: Final = 0.1
# An hour of improbable blocks makes an anomaly: the score is the least d² of nine in twelve.
PERSIST_M, PERSIST_N = 9, 12


class GaussianState(Struct, array_like=True):
    """What the Gaussian remembers."""

    signals: Signals = field(default_factory=Signals)
    last_ms: int = 0
    distances: list[float] = field(default_factory=list)  # d² of the last PERSIST_N blocks
    values: list[float] = field(default_factory=list)
    since_ms: int = 0


class GaussianModel(FittedModel, frozen=True, dict=True):
    """A fitted model: conditional mean and scale per feature, correlation, limit on d².

    P(x) < ε is the same as d² > `limit`: given the time of day, density falls with d² alone.
    """

    kind: ClassVar[str] = "gaussian"

    names: tuple[str, ...]
    usual: list[Usual]
    precision: list[list[float]]  # inverse correlation
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
            msg = f"not a Gaussian model: {error}; it must be fitted anew"
            raise ModelRefusedError(msg) from error
        if model.version != VERSION or not set(model.names) <= set(FEATURES):
            msg = f"Gaussian model of version {model.version}, not {VERSION}: fit it anew"
            raise ModelRefusedError(msg)
        conditioning.check(model.usual, len(model.names))
        if np.shape(model.precision) != (len(model.names), len(model.names)):
            msg = "a Gaussian whose correlation has not one row per feature: fit it anew"
            raise ModelRefusedError(msg)
        return model

    def new_state(self) -> GaussianState:
        """Return a state that has seen nothing."""
        return GaussianState()

    def load_state(self, body: bytes) -> GaussianState:
        """Return a dumped state, a new one where it is none."""
        try:
            return msgspec.msgpack.decode(body, type=GaussianState)
        except msgspec.MsgspecError:
            return self.new_state()

    def step(self, state: GaussianState, row: Row) -> Verdict | None:
        """Take in one minute; return the verdict on the block it shows to be over."""
        done = state.signals.add(row)
        return None if done is None else self.judge(state, *done)

    def judge(self, state: GaussianState, start_ms: int, values: Sequence[float]) -> Verdict:
        """Return the verdict on a block's features; for who has them already."""
        distance = float(self._distances(np.array([start_ms]), np.array([values]))[0])
        if start_ms - state.last_ms > HOLE_MS:
            state.distances = []
        state.distances = [*state.distances[1 - PERSIST_N :], distance]
        state.last_ms, state.values = start_ms, list(values)
        score = lasting(np.array([[0.0] * (PERSIST_N - len(state.distances)) + state.distances]))
        far = distance > self.clear_limit
        state.since_ms = (state.since_ms or start_ms) if far else 0
        return Verdict(float(score[0]), bool(score[0] > self.limit))

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return starts and scores of all blocks that are over."""
        return self.judge_many(*featurise(minutes))

    def judge_many(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return starts and scores of blocks whose features are known already."""
        return starts, persisting(starts, self._distances(starts, values))

    def explain(self, state: GaussianState) -> Explanation:
        """Return the feature that contributes most to the last block's d²."""
        if not state.values:
            return Explanation("power", float("nan"), float("nan"), "W", 0, 0.0)
        starts, values = np.array([state.last_ms]), np.array([state.values])
        z = self._z(starts, values)[0]
        most = int(np.argmax(z * (np.asarray(self.precision) @ z)))
        name = self.names[most]
        clock = clock_basis(starts, ZoneInfo(self.zone))
        mean = float(conditioning.expected(self.usual[most], clock, np.empty((1, 0)))[0])
        value, unit = natural(name, state.values[INDEX[name]])
        since_ms = state.since_ms or state.last_ms
        return Explanation(name, value, natural(name, mean)[0], unit, since_ms, float(z[most]))

    def _z(self, starts: Times, values: Floats) -> Floats:
        clock = clock_basis(starts, ZoneInfo(self.zone))
        columns = values[:, [INDEX[name] for name in self.names]]
        return np.nan_to_num(standardise(self._table, clock, columns, ()))

    @functools.cached_property
    def _table(self) -> Table:
        return tabulate(self.usual)

    @functools.cached_property
    def _inverse(self) -> Floats:
        return np.asarray(self.precision)

    def _distances(self, starts: Times, values: Floats) -> Floats:
        """Return d² of blocks; unknown features count as usual ones."""
        z = self._z(starts, values)
        result: Floats = ((z @ self._inverse) * z).sum(axis=1)
        return result


def lasting(windows: Floats) -> Floats:
    """Return of each row what PERSIST_M of its PERSIST_N values reach."""
    result: Floats = np.sort(windows, axis=1)[:, PERSIST_N - PERSIST_M]
    return result


def persisting(starts: Times, distances: Floats) -> Floats:
    """Return what most of the last hour's blocks reach, each hole of six hours a new beginning."""
    if not len(starts):
        return np.zeros(0)
    out = []
    cuts = np.flatnonzero(np.diff(starts) > HOLE_MS) + 1
    for part in np.split(distances, cuts):
        padded = np.concatenate([np.zeros(PERSIST_N - 1), part])
        out.append(lasting(np.lib.stride_tricks.sliding_window_view(padded, PERSIST_N)))
    return np.concatenate(out)


class GaussianFitter:
    """Fits by maximum likelihood with shrinkage; chooses ε from the budget of false alarms."""

    def fit(self, minutes: Minutes, options: Options) -> GaussianModel:
        """Fit on a channel's usual minutes."""
        return self.fit_features(*featurise(minutes), options)

    def fit_features(self, starts: Times, values: Floats, options: Options) -> GaussianModel:
        """Fit on features; for who has them already."""
        check_enough(starts)
        check_power(values)
        names = _usable(starts, values, options)
        columns = values[:, [INDEX[name] for name in names]]
        clock = clock_basis(starts, options.zone)
        floors = [FLOORS[name] for name in names]
        usual, precision = _fit(clock, columns, floors)
        held_out = np.empty(len(starts))
        for out in folds(starts):
            part, inverse = _fit(clock[~out], columns[~out], floors)
            z = np.nan_to_num(standardise(tabulate(part), clock[out], columns[out], ()))
            held_out[out] = ((z @ inverse) * z).sum(axis=1)
        scores = persisting(starts, held_out)
        model = GaussianModel(
            tuple(names), usual, precision.tolist(), 1.0, options.zone.key or "UTC",
            int(starts[0]), int(starts[-1]) + STEP_MS, len(starts),
        )  # fmt: skip
        return model.with_limit(choose_limit(model, starts, scores, options.alarms_per_month))


def _usable(starts: Times, values: Floats, options: Options) -> list[str]:
    """Return the features that are mostly known and vary."""
    names = []
    for name in FEATURES:
        column = values[:, INDEX[name]]
        known = column[np.isfinite(column)]
        if name == "voltage" and not options.voltage:
            continue
        if name == "day" and starts[-1] - starts[0] < LEAST_DAYS_OF_DAY * DAY_MS:
            continue
        if known_enough(column) and known.std() > FLOORS[name] / 10:
            names.append(name)
    return names


def _fit(clock: Floats, columns: Floats, floors: Sequence[float]) -> tuple[list[Usual], Floats]:
    """Return what is usual of each feature and the inverse of their correlation."""
    usual = []
    for number, floor in enumerate(floors):
        known = np.isfinite(columns[:, number])
        usual.append(
            fit_usual(clock[known], np.empty((known.sum(), 0)), columns[known, number], floor)
        )
    z = standardise(tabulate(usual), clock, columns, ())
    known = np.isfinite(z)
    z = np.clip(np.nan_to_num(z), -conditioning.WINSOR, conditioning.WINSOR)
    covariance = z.T @ z / np.maximum(known.T.astype(np.float64) @ known, 1.0)
    sigma = np.sqrt(np.maximum(np.diag(covariance), 1e-6))
    correlation = covariance / np.outer(sigma, sigma)
    eye = np.eye(len(sigma))
    return usual, _inverse((1 - CORRELATION_SHRINK) * correlation + CORRELATION_SHRINK * eye)


def _inverse(correlation: Floats) -> Floats:
    """Return the inverse of the nearest positive definite matrix (pairs may differ in rows)."""
    values, vectors = np.linalg.eigh(correlation)
    result: Floats = (vectors / np.maximum(values, CORRELATION_SHRINK / 2)) @ vectors.T
    return result


FITTER: Final = GaussianFitter()

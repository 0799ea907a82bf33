"""The product's detector: the charts, a second opinion, and the supply's upper limit, as one."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol, Self, cast

import msgspec
import numpy as np

from tinymodels.detect.blocks import block_table
from tinymodels.detect.charts import ChartsModel, ChartsState
from tinymodels.detect.contract import Explanation, Model, ModelRefusedError, Sources, Verdict
from tinymodels.detect.families import (
    FAMILIES,
    OF_CHARTS,
    POWER,
    SPECIAL,
    VOLTAGE,
    by_family,
    members,
)
from tinymodels.detect.fitted import FittedModel
from tinymodels.detect.injector import FaultName
from tinymodels.detect.minutes import STEP_MS, Floats, Minutes, Row, Times, block_of
from tinymodels.detect.signals import BASE_MS, INDEX, Signals
from tinymodels.detect.signatures import FAMILY, NONE, Held, Signatures
from tinymodels.detect.specials import NAMES as SPECIALS
from tinymodels.detect.specials import specials
from tinymodels.detect.sweep import featurise, sweep

VERSION: Final = 4
# What its scores are made of: the unusual of each family, then known faults, then this rule.
OVER_VOLTAGE: Final = "over_voltage"
# Where the paces of other homes go, a new one begins: what is told within hours seldom cries, what
# takes days cries more (chosen on months before those of the judgement: from 0 to -0.45, 0 to 0.2).
FIRST: Final = {
    FaultName.SWELL.value: -0.3,
    FaultName.REVERSED.value: -0.3,
    FaultName.STUCK_HEATER.value: -0.3,
    FaultName.DRIFT.value: 0.1,
    FaultName.FRIDGE.value: 0.1,
    FAMILIES[SPECIAL]: 0.1,
}
# EN 50160: 230 V + 10 %. Five minutes above it count whatever is usual here.
MOST_VOLTS: Final = 253.0
FOREVER_MS: Final = 2**62


class SecondOpinion(Model, Protocol):
    """A model that judges by the same features as the charts."""

    def judge(self, state: Any, start_ms: int, values: Sequence[float]) -> Verdict:  # noqa: ANN401
        """Return the verdict on a block's features."""

    def judge_many(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return starts and scores of blocks whose features are known."""


@dataclass(slots=True)
class CombinedState:
    """The features' memory, and what the parts remember besides."""

    signals: Signals
    charts: ChartsState
    other: Any
    volts: float = math.nan
    over_since_ms: int = 0
    loudest: str = FAMILIES[POWER]
    opinion: bool = False  # it is louder than the charts of power
    bases: list[tuple[int, float]] = field(default_factory=list)  # of the last two hours
    special: tuple[str, float, float, str] = ("law", math.nan, math.nan, "V/kW")
    special_since_ms: int = 0
    held: Held = field(default_factory=Held)


class CombinedModel(FittedModel, frozen=True, dict=True):
    """Charts, and a model of another kind whose scores count `weight` times.

    Its sources are what is unusual of each of FAMILIES, how like each known fault it is, and the
    rule of the voltage. Each family raises an alarm by itself.
    `over_voltage_v` None leaves that rule to who asks it of every reading, as the daemon does.
    """

    kind: ClassVar[str] = "combined"

    charts: ChartsModel
    other_kind: str
    other_body: bytes
    weight: float
    limit: float
    over_voltage_v: float | None = MOST_VOLTS
    levels: tuple[
        float, ...
    ] = ()  # of tinymodels.detect.specials; a level makes a score of `scale`
    scale: float = 1.0  # the limit chosen at the fit: another limit changes no score
    version: int = VERSION
    balance: tuple[float, ...] = (1.0,) * len(OF_CHARTS)  # times the families' scores
    signatures: Signatures = NONE
    alarms_per_month: float = 0.0  # that it was fitted for; 0: its alarms set no pace

    @functools.cached_property
    def sources(self) -> Sources:
        """Return the names and families of its scores."""
        faults = self.signatures.faults
        rule = (OVER_VOLTAGE,) if self.over_voltage_v is not None else ()
        return Sources(
            (*FAMILIES, *(fault.value for fault in faults), *rule),
            (*range(len(FAMILIES)), *(FAMILY[fault] for fault in faults), *(VOLTAGE for _ in rule)),
            self.alarms_per_month,
            frozenset(rule),
            FIRST,
        )

    def allowing(self, alarms_per_month: float) -> Self:
        """Return the model for another number of alarms."""
        return msgspec.structs.replace(self, alarms_per_month=alarms_per_month)

    @functools.cached_property
    def other(self) -> SecondOpinion:
        """Return the second opinion, with the limit that this model's one is for its scores."""
        from tinymodels.detect.kinds import load  # noqa: PLC0415 - which knows this module

        model = load(self.other_kind, self.other_body)
        times = self.weight * self.balance[POWER]
        return cast("SecondOpinion", model.with_limit(self.limit / max(times, 1e-12)))

    @property
    def trained(self) -> tuple[int, int]:
        """Return the span of the charts' data."""
        return self.charts.trained

    def without_rule(self) -> Self:
        """Return the model without the rule of the voltage: a rule of its own watches that."""
        return msgspec.structs.replace(self, over_voltage_v=None)

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Return the model with both parts loaded, or raise ModelRefusedError."""
        try:
            model = msgspec.msgpack.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            msg = f"no combined detector: {error}; it must be fitted anew"
            raise ModelRefusedError(msg) from error
        if model.version != VERSION or model.other_kind == cls.kind:
            msg = f"a combined detector of version {model.version} with {model.other_kind}"
            raise ModelRefusedError(msg)
        ChartsModel.from_bytes(model.charts.to_bytes())
        model.signatures.check(len(model.charts.charts), model.charts.zone)
        balanced = len(model.balance) == len(OF_CHARTS) and all(0 < x <= 1 for x in model.balance)
        weighed = math.isfinite(model.weight) and model.weight >= 0 and balanced
        if not weighed or model.other.step_ms != STEP_MS:
            msg = f"a combined detector whose {model.other_kind} does not fit: fit it anew"
            raise ModelRefusedError(msg)
        return model

    def new_state(self) -> CombinedState:
        """Return a state that has seen nothing."""
        return CombinedState(Signals(), self.charts.new_state(), self.other.new_state())

    def dump_state(self, state: CombinedState) -> bytes:
        """Return the state as msgpack."""
        parts = (
            msgspec.msgpack.encode(state.signals),
            self.charts.dump_state(state.charts),
            self.other_kind,
            self.other.dump_state(state.other),
            state.over_since_ms,
            state.loudest,
            state.bases,
            state.special_since_ms,
            state.held,
        )
        return msgspec.msgpack.encode(parts)

    def load_state(self, body: bytes) -> CombinedState:
        """Return a dumped state; what does not fit this model begins anew."""
        form = tuple[bytes, bytes, str, bytes, int, str, list[tuple[int, float]], int, Held]
        try:
            parts = msgspec.msgpack.decode(body, type=form)
            signals = msgspec.msgpack.decode(parts[0], type=Signals)
        except msgspec.MsgspecError:
            return self.new_state()
        same = parts[2] == self.other_kind
        other = self.other.load_state(parts[3]) if same else self.other.new_state()
        charts = self.charts.load_state(parts[1])
        return CombinedState(
            signals,
            charts,
            other,
            math.nan,
            parts[4],
            parts[5],
            bases=parts[6],
            special_since_ms=parts[7],
            held=parts[8],
        )

    def step(self, state: CombinedState, row: Row) -> Verdict | None:
        """Take in one minute; return the verdict on the block it shows to be over."""
        done = state.signals.add(row)
        return None if done is None else self.judge(state, *done)

    def warmed(self, minutes: Minutes) -> CombinedState:
        """Return the state after these minutes, as if each had been a `step`."""
        state, table = self.new_state(), block_table(minutes)
        if not len(minutes):
            return state
        open_ms = block_of(int(minutes.start_ms[-1]))
        table = table[table[:, 0] < open_ms]
        values = sweep(state.signals, table)
        for start_ms, row in zip(table[:, 0].tolist(), values.tolist(), strict=True):
            self.judge(state, int(start_ms), row)
        first = int(np.searchsorted(minutes.start_ms, open_ms))
        since_ms = int(minutes.start_ms[max(first - 1, 0)])
        state.signals.rows = list(minutes.between(since_ms, FOREVER_MS).rows())
        state.signals.before = min(first, 1)
        return state

    def judge(self, state: CombinedState, start_ms: int, values: Sequence[float]) -> Verdict:
        """Return the verdict on a block's features; for who has them already."""
        ratios = self.charts.advance(state.charts, start_ms, values).max(axis=0)
        scores = (by_family(ratios, self.charts.charts) * self.balance).tolist()
        opinion = self.weight * self.other.judge(state.other, start_ms, values).score
        opinion *= self.balance[POWER]
        state.opinion = opinion > scores[POWER]
        scores[POWER] = _most(scores[POWER], opinion)
        scores.append(self._specials(state, start_ms, values))
        after = np.array([state.charts.averages])
        scores += self.like(np.array([start_ms]), after, state.held)[0].tolist()
        state.volts = values[INDEX["volts"]]
        if self.over_voltage_v is not None:
            over = state.volts > self.over_voltage_v
            state.over_since_ms = (state.over_since_ms or start_ms) if over else 0
            scores.append(self.limit * state.volts / self.over_voltage_v if over else 0.0)
        score = functools.reduce(_most, scores)
        if score == score:  # not NaN  # noqa: PLR0124
            state.loudest = self.sources.names[scores.index(score)]
        return Verdict(score, score > self.limit, tuple(scores))

    def _specials(self, state: CombinedState, start_ms: int, values: Sequence[float]) -> float:
        """Return the most that the specials say, and remember it for an explanation."""
        if not self.levels:
            return 0.0
        told = specials(np.array([start_ms]), np.array([values]), state.bases)[0]
        state.bases = [item for item in state.bases if item[0] > start_ms - BASE_MS]
        state.bases.append((start_ms, values[INDEX["base"]]))
        scores = dict(zip(SPECIALS, (self.scale * told / self.levels).tolist(), strict=True))
        loudest = max(scores, key=lambda name: scores[name])
        if scores[loudest] <= self.clear_limit:
            state.special_since_ms = 0
        elif not state.special_since_ms and scores[loudest] > self.limit:
            state.special_since_ms = start_ms
        if loudest == "long_base":
            state.special = ("long_base", float(told[-1]), self.levels[-1], "W")
        else:
            state.special = ("law", values[INDEX["slope_2h"]], values[INDEX["supply"]], "V/kW")
        return float(scores[loudest])

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return starts and scores of all blocks that are over."""
        return self.judge_many(*featurise(minutes))

    def score_sources(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return starts of all blocks that are over, and their scores by source."""
        return self.judge_sources(*featurise(minutes))

    def judge_many(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return starts and scores of blocks whose features are known already."""
        return starts, self.judge_sources(starts, values)[1].max(axis=1)

    def judge_sources(self, starts: Times, values: Floats) -> tuple[Times, Floats]:
        """Return starts of blocks whose features are known, and their scores by source."""
        after = self.charts.trace(starts, values)
        ratios = self.charts.ratios(after).max(axis=1)
        opinions = self.weight * self.other.judge_many(starts, values)[1]
        scores = self.by_source(self.parts(ratios, opinions), self.like(starts, after, Held()))
        if self.levels:
            told = specials(starts, values) / np.asarray(self.levels)
            scores[:, SPECIAL] = self.scale * told.max(axis=1, initial=0.0)
        if self.over_voltage_v is not None:
            volts = values[:, INDEX["volts"]]
            over = np.where(volts > self.over_voltage_v, volts / self.over_voltage_v, 0.0)
            scores[:, -1] = self.limit * over
        return starts, scores

    def parts(self, ratios: Floats, opinions: Floats) -> Floats:
        """Return scores by OF_CHARTS, of the charts' ratios (step, chart) and weighed opinions."""
        scores = by_family(ratios, self.charts.charts)
        scores[:, POWER] = np.maximum(scores[:, POWER], opinions)
        result: Floats = scores * self.balance
        return result

    def by_source(self, unusual: Floats, like: Floats) -> Floats:
        """Return scores by source, of OF_CHARTS (step, family) and known faults (step, fault).

        Those of the special tests and of the rule are 0.
        """
        scores = np.zeros((len(unusual), len(self.sources.names)))
        scores[:, OF_CHARTS] = unusual
        scores[:, len(FAMILIES) : len(FAMILIES) + like.shape[1]] = like
        return scores

    def like(self, starts: Times, after: Floats, held: Held) -> Floats:
        """Return how like each fault averages (step, scale, chart) are, (step, fault)."""
        return self.signatures.hold(starts, self.signatures.scores(starts, after), held)

    def explain(self, state: CombinedState) -> Explanation:
        """Return what the loudest source says."""
        names = self.sources.names
        return self.explain_source(
            state, names.index(state.loudest) if state.loudest in names else POWER
        )

    def explain_source(self, state: CombinedState, source: int) -> Explanation:
        """Return what one source says; a known fault's names it."""
        if source < len(FAMILIES):
            return self._explain_unusual(state, source)
        if self.sources.names[source] == OVER_VOLTAGE:
            limit_v = self.over_voltage_v or MOST_VOLTS
            return Explanation("over_voltage", state.volts, limit_v, "V", state.over_since_ms, 0.0)
        fault = source - len(FAMILIES)
        after = np.array(state.charts.averages)
        told = self.charts.describe(state.charts, *self.signatures.loudest(after, fault))
        return told._replace(like=self.signatures.faults[fault].value)

    def _explain_unusual(self, state: CombinedState, family: int) -> Explanation:
        """Return what one of FAMILIES says where no fault is known."""
        if family == SPECIAL:
            feature, now, usual, unit = state.special
            return Explanation(feature, now, usual, unit, state.special_since_ms, 0.0)
        if family == POWER and state.opinion:
            return self.other.explain(state.other)
        return self.charts.explain(state.charts, members(self.charts.charts, family))


def _most(one: float, other: float) -> float:
    """Return the greater of two, NaN where either is."""
    return math.nan if math.isnan(one) or math.isnan(other) else max(one, other)

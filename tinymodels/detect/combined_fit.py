"""Fits the product's detector: charts, a second opinion, known faults, and one limit on all."""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from tinymodels.detect.charts import FITTER as CHARTS_FITTER
from tinymodels.detect.combined import MOST_VOLTS, CombinedModel, SecondOpinion
from tinymodels.detect.contract import FitRefusedError, Options
from tinymodels.detect.examples import Example, begins, examples, planned, span_of
from tinymodels.detect.families import OF_CHARTS
from tinymodels.detect.gaussian import FITTER as GAUSSIAN_FITTER
from tinymodels.detect.injector import measured_slope
from tinymodels.detect.limits import Spending, choose_limit, nth_event
from tinymodels.detect.minutes import DAY_MS, Floats, Minutes, Times
from tinymodels.detect.signature_fit import fit_signatures
from tinymodels.detect.signatures import Held
from tinymodels.detect.specials import levels, specials
from tinymodels.detect.sweep import featurise_marked

# The second opinion is scaled so that this one of its events in the history reaches 1, as a
# chart's eighth does: it speaks more rarely than a chart.
OTHER_EVENT: Final = 2
# So that none of them takes up the budget of all, a family of which this one of its events in the
# history goes above 1 is scaled down to it (chosen of none, 1, 2 and 3 on months before those of
# the judgement). None is scaled up: what never varied may begin to, a little.
BALANCE_EVENT: Final = 2
# Beside known faults, what is merely unusual counts this part: most of the budget is for what can
# be named (chosen of none, .35, .5, .7, .85 and 1 on such months).
UNKNOWN_PART: Final = 0.6
# What is learned from a history knows it a little too well (chosen of 1, 1.1, 1.2, 1.3 likewise).
LEARNED_MARGIN: Final = 1.15
# A home changes from month to month. So that the limit knows by how much, a model of the weeks
# before these days is tried in them, and may spend this part of the budget there.
AHEAD_MS: Final = 21 * DAY_MS
LEAST_BEFORE_MS: Final = 21 * DAY_MS
AHEAD: Final = Spending(0.75, margin=1.0)
WARM_UP_MS: Final = 6 * DAY_MS


class SecondFitter(Protocol):
    """Fits a second opinion on features."""

    def fit_features(self, starts: Times, values: Floats, options: Options) -> SecondOpinion:
        """Fit; FitRefusedError with too little history."""


class CombinedFitter:
    """Fits charts and a second opinion, and one limit on both together."""

    def __init__(
        self, other: SecondFitter = GAUSSIAN_FITTER, over_voltage_v: float | None = MOST_VOLTS
    ) -> None:
        """Take what fits the second opinion; `over_voltage_v` as for the model."""
        self._other = other
        self._over_voltage_v = over_voltage_v

    def fit(self, minutes: Minutes, options: Options) -> CombinedModel:
        """Fit on a channel's usual minutes."""
        tried = planned(span_of(minutes))
        starts, values, states = featurise_marked(minutes, begins(tried))
        found = examples(minutes, tried, states, measured_slope(minutes))
        return self.fit_examples(starts, values, options, found)

    def fit_features(self, starts: Times, values: Floats, options: Options) -> CombinedModel:
        """Fit on features alone, for who has them already: no known fault is looked for."""
        return self.fit_examples(starts, values, options, ())

    def fit_examples(
        self, starts: Times, values: Floats, options: Options, found: Sequence[Example]
    ) -> CombinedModel:
        """Fit on features, and on examples of faults in them (tinymodels.detect.examples)."""
        model = self._fit(starts, values, options, found)
        limit = max(model.limit, self._ahead(starts, values, options, found))
        limit *= LEARNED_MARGIN if model.signatures.faults else 1.0
        return msgspec.structs.replace(model, limit=limit, scale=limit)

    def _ahead(
        self, starts: Times, values: Floats, options: Options, found: Sequence[Example]
    ) -> float:
        """Return the limit that the last weeks ask of a model of those before, 0.0 of too few."""
        cut_ms = int(starts[-1]) - AHEAD_MS
        if cut_ms - int(starts[0]) < LEAST_BEFORE_MS:
            return 0.0
        warm, first = np.searchsorted(starts, [cut_ms - WARM_UP_MS, cut_ms])
        known = [one for one in found if one.starts[-1] < cut_ms]
        try:
            young = self._fit(starts[:first], values[:first], options, known)
        except FitRefusedError:
            return 0.0
        young = msgspec.structs.replace(young, over_voltage_v=None, levels=())
        at_ms, scores = young.judge_families(starts[warm:], values[warm:])
        late = at_ms >= cut_ms
        return choose_limit(young, at_ms[late], scores[late], options.alarms_per_month, AHEAD)

    def _fit(
        self, starts: Times, values: Floats, options: Options, found: Sequence[Example]
    ) -> CombinedModel:
        """Fit, and choose the limit by the history itself."""
        charts, after = CHARTS_FITTER.fit_held_out(starts, values, options)
        other = self._other.fit_features(starts, values, options)
        opinions = other.judge_many(starts, values)[1]
        weight = 1 / max(nth_event(starts, opinions, OTHER_EVENT), 1e-9)
        learned = fit_signatures(charts, (starts, after), found)
        # The limit of a part is of no account here; a fixed one keeps models of different
        # budgets alike but for their own limit.
        model = CombinedModel(
            charts.with_limit(1.0),
            other.kind,
            other.with_limit(1.0).to_bytes(),
            weight,
            1.0,
            self._over_voltage_v if options.voltage else None,
            levels(starts, specials(starts, values)),
            signatures=learned.signatures,
        )
        told = (charts.ratios(after).max(axis=1), weight * opinions)
        model = _balanced(model, starts, *told)
        known = learned.signatures
        scores = known.by_family(known.hold(starts, learned.scores, Held()))
        scores[:, OF_CHARTS] = np.maximum(scores[:, OF_CHARTS], model.parts(*told))
        limit = choose_limit(model, starts, scores, options.alarms_per_month)
        return msgspec.structs.replace(model, limit=limit)


def _balanced(
    model: CombinedModel, starts: Times, ratios: Floats, opinions: Floats
) -> CombinedModel:
    """Return a model whose families of charts have their parts of the budget."""
    plain = model.parts(ratios, opinions)
    part = UNKNOWN_PART if model.signatures.faults else 1.0
    events = [nth_event(starts, plain[:, one], BALANCE_EVENT) for one in OF_CHARTS]
    return msgspec.structs.replace(model, balance=tuple(part / max(one, 1.0) for one in events))


FITTER: Final = CombinedFitter()

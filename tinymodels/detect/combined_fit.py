"""Fits the product's detector: charts, a second opinion, known faults, and one limit on all."""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from tinymodels.detect.charts import FITTER as CHARTS_FITTER
from tinymodels.detect.combined import MOST_VOLTS, CombinedModel, SecondOpinion
from tinymodels.detect.contract import Options
from tinymodels.detect.examples import Example, begins, examples, planned, span_of
from tinymodels.detect.families import OF_CHARTS
from tinymodels.detect.gaussian import FITTER as GAUSSIAN_FITTER
from tinymodels.detect.injector import measured_slope
from tinymodels.detect.limits import choose_limit, nth_event
from tinymodels.detect.minutes import Floats, Minutes, Times
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
# What is learned from a history knows it a little too well; from here on alarms set the pace
# (chosen of 1, 1.08, 1.15 and 1.22 likewise).
LEARNED_MARGIN: Final = 1.15


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
            alarms_per_month=options.alarms_per_month,
        )
        told = (charts.ratios(after).max(axis=1), weight * opinions)
        model = _balanced(model, starts, *told)
        known = learned.signatures
        like = known.hold(starts, learned.scores, Held())
        scores = model.by_source(model.parts(*told), like)
        limit = choose_limit(model, starts, scores, options.alarms_per_month)
        limit *= LEARNED_MARGIN if known.faults else 1.0
        return msgspec.structs.replace(model, limit=limit, scale=limit)


def _balanced(
    model: CombinedModel, starts: Times, ratios: Floats, opinions: Floats
) -> CombinedModel:
    """Return a model whose families of charts have their parts of the budget."""
    plain = model.parts(ratios, opinions)
    part = UNKNOWN_PART if model.signatures.faults else 1.0
    events = [nth_event(starts, plain[:, one], BALANCE_EVENT) for one in OF_CHARTS]
    return msgspec.structs.replace(model, balance=tuple(part / max(one, 1.0) for one in events))


FITTER: Final = CombinedFitter()

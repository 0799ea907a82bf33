"""Fit a channel's detector from its own minutes, alert periods left out."""

from array import array
from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
import structlog

from gateway.domain.alerts import Alert, AlertKind
from gateway.pipeline.rollups import Bucket
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.contract import FitRefusedError, Options
from tinymodels.detect.history import first_weeks
from tinymodels.detect.minutes import DAY_MS, Minutes, Row, or_nan
from tinymodels.detect.refit import refit

log = structlog.get_logger()
WEEKS_8_MS = 56 * DAY_MS  # docs: fitted once a month on the trailing eight weeks
FOREVER_MS = 2**62
# Of what came last a new model's averages are warm when it begins to judge.
WARM_UP_MS = 5 * DAY_MS
COLUMNS = 12  # start; sum and time of p, v, q, i; p_min, p_max, v_max
RESOLUTION = "1m"


class Fitted(NamedTuple):
    """A model to judge by from now on, and its state after the last minute of the history.

    `peak_mb` is the most memory that the process of its own had which made it, if one did.
    """

    model: CombinedModel
    memory: bytes
    why: str
    peak_mb: float | None = None

    def caught_up(self, rows: Iterable[Row]) -> bytes:
        """Return the state after further minutes, which came while it was made."""
        state, count = self.model.load_state(self.memory), 0
        for count, row in enumerate(rows, 1):  # noqa: B007 - whether there was any
            self.model.step(state, row)
        return self.model.dump_state(state) if count else self.memory


class History:
    """A channel's minutes, and the spans in which something was wrong."""

    def __init__(self, buckets: Iterable[Bucket], alert_spans: dict[str, tuple[int, int]]) -> None:
        """Take what is stored; `alert_spans` are (from, to) in ms by alert id."""
        self._parts = array("d")  # COLUMNS numbers per part of a minute: eight weeks are 8 MB
        self._spans = alert_spans
        self._anomalies: dict[str, tuple[int, int]] = {}  # as `_spans`, whole
        self.add(buckets)

    def table(self) -> tuple[memoryview, list[tuple[int, int]]]:
        """Return all it holds as bytes (no copy) and spans, for a process on this machine."""
        return memoryview(self._parts).cast("B"), self._unusual()

    @classmethod
    def of_table(cls, parts: bytes | memoryview, spans: Iterable[tuple[int, int]]) -> Self:
        """Return what `table` was made of."""
        made = cls((), {str(number): span for number, span in enumerate(spans)})
        made._parts.frombytes(parts)
        return made

    def add_alerts(self, alerts: Iterable[Alert], meter: str, channel: str) -> None:
        """Add alerts that are not written yet, if they are about this channel."""
        for alert in alerts:
            if alert.key[:2] in ((meter, channel), (meter, "")):
                end_ms = FOREVER_MS if alert.resolved_ms is None else alert.resolved_ms
                lasts = alert.key[2] is AlertKind.ANOMALY  # which becomes the new normal
                spans = self._anomalies if lasts else self._spans
                spans[alert.id] = (alert.opened_ms, end_ms)

    def add(self, buckets: Iterable[Bucket]) -> None:
        """Add parts that are not written yet."""
        for bucket in buckets:
            if bucket.p_dt:
                self._parts.extend((
                    bucket.start_ms, bucket.p_sum, bucket.p_dt, bucket.v_sum, bucket.v_dt,
                    bucket.q_sum, bucket.q_dt, bucket.i_sum, bucket.i_dt,
                    or_nan(bucket.p_min), or_nan(bucket.p_max), or_nan(bucket.v_max),
                ))  # fmt: skip

    def minutes(self, before_ms: int = FOREVER_MS) -> Minutes:
        """Return all minutes that start before a time."""
        parts = np.frombuffer(self._parts, dtype=np.float64).reshape(-1, COLUMNS)
        parts = parts[parts[:, 0] < before_ms]
        starts, which = np.unique(parts[:, 0], return_inverse=True)
        sums = np.zeros((len(starts), 8))
        np.add.at(sums, which, parts[:, 1:9])
        extremes = np.full((3, len(starts)), np.nan)
        np.fmin.at(extremes[0], which, parts[:, 9])
        np.fmax.at(extremes[1], which, parts[:, 10])
        np.fmax.at(extremes[2], which, parts[:, 11])
        with np.errstate(invalid="ignore", divide="ignore"):
            p, v, q, i = (sums[:, 2 * k] / sums[:, 2 * k + 1] for k in range(4))
        values = np.column_stack([p, extremes[0], extremes[1], v, extremes[2], q, i])
        return Minutes(starts.astype(np.int64), values)

    def usual(self, before_ms: int = FOREVER_MS) -> Minutes:
        """Return the minutes outside alerts."""
        return self.minutes(before_ms).without(self._unusual())

    def _unusual(self) -> list[tuple[int, int]]:
        return [*self._spans.values(), *first_weeks(self._anomalies.values())]


def fit_channel(
    history: History, options: Options, champion: CombinedModel | None, before_ms: int = FOREVER_MS
) -> Fitted | None:
    """Return a model, warm, or None while there is too little history or the old one is better.

    `before_ms` is where the minute begins that is open: it is still to come. Blocks; takes a
    second or two.
    """
    try:
        made = refit(history.usual(before_ms), options, champion)
    except FitRefusedError as error:
        log.info("fit_refused", why=str(error))
        return None
    if made.model is None:
        log.warning("refit_not_taken", why=made.why)
        return None
    return Fitted(made.model, _warm(made.model, history.minutes(before_ms)), made.why)


def _warm(model: CombinedModel, minutes: Minutes) -> bytes:
    """Return the model's state after the last days, as if it had judged them."""
    if len(minutes):
        minutes = minutes.between(int(minutes.start_ms[-1]) - WARM_UP_MS, FOREVER_MS)
    return model.dump_state(model.warmed(minutes))

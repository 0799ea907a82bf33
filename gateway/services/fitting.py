"""Fit a channel's Gaussian from its own quarter hours, alert periods left out."""

import math
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from gateway.domain.alerts import Alert, AlertKind
from gateway.pipeline.rollups import FIXED_MS, Bucket
from tinymodels.detect.features import Quarter
from tinymodels.detect.gaussian import FitRefusedError, GaussianModel, Options, fit

WEEKS_8_MS = 56 * 86_400_000  # docs: fitted once a month on the trailing eight weeks
QUARTER_MS = FIXED_MS["15m"]
FOREVER_MS = 2**62
NEW_NORMAL_MS = 7 * 86_400_000


class History:
    """A channel's 15-minute intervals, and the spans in which something was wrong."""

    def __init__(self, buckets: Iterable[Bucket], alert_spans: dict[str, tuple[int, int]]) -> None:
        """Take what is stored; `alert_spans` are (from, to) in ms by alert id."""
        self._buckets: dict[int, Bucket] = {}
        self._spans = alert_spans
        self.add(buckets)

    def add_alerts(self, alerts: Iterable[Alert], meter: str, channel: str) -> None:
        """Add alerts that are not written yet, if they are about this channel."""
        for alert in alerts:
            if alert.key[:2] in ((meter, channel), (meter, "")):
                end_ms = FOREVER_MS if alert.resolved_ms is None else alert.resolved_ms
                if alert.key[2] is AlertKind.ANOMALY:  # what lasts is the new normal
                    end_ms = min(end_ms, alert.opened_ms + NEW_NORMAL_MS)
                self._spans[alert.id] = (alert.opened_ms, end_ms)

    def add(self, buckets: Iterable[Bucket]) -> None:
        """Add parts that are not written yet."""
        for bucket in buckets:
            known = self._buckets.setdefault(bucket.start_ms, Bucket(bucket.start_ms))
            known.merge(bucket)

    def quarters(self) -> list[Quarter]:
        """Return the usual quarters in time order."""
        return [
            _quarter(bucket)
            for start_ms, bucket in sorted(self._buckets.items())
            if bucket.p_dt and not self._is_alert(start_ms)
        ]

    def _is_alert(self, start_ms: int) -> bool:
        end_ms = start_ms + QUARTER_MS
        return any(low < end_ms and start_ms < high for low, high in self._spans.values())


def _quarter(bucket: Bucket) -> Quarter:
    return Quarter(
        bucket.start_ms,
        _or_nan(bucket.mean("p")),
        _or_nan(bucket.p_min),
        _or_nan(bucket.p_max),
        _or_nan(bucket.mean("v")),
        _or_nan(bucket.mean("q")),
        _or_nan(bucket.mean("i")),
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def fit_channel(
    history: History, zone: ZoneInfo, alarms_per_month: float, *, voltage: bool
) -> GaussianModel | None:
    """Return a model, or None while there is too little, or too even, history."""
    try:
        return fit(history.quarters(), Options(zone, alarms_per_month, voltage))
    except FitRefusedError:
        return None

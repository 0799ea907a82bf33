"""What a fit is made on: minutes of the store and of memory, without what was alarming."""

import random
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from msgspec.structs import replace

from gateway.domain.alerts import Alert, AlertKind, AlertState, Severity
from gateway.pipeline.rollups import Bucket
from gateway.services.fitting import WARM_UP_MS, History, fit_channel
from tests.tinymodels.detect.homes import MIDNIGHT_MS, following, home
from tinymodels.detect.combined_fit import FITTER
from tinymodels.detect.contract import Options
from tinymodels.detect.history import NEW_NORMAL_MS
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes

OPTIONS = Options(ZoneInfo("Europe/Lisbon"), 4.0)
HOUR_MS = 60 * MINUTE_MS


def buckets(minutes: Minutes) -> list[Bucket]:
    """Return the minutes as the store keeps them."""
    span_ms = MINUTE_MS
    return [
        Bucket(
            row.start_ms, 60, span_ms,
            p_sum=row.p_mean_w * span_ms, p_dt=span_ms, p_min=row.p_min_w, p_max=row.p_max_w,
            v_sum=row.v_mean_v * span_ms, v_dt=span_ms, v_max=row.v_max_v,
            q_sum=row.q_mean_var * span_ms, q_dt=span_ms,
            i_sum=row.i_mean_a * span_ms, i_dt=span_ms,
        )
        for row in minutes.rows()
    ]  # fmt: skip


def halves(whole: Bucket) -> tuple[Bucket, Bucket]:
    """Return a minute as two parts, as it is written when its end is still to come."""
    sums = {
        name: getattr(whole, name) / 2
        for name in ("p_sum", "v_sum", "q_sum", "i_sum", "p_dt", "v_dt", "q_dt", "i_dt")
    }
    first = replace(whole, **sums, p_max=whole.p_min)
    return first, replace(whole, **sums, p_min=whole.p_max)


def alert(kind: AlertKind, opened_ms: int, resolved_ms: int | None, **other: object) -> Alert:
    usual: dict[str, object] = {
        "id": f"{kind}{opened_ms}", "key": ("home", "grid", kind), "severity": Severity.WARNING,
        "state": AlertState.OPEN, "opened_ms": opened_ms, "updated_ms": opened_ms,
        "resolved_ms": resolved_ms, "count": 1, "title": "", "detail": "", "evidence": {},
        "snoozed_until_ms": None, "historic": False, "muted": False,
    }  # fmt: skip
    return Alert(**(usual | other))  # type: ignore[arg-type] # a test's own typing


def test_parts_of_minutes_add_up_whatever_their_order() -> None:
    minutes = home(0.2)
    parts = [part for whole in buckets(minutes) for part in halves(whole)]
    random.Random(3).shuffle(parts)
    history = History(parts[:100], {})
    history.add(parts[100:])
    found = history.minutes()
    assert found.start_ms.tolist() == minutes.start_ms.tolist()
    np.testing.assert_allclose(found.values, minutes.values)
    open_ms = int(minutes.start_ms[-1])
    assert len(history.minutes(open_ms)) == len(minutes) - 1


def test_what_is_not_measured_is_unknown() -> None:
    (row,) = History([Bucket(MIDNIGHT_MS, 1, 1000, p_sum=5e5, p_dt=1000)], {}).minutes().rows()
    assert row.p_mean_w == 500.0
    assert all(np.isnan(row[2:]))
    assert len(History([Bucket(MIDNIGHT_MS, 1, 1000)], {}).minutes()) == 0


def test_alerts_are_left_out() -> None:
    minutes = home(10)
    history = History(buckets(minutes), {})
    at_ms = MIDNIGHT_MS + 2 * DAY_MS
    told = alert(AlertKind.OVER_VOLTAGE, at_ms, at_ms + HOUR_MS)
    lasting = alert(AlertKind.ANOMALY, MIDNIGHT_MS + 3 * DAY_MS, None)
    key = ("home", "load1", AlertKind.OVER_CURRENT)
    elsewhere = alert(AlertKind.OVER_CURRENT, MIDNIGHT_MS, at_ms, key=key)
    history.add_alerts([told, lasting, elsewhere], "home", "grid")
    gone = set(minutes.start_ms.tolist()) - set(history.usual().start_ms.tolist())
    expected = {ms for ms in gone if ms < at_ms + HOUR_MS}
    assert (min(expected), max(expected)) == (at_ms, at_ms + HOUR_MS - MINUTE_MS)
    # What has lasted a week is the new normal.
    assert max(gone) == MIDNIGHT_MS + 3 * DAY_MS + NEW_NORMAL_MS - MINUTE_MS


def test_what_was_raised_anew_all_week_is_the_new_normal() -> None:
    minutes = home(12)
    history = History(buckets(minutes), {})
    day_ms = [MIDNIGHT_MS + day * DAY_MS for day in range(11)]
    told = [
        alert(AlertKind.ANOMALY, from_ms, to_ms) for from_ms, to_ms in pairwise(day_ms[1:])
    ]  # each ends where the next begins
    history.add_alerts(told, "home", "grid")
    kept = history.usual().start_ms
    assert len(kept) == 5 * 1440
    assert set(kept // DAY_MS) == set(np.delete(minutes.start_ms, slice(1440, 8 * 1440)) // DAY_MS)
    copy = History.of_table(*history.table())  # as the process of a fit gets it
    assert copy.usual().start_ms.tolist() == kept.tolist()
    apart = History(buckets(minutes), {})
    apart.add_alerts(told[::2], "home", "grid")  # one that is over is no part of the next
    assert len(apart.usual()) == 7 * 1440


def test_a_fitted_model_is_warm_and_goes_on_as_if_it_had_judged_all_along() -> None:
    history, after = home(14), following(2, 14, 6)
    fitted = fit_channel(History(buckets(history), {}), OPTIONS, None)
    assert fitted is not None
    model = fitted.model
    state = model.load_state(fitted.memory)
    live = [verdict for row in after.rows() if (verdict := model.step(state, row)) is not None]
    whole = Minutes(
        np.concatenate([history.start_ms, after.start_ms]),
        np.concatenate([history.values, after.values]),
    )
    _, scores = model.score(whole.between(int(history.start_ms[-1]) - WARM_UP_MS, 2**62))
    np.testing.assert_allclose([one.score for one in live], scores[-len(live) :], atol=1e-6)


def test_too_little_history_makes_no_model() -> None:
    assert fit_channel(History(buckets(home(3)), {}), OPTIONS, None) is None


def test_a_worse_model_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(buckets(home(24)), {})
    first = fit_channel(History(buckets(home(15)), {}), OPTIONS, None)
    assert first is not None
    fit = FITTER.fit_examples
    monkeypatch.setattr(FITTER, "fit_examples", lambda *a: fit(*a).with_limit(1000.0))
    assert fit_channel(history, OPTIONS, first.model) is None

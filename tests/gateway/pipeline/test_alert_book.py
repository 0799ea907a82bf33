"""The alert book: one open alert per key, from opening to resolution, and what people do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.alerts import Alert, AlertKind, AlertState, Finding, Severity
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.pipeline.alert_book import AlertBook, Change, alert_id, judged

KEY = ("home", "grid", AlertKind.OVER_CURRENT)
HOUR_MS = 3_600_000
T0 = 1_760_000_000_000


def active(at_ms: int, severity: Severity = Severity.WARNING, *, fresh: bool = False) -> Finding:
    return Finding(
        KEY,
        active=True,
        at_ms=at_ms,
        severity=severity,
        title="Current too high",
        detail="too much",
        evidence={"current_a": 41.0},
        fresh=fresh,
    )


def cleared(at_ms: int) -> Finding:
    return Finding(KEY, active=False, at_ms=at_ms, detail="fine again")


def apply(book: AlertBook, finding: Finding) -> Change:
    change = book.apply(finding, now_ms=finding.at_ms, historic=False)
    assert change is not None
    return change


def opened() -> tuple[AlertBook, Alert]:
    book = AlertBook(())
    return book, apply(book, active(T0, fresh=True)).alert


def test_opens_counts_and_is_resolved_by_system() -> None:
    book, alert = opened()
    assert (alert.state, alert.count, alert.opened_ms) == (AlertState.OPEN, 1, T0)
    assert alert.id == alert_id(KEY, T0)
    again = apply(book, active(T0 + 300_000))
    assert (again.alert.count, again.is_new, again.history) == (2, False, ())
    over = apply(book, cleared(T0 + 400_000))
    assert over.alert.state is AlertState.RESOLVED
    assert over.alert.resolved_ms == T0 + 400_000
    assert over.history[0].who == "system"
    assert book.open_alerts == ()
    assert book.apply(cleared(T0 + 500_000), now_ms=0, historic=False) is None


def test_escalation_is_the_same_alert_and_wants_attention_anew() -> None:
    book, alert = opened()
    book.acknowledge(alert.id, who="ana", at_ms=T0 + 1)
    worse = apply(book, active(T0 + 10, Severity.CRITICAL))
    assert worse.alert.id == alert.id
    assert worse.alert.severity is Severity.CRITICAL
    assert worse.alert.state is AlertState.OPEN
    assert "escalated" in worse.history[0].what
    milder = apply(book, active(T0 + 20, Severity.WARNING))
    assert milder.alert.severity is Severity.CRITICAL
    assert milder.history == ()


def test_acknowledging_does_not_resolve_and_is_idempotent() -> None:
    book, alert = opened()
    done = book.acknowledge(alert.id, who="ana", at_ms=T0 + 5)
    assert done.alert.state is AlertState.ACKNOWLEDGED
    assert [(e.who, e.what) for e in done.history] == [("ana", "acknowledged")]
    assert book.acknowledge(alert.id, who="rui", at_ms=T0 + 6).history == ()
    assert apply(book, active(T0 + 300_000)).alert.state is AlertState.ACKNOWLEDGED
    assert apply(book, cleared(T0 + 400_000)).alert.state is AlertState.RESOLVED


def test_resolved_by_hand_it_opens_again_after_an_hour_while_it_lasts() -> None:
    book, alert = opened()
    done = book.resolve(alert.id, who="ana", at_ms=T0 + 1000, note="seen")
    assert done.history[0].what == "resolved: seen"
    for minute in range(5, 60, 5):
        late = active(T0 + minute * 60_000)
        assert book.apply(late, now_ms=late.at_ms, historic=False) is None
    again = apply(book, active(T0 + 1000 + HOUR_MS))
    assert again.is_new
    assert again.alert.id != alert.id
    assert "still lasts" in again.history[0].what


def test_resolved_by_hand_a_new_occurrence_opens_at_once() -> None:
    book, alert = opened()
    book.resolve(alert.id, who="ana", at_ms=T0 + 1000)
    assert apply(book, active(T0 + 2000, fresh=True)).is_new


def test_a_clearing_ends_the_quiet_hour_also_for_findings_that_know_no_beginning() -> None:
    book, alert = opened()
    book.resolve(alert.id, who="ana", at_ms=T0 + 1000)
    assert book.apply(cleared(T0 + 2000), now_ms=0, historic=False) is None
    assert apply(book, active(T0 + 3000)).is_new


def test_the_quiet_hour_outlives_a_restart() -> None:
    book, alert = opened()
    done = book.resolve(alert.id, who="ana", at_ms=T0 + 1000).alert
    book = AlertBook((), [done])
    assert book.apply(active(T0 + 300_000), now_ms=0, historic=False) is None
    assert apply(book, active(T0 + 1000 + HOUR_MS)).is_new


def test_snooze_until_when_and_its_end() -> None:
    book, alert = opened()
    snoozed = book.snooze(alert.id, who="ana", at_ms=T0 + 10, minutes=30).alert
    assert snoozed.snoozed_until_ms == T0 + 10 + 1_800_000
    assert apply(book, active(T0 + 300_000)).alert.snoozed_until_ms is not None
    assert apply(book, active(T0 + 2_000_000)).alert.snoozed_until_ms is None
    book.snooze(alert.id, who="ana", at_ms=T0 + 2_000_001, minutes=30)
    assert book.snooze(alert.id, who="ana", at_ms=T0 + 9, minutes=0).alert.snoozed_until_ms is None


def test_verdicts_on_open_and_resolved_alerts() -> None:
    book, alert = opened()
    right = book.verdict(alert.id, who="ana", at_ms=T0 + 5, right=True)
    assert right.history[0].what == "verdict: right"
    apply(book, cleared(T0 + 10))
    wrong = book.verdict(alert.id, who="ana", at_ms=T0 + 20, right=False, note="it was the oven")
    assert wrong.history[0].what == "verdict: wrong: it was the oven"
    assert wrong.alert.state is AlertState.RESOLVED
    assert judged(alert, who="x", at_ms=T0, right=True).history[0].at_ms == T0


def test_what_cannot_be_done_is_said_in_one_line() -> None:
    book, alert = opened()
    with pytest.raises(NotFoundError, match="no alert nope"):
        book.acknowledge("nope", who="ana", at_ms=T0)
    with pytest.raises(NotFoundError, match="no alert nope"):
        book.verdict("nope", who="ana", at_ms=T0, right=True)
    with pytest.raises(BadInputError, match="minutes: -1"):
        book.snooze(alert.id, who="ana", at_ms=T0, minutes=-1)
    with pytest.raises(BadInputError, match="note: 1001 characters"):
        book.resolve(alert.id, who="ana", at_ms=T0, note="x" * 1001)
    book.resolve(alert.id, who="ana", at_ms=T0 + 1)
    assert book.resolve(alert.id, who="ana", at_ms=T0 + 2).history == ()
    with pytest.raises(BadInputError, match="resolved already"):
        book.acknowledge(alert.id, who="ana", at_ms=T0 + 3)
    with pytest.raises(BadInputError, match="resolved already"):
        book.snooze(alert.id, who="ana", at_ms=T0 + 3, minutes=5)


def test_historic_alerts_say_so() -> None:
    change = AlertBook(()).apply(active(T0), now_ms=T0 + HOUR_MS, historic=True)
    assert change is not None
    assert change.alert.historic
    assert change.alert.opened_ms == T0


steps = st.lists(
    st.tuples(
        st.sampled_from(["active", "fresh", "critical", "clear", "ack", "resolve", "snooze"]),
        st.sampled_from(["grid", "load1"]),
        st.integers(-60_000, 40 * 60_000),
    ),
    max_size=40,
)


def act(book: AlertBook, what: str, channel: str, at_ms: int) -> Change | None:
    key = ("home", channel, AlertKind.OVER_CURRENT)
    if what in ("active", "fresh", "critical", "clear"):
        severity = Severity.CRITICAL if what == "critical" else Severity.WARNING
        found = Finding(key, what != "clear", at_ms, severity, fresh=what == "fresh")
        return book.apply(found, now_ms=at_ms, historic=False)
    one = next((alert for alert in book.open_alerts if alert.key == key), None)
    if one is None:
        return None
    if what == "ack":
        return book.acknowledge(one.id, who="ana", at_ms=at_ms)
    if what == "resolve":
        return book.resolve(one.id, who="ana", at_ms=at_ms)
    return book.snooze(one.id, who="ana", at_ms=at_ms, minutes=5)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_whatever_happens_the_book_stays_in_order(todo: list[tuple[str, str, int]]) -> None:
    book, at_ms = AlertBook(()), T0
    last: dict[str, Alert] = {}
    times: dict[str, int] = {}
    for what, channel, later_ms in todo:
        at_ms += later_ms
        change = act(book, what, channel, at_ms)
        keys = [alert.key for alert in book.open_alerts]
        assert len(keys) == len(set(keys))
        if change is None:
            continue
        alert, before = change.alert, last.get(change.alert.id)
        assert alert.opened_ms <= alert.updated_ms
        assert (alert.resolved_ms is None) is (alert.state is not AlertState.RESOLVED)
        if before is not None and not change.is_new:
            assert alert.count >= before.count
            assert alert.updated_ms >= before.updated_ms
        for entry in change.history:
            if not change.is_new:
                assert entry.at_ms >= times.get(alert.id, 0)
            times[alert.id] = entry.at_ms
        last[alert.id] = alert

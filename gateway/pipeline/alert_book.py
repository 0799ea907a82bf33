"""Alerts from findings: one open per key, counted, escalated, resolved; what people do to them."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from gateway.domain.alerts import (
    Alert,
    AlertKey,
    AlertState,
    Finding,
    HistoryEntry,
    Severity,
)
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.pipeline.mutes import MuteBook

SYSTEM = "system"
MINUTE_MS = 60_000
# Resolved by hand while the condition lasts, it opens again after an hour (contract, 5).
REOPEN_MS = 60 * MINUTE_MS
LONGEST_SNOOZE_MIN = 30 * 24 * 60
LONGEST_NOTE = 1000
MOST_RESOLVED = 1000  # remembered for a repeated click and for verdicts; older ones are on disk


class Change(NamedTuple):
    """An alert as it now is, and what is new in its history; write both in one transaction."""

    alert: Alert
    history: tuple[HistoryEntry, ...]
    is_new: bool = False


def alert_id(key: AlertKey, opened_ms: int) -> str:
    """Return the id that this opening has, also when a crash makes it be judged again."""
    meter, channel, kind = key
    text = f"{meter}\0{channel}\0{kind}\0{opened_ms}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class AlertBook:
    """All open alerts. Pure: the caller writes every Change.

    `recently_resolved`: alerts a person has resolved within the last hour; until the condition
    begins afresh or the hour is over they do not open again. `mutes`: of what nobody wants to hear.
    """

    def __init__(
        self,
        open_alerts: Iterable[Alert],
        recently_resolved: Iterable[Alert] = (),
        mutes: MuteBook | None = None,
    ) -> None:
        self._mutes = MuteBook() if mutes is None else mutes
        self._open: dict[AlertKey, Alert] = {alert.key: alert for alert in open_alerts}
        self._by_id: dict[str, AlertKey] = {alert.id: key for key, alert in self._open.items()}
        self._resolved: OrderedDict[str, Alert] = OrderedDict()
        self._quiet: dict[AlertKey, int] = {}
        for alert in recently_resolved:
            self._remember(alert)
            if alert.resolved_ms is not None:
                self._quiet[alert.key] = alert.resolved_ms

    @property
    def open_alerts(self) -> tuple[Alert, ...]:
        """Return every alert that is not resolved."""
        return tuple(self._open.values())

    def apply(self, finding: Finding, *, now_ms: int, historic: bool) -> Change | None:
        """Return what a finding changes; its own time counts, never one before the alert's last.

        `now_ms` only ends a snooze. A condition that is `historic` opens an alert that is no news.
        """
        alert = self._open.get(finding.key)
        if not finding.active:
            self._quiet.pop(finding.key, None)
        if alert is None:
            return self._open_one(finding, now_ms, historic=historic) if finding.active else None
        if finding.active:
            return self._renew(alert, finding, now_ms)
        at_ms = max(finding.at_ms, alert.updated_ms)
        said = finding.detail or finding.title or "the condition has cleared"
        return self._close(alert, HistoryEntry(at_ms, SYSTEM, f"resolved: {said}"))

    def acknowledge(self, alert_id: str, *, who: str, at_ms: int) -> Change:
        """Note that somebody looks after it; again changes nothing.

        Raise NotFoundError for an unknown alert, BadInputError for a resolved one.
        """
        alert = self._find_open(alert_id, "acknowledged")
        if alert.state is AlertState.ACKNOWLEDGED:
            return Change(alert, ())
        entry = HistoryEntry(max(at_ms, alert.updated_ms), who, "acknowledged")
        return self._put(
            replace(alert, state=AlertState.ACKNOWLEDGED, updated_ms=entry.at_ms), entry
        )

    def resolve(self, alert_id: str, *, who: str, at_ms: int, note: str = "") -> Change:
        """Close it by hand; while its condition lasts it opens again after an hour.

        Raise NotFoundError for an unknown alert; again changes nothing.
        """
        if alert_id in self._resolved:
            return Change(self._resolved[alert_id], ())
        alert = self._find_open(alert_id, "resolved")
        _check_note(note)
        entry = HistoryEntry(max(at_ms, alert.updated_ms), who, _with("resolved", note))
        self._quiet[alert.key] = entry.at_ms
        return self._close(alert, entry)

    def snooze(self, alert_id: str, *, who: str, at_ms: int, minutes: int) -> Change:
        """Keep it from notifying for a while; 0 minutes ends a snooze.

        Raise NotFoundError for an unknown alert, BadInputError for a resolved one or bad minutes.
        """
        if not 0 <= minutes <= LONGEST_SNOOZE_MIN:
            msg = f"minutes: {minutes} is not between 0 and {LONGEST_SNOOZE_MIN}"
            raise BadInputError(msg)
        alert = self._find_open(alert_id, "snoozed")
        said = f"snoozed for {minutes} minutes" if minutes else "snooze ended"
        entry = HistoryEntry(max(at_ms, alert.updated_ms), who, said)
        until_ms = at_ms + minutes * MINUTE_MS if minutes else None
        return self._put(replace(alert, snoozed_until_ms=until_ms, updated_ms=entry.at_ms), entry)

    def verdict(
        self, alert_id: str, *, who: str, at_ms: int, right: bool, note: str = ""
    ) -> Change:
        """Note whether it was right; open or resolved, and as often as minds change.

        Raise NotFoundError where it is neither open nor remembered (see `judged`).
        """
        key = self._by_id.get(alert_id)
        alert = self._resolved.get(alert_id) if key is None else self._open[key]
        if alert is None:
            raise _unknown(alert_id)
        change = judged(alert, who=who, at_ms=at_ms, right=right, note=note)
        if key is not None:
            self._open[key] = change.alert
        else:
            self._resolved[alert_id] = change.alert
        return change

    def remute(self, *, who: str, at_ms: int) -> list[Change]:
        """Return what changes of open alerts since somebody muted a kind or ended that."""
        changes = []
        for alert in self.open_alerts:
            muted = self._mutes.covers(alert.key, at_ms)
            if muted != alert.muted:
                said = "muted" if muted else "heard again"
                entry = HistoryEntry(max(at_ms, alert.updated_ms), who, said)
                renewed = replace(alert, muted=muted, updated_ms=entry.at_ms)
                changes.append(self._put(renewed, entry))
        return changes

    def _open_one(self, finding: Finding, now_ms: int, *, historic: bool) -> Change | None:
        """Open an alert, unless one of its kind was resolved by hand within the hour."""
        quiet_ms = self._quiet.get(finding.key)
        waiting = quiet_ms is not None and finding.at_ms - quiet_ms < REOPEN_MS
        if waiting and not finding.fresh:
            return None
        self._quiet.pop(finding.key, None)
        alert = Alert(
            id=alert_id(finding.key, finding.at_ms),
            key=finding.key,
            severity=finding.severity,
            state=AlertState.OPEN,
            opened_ms=finding.at_ms,
            updated_ms=finding.at_ms,
            resolved_ms=None,
            count=1,
            title=finding.title,
            detail=finding.detail,
            evidence=dict(finding.evidence),
            historic=historic,
            muted=self._mutes.covers(finding.key, now_ms),
        )
        said = "opened" if quiet_ms is None or finding.fresh else "opened again: it still lasts"
        return self._put(alert, HistoryEntry(finding.at_ms, SYSTEM, said), is_new=True)

    def _renew(self, alert: Alert, finding: Finding, now_ms: int) -> Change:
        """Count a repeated condition; a worse one needs somebody's attention anew."""
        worse = finding.severity is Severity.CRITICAL and alert.severity is Severity.WARNING
        milder = finding.severity is Severity.WARNING and alert.severity is Severity.CRITICAL
        at_ms = max(finding.at_ms, alert.updated_ms)
        until_ms = alert.snoozed_until_ms
        over = until_ms is not None and until_ms <= now_ms
        renewed = replace(
            alert,
            severity=Severity.CRITICAL if worse else alert.severity,
            state=AlertState.OPEN if worse else alert.state,
            updated_ms=at_ms,
            count=alert.count + 1,
            # A milder finding must not put its words under the label of the worse one.
            title=alert.title if milder else finding.title,
            detail=alert.detail if milder else finding.detail,
            evidence=alert.evidence if milder else dict(finding.evidence),
            snoozed_until_ms=None if worse or over else until_ms,
            muted=self._mutes.covers(alert.key, now_ms),
        )
        if not worse:
            return self._put(renewed)
        said = f"escalated from warning to critical: {finding.detail}"
        return self._put(renewed, HistoryEntry(at_ms, SYSTEM, said))

    def _close(self, alert: Alert, entry: HistoryEntry) -> Change:
        """Resolve an open alert."""
        closed = replace(
            alert,
            state=AlertState.RESOLVED,
            updated_ms=entry.at_ms,
            resolved_ms=entry.at_ms,
            snoozed_until_ms=None,
        )
        del self._open[alert.key], self._by_id[alert.id]
        self._remember(closed)
        return Change(closed, (entry,))

    def _put(self, alert: Alert, *entries: HistoryEntry, is_new: bool = False) -> Change:
        """Keep an open alert as it now is."""
        self._open[alert.key] = alert
        self._by_id[alert.id] = alert.key
        return Change(alert, entries, is_new)

    def _remember(self, alert: Alert) -> None:
        self._resolved[alert.id] = alert
        while len(self._resolved) > MOST_RESOLVED:
            self._resolved.popitem(last=False)

    def _find_open(self, alert_id: str, done: str) -> Alert:
        key = self._by_id.get(alert_id)
        if key is not None:
            return self._open[key]
        if alert_id in self._resolved:
            msg = f"alert {alert_id} is resolved already, it cannot be {done}"
            raise BadInputError(msg)
        raise _unknown(alert_id)


def judged(alert: Alert, *, who: str, at_ms: int, right: bool, note: str = "") -> Change:
    """Return an alert with a person's verdict in its history, for alerts older than the book."""
    _check_note(note)
    said = _with("verdict: right" if right else "verdict: wrong", note)
    entry = HistoryEntry(max(at_ms, alert.updated_ms), who, said)
    return Change(replace(alert, updated_ms=entry.at_ms), (entry,))


def _check_note(note: str) -> None:
    if len(note) > LONGEST_NOTE:
        msg = f"note: {len(note)} characters; at most {LONGEST_NOTE}"
        raise BadInputError(msg)


def _with(what: str, note: str) -> str:
    return f"{what}: {note}" if note else what


def _unknown(alert_id: str) -> NotFoundError:
    return NotFoundError(f"no alert {alert_id}")

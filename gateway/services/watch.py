"""Alerts that no reading causes: silent meters, and what the gateway finds out about itself."""

from collections.abc import Iterable
from typing import NamedTuple

from gateway.domain.alerts import Alert, AlertKey, AlertKind, Evidence, Finding, Severity

# Contract, section 5: 120 s warning, 15 min critical, many meters grouped into one.
SILENT_S = 120.0
LONG_SILENT_S = 900.0
# Meters fall silent together within their sending intervals, not in the same second: all that
# have been quiet for half the limit count when the first one passes it.
ALSO_QUIET_S = SILENT_S / 2
MANY = 3
UPDATE_S = 300.0
NAMES_SHOWN = 10


class _Told(NamedTuple):
    severity: Severity
    at_s: float


class SilenceWatch:
    """Says which meters are silent; the caller gives monotonic seconds and wall-clock labels.

    Several at once (more than three, or more than half of at least two) are one alert of the
    gateway (meter "") and none of their own. Recorded meters are never to be watched.
    """

    def __init__(self, mono_s: float, meters: Iterable[str] = ()) -> None:
        self._heard: dict[str, float] = dict.fromkeys(meters, mono_s)
        self._told: dict[str, _Told] = {}
        self._group: dict[str, None] = {}  # an ordered set
        self._group_told: _Told | None = None

    def watch(self, meter: str, mono_s: float) -> None:
        """Expect this meter; it counts from now where it has not been heard."""
        self._heard.setdefault(meter, mono_s)

    def heard(self, meter: str, mono_s: float) -> None:
        """Note a sign of life."""
        self._heard[meter] = mono_s

    def excuse(self, seconds: float) -> None:
        """Leave out of account a time in which the gateway itself stood still."""
        self._heard = {meter: at_s + seconds for meter, at_s in self._heard.items()}

    def forget(self, meter: str) -> None:
        """Expect this meter no more; its silence clears at the next check."""
        self._heard.pop(meter, None)

    def adopt(self, alerts: Iterable[Alert]) -> None:
        """Take over `meter_silent` alerts left open by an earlier run, so that they can clear."""
        for alert in alerts:
            meter, _, kind = alert.key
            if kind is not AlertKind.METER_SILENT:
                continue
            told = _Told(alert.severity, float("-inf"))
            if meter:
                self._told[meter] = told
            else:
                self._group_told = told

    def check(self, mono_s: float, now_ms: int) -> list[Finding]:
        """Return what has changed since the last check."""
        quiet = {meter: mono_s - at_s for meter, at_s in self._heard.items()}
        found = [
            self._back(meter, now_ms) for meter in self._told if quiet.get(meter, 0) < SILENT_S
        ]
        for finding in found:
            del self._told[finding.key[0]]
        self._gather(quiet)
        for meter, quiet_s in quiet.items():
            if quiet_s >= SILENT_S and meter not in self._group:
                found += self._alone(meter, quiet_s, mono_s, now_ms)
        found += self._together(quiet, mono_s, now_ms)
        return found

    def _gather(self, quiet: dict[str, float]) -> None:
        """Decide who belongs to the group."""
        for meter in [name for name in self._group if quiet.get(name, 0) < ALSO_QUIET_S]:
            del self._group[meter]
        also = [
            meter
            for meter, quiet_s in quiet.items()
            if quiet_s >= ALSO_QUIET_S and meter not in self._told
        ]
        one_is_silent = any(quiet[meter] >= SILENT_S for meter in also)
        many = len(also) > MANY or (len(also) > 1 and len(also) > len(quiet) / 2)
        if self._group or (one_is_silent and many):
            self._group.update(dict.fromkeys(also))

    def _alone(self, meter: str, quiet_s: float, mono_s: float, now_ms: int) -> list[Finding]:
        """Tell of one silent meter, where that is news."""
        severity = _how_bad(quiet_s)
        told = self._told.get(meter)
        if not _is_news(told, severity, mono_s):
            return []
        self._told[meter] = _Told(severity, mono_s)
        text = f"Nothing has been heard from meter {meter} for {quiet_s:.0f} s."
        evidence: Evidence = {
            "silent_s": round(quiet_s, 1),
            "limit_s": LONG_SILENT_S if severity is Severity.CRITICAL else SILENT_S,
            "since_ms": now_ms - round(quiet_s * 1000),
        }
        key = (meter, "", AlertKind.METER_SILENT)
        return [
            Finding(
                key,
                active=True,
                at_ms=now_ms,
                severity=severity,
                title="Meter silent",
                detail=text,
                evidence=evidence,
                fresh=told is None,
            )
        ]

    def _together(self, quiet: dict[str, float], mono_s: float, now_ms: int) -> list[Finding]:
        """Tell of the group, where that is news."""
        key: AlertKey = ("", "", AlertKind.METER_SILENT)
        told = self._group_told
        if not self._group:
            self._group_told = None
            return [_all_back(now_ms)] if told is not None else []
        longest_s = max(quiet[meter] for meter in self._group)
        severity = _how_bad(longest_s)
        if not _is_news(told, severity, mono_s):
            return []
        self._group_told = _Told(severity, mono_s)
        names = sorted(self._group)
        shown = ", ".join(names[:NAMES_SHOWN]) + (" …" if len(names) > NAMES_SHOWN else "")
        evidence: Evidence = {
            "meters": len(names),
            "names": shown,
            "known_meters": len(quiet),
            "silent_s": round(longest_s, 1),
            "limit_s": LONG_SILENT_S if severity is Severity.CRITICAL else SILENT_S,
            "since_ms": now_ms - round(longest_s * 1000),
        }
        text = (
            f"{len(names)} of {len(quiet)} meters have been silent for up to {longest_s:.0f} s: "
            f"look at the network or the broker first ({shown})."
        )
        return [
            Finding(
                key,
                active=True,
                at_ms=now_ms,
                severity=severity,
                title="Meters silent",
                detail=text,
                evidence=evidence,
                fresh=told is None,
            )
        ]

    @staticmethod
    def _back(meter: str, now_ms: int) -> Finding:
        """Return the clearing of one meter's silence."""
        return Finding(
            (meter, "", AlertKind.METER_SILENT),
            active=False,
            at_ms=now_ms,
            title="Meter heard again",
            detail=f"Meter {meter} is heard again.",
        )


def _all_back(now_ms: int) -> Finding:
    """Return the clearing of the group's silence."""
    return Finding(
        ("", "", AlertKind.METER_SILENT),
        active=False,
        at_ms=now_ms,
        title="Meters heard again",
        detail="All meters that were silent together are heard again.",
    )


def _how_bad(quiet_s: float) -> Severity:
    return Severity.CRITICAL if quiet_s >= LONG_SILENT_S else Severity.WARNING


def _is_news(told: _Told | None, severity: Severity, mono_s: float) -> bool:
    """Return whether to tell: first, worse, or due for renewal."""
    if told is None or mono_s - told.at_s >= UPDATE_S:
        return True
    return severity is Severity.CRITICAL and told.severity is Severity.WARNING


def clock_finding(now_ms: int, *, active: bool, detail: str) -> Finding:
    """Return a finding about this machine's clock (untrusted, or stepped)."""
    title = "Clock not trusted" if active else "Clock trusted again"
    key = ("", "", AlertKind.CLOCK)
    return Finding(key, active=active, at_ms=now_ms, title=title, detail=detail)


def storage_finding(
    now_ms: int, *, active: bool, detail: str, evidence: Evidence | None = None
) -> Finding:
    """Return a finding about the database or its disk; critical, for data is at stake."""
    return Finding(
        ("", "", AlertKind.STORAGE),
        active=active,
        at_ms=now_ms,
        severity=Severity.CRITICAL,
        title="Storage in trouble" if active else "Storage works again",
        detail=detail,
        evidence=evidence or {},
    )


def detector_failed_finding(
    meter: str, detector: str, error: str, now_ms: int, *, channel: str = ""
) -> Finding:
    """Return the finding of a detector that raised and was switched off (contract, rule J)."""
    return Finding(
        (meter, channel, AlertKind.DETECTOR_FAILED),
        active=True,
        at_ms=now_ms,
        title="Detector switched off",
        detail=f"The detector {detector} failed and is off until the next start: {error:.200}",
        evidence={"detector": detector, "error": error[:500]},
        fresh=True,
    )


def detector_works_finding(meter: str, now_ms: int, *, channel: str = "") -> Finding:
    """Return the clearing of a detector's failure."""
    return Finding(
        (meter, channel, AlertKind.DETECTOR_FAILED),
        active=False,
        at_ms=now_ms,
        title="Detector works again",
        detail="The detector works again, and what it missed has been judged.",
    )


def security_finding(
    now_ms: int, *, active: bool, detail: str, evidence: Evidence | None = None
) -> Finding:
    """Return a finding about someone or something that was refused entry."""
    return Finding(
        ("", "", AlertKind.SECURITY),
        active=active,
        at_ms=now_ms,
        title="Refused" if active else "No longer refused",
        detail=detail,
        evidence=evidence or {},
    )

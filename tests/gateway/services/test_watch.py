"""Silence of meters, told one by one or together; findings of the gateway about itself."""

from dataclasses import replace

from gateway.domain.alerts import AlertKind, Finding, Severity
from gateway.pipeline.alert_book import AlertBook
from gateway.services.watch import (
    SilenceWatch,
    clock_finding,
    detector_failed_finding,
    security_finding,
    storage_finding,
)

NOW_MS = 1_760_000_000_000


def told(found: list[Finding]) -> list[tuple[str, bool, Severity]]:
    return [(finding.key[0], finding.active, finding.severity) for finding in found]


def run(watch: SilenceWatch, from_s: int, to_s: int) -> list[Finding]:
    found: list[Finding] = []
    for second in range(from_s, to_s):
        found += watch.check(float(second), NOW_MS + second * 1000)
    return found


def test_one_meter_warns_after_two_minutes_and_is_critical_after_fifteen() -> None:
    watch = SilenceWatch(0.0, ["a", "b", "c"])
    found: list[Finding] = []
    for second in range(1000):
        watch.heard("b", second)
        watch.heard("c", second)
        found += watch.check(second, NOW_MS + second * 1000)
    assert told(found)[0] == ("a", True, Severity.WARNING)
    assert found[0].at_ms == NOW_MS + 120_000
    assert found[0].evidence["since_ms"] == NOW_MS
    critical = next(one for one in found if one.severity is Severity.CRITICAL)
    assert critical.at_ms == NOW_MS + 900_000
    watch.heard("a", 1000.0)
    assert told(watch.check(1001.0, NOW_MS)) == [("a", False, Severity.WARNING)]
    assert watch.check(1002.0, NOW_MS) == []


def test_many_silent_together_are_one_alert_of_the_gateway() -> None:
    names = [f"m{k}" for k in range(10)]
    watch = SilenceWatch(0.0, names)
    for k, name in enumerate(names):
        watch.heard(name, 10.0 + 5 * k)  # the last words were spread over a minute
    found = run(watch, 60, 400)
    assert {finding.key for finding in found} == {("", "", AlertKind.METER_SILENT)}
    assert found[0].fresh
    assert "10 of 10" in found[-1].detail
    for name in names[:9]:
        watch.heard(name, 400.0)
    assert run(watch, 400, 402) == []  # one of them is still away
    watch.heard(names[9], 402.0)
    assert told(watch.check(403.0, NOW_MS)) == [("", False, Severity.WARNING)]


def test_two_of_ten_are_told_one_by_one() -> None:
    names = [f"m{k}" for k in range(10)]
    watch = SilenceWatch(0.0, names)
    found: list[Finding] = []
    for second in range(130):
        for name in names[2:]:
            watch.heard(name, second)
        found += watch.check(second, NOW_MS + second * 1000)
    assert sorted(told(found)) == [("m0", True, Severity.WARNING), ("m1", True, Severity.WARNING)]


def test_both_of_two_are_more_than_half() -> None:
    found = run(SilenceWatch(0.0, ["a", "b"]), 0, 130)
    assert [finding.key[0] for finding in found] == [""]


def test_a_meter_told_alone_stays_alone_when_the_rest_falls_silent() -> None:
    names = ["a", "b", "c", "d", "e"]
    watch = SilenceWatch(0.0, names)
    found: list[Finding] = []
    for second in range(200):
        for name in names[1:]:
            watch.heard(name, second)
        found += watch.check(second, NOW_MS)
    assert [finding.key[0] for finding in found] == ["a"]
    assert [finding.key[0] for finding in run(watch, 200, 330)] == [""]


def test_forgotten_and_new_meters() -> None:
    watch = SilenceWatch(0.0, ["a"])
    assert len(run(watch, 0, 130)) == 1
    watch.forget("a")
    assert told(watch.check(131.0, NOW_MS)) == [("a", False, Severity.WARNING)]
    watch.watch("b", 131.0)
    assert watch.check(250.0, NOW_MS) == []
    assert len(watch.check(251.0, NOW_MS)) == 1


def test_alerts_left_open_by_an_earlier_run_clear() -> None:
    book = AlertBook(())
    change = book.apply(run(SilenceWatch(0.0, ["a"]), 0, 130)[0], now_ms=0, historic=False)
    assert change is not None
    group = replace(change.alert, key=("", "", AlertKind.METER_SILENT))
    watch = SilenceWatch(0.0, ["a", "b", "c"])
    watch.adopt([change.alert, group])
    for name in ("a", "b", "c"):
        watch.heard(name, 1.0)
    assert told(watch.check(2.0, NOW_MS)) == [
        ("a", False, Severity.WARNING),
        ("", False, Severity.WARNING),
    ]


def test_findings_about_the_gateway() -> None:
    clock = clock_finding(NOW_MS, active=True, detail="no time source")
    assert (clock.key, clock.active) == (("", "", AlertKind.CLOCK), True)
    disk = storage_finding(NOW_MS, active=True, detail="disk full", evidence={"free_bytes": 0})
    assert (disk.key[2], disk.severity) == (AlertKind.STORAGE, Severity.CRITICAL)
    broken = detector_failed_finding("a", "judge", "ZeroDivisionError: x" * 100, NOW_MS)
    assert broken.key == ("a", "", AlertKind.DETECTOR_FAILED)
    assert len(str(broken.evidence["error"])) == 500
    refused = security_finding(NOW_MS, active=True, detail="unknown meter x")
    assert refused.key[2] is AlertKind.SECURITY


def test_a_time_in_which_the_gateway_stood_still_is_no_silence() -> None:
    watch = SilenceWatch(0.0, ["a", "b"])
    watch.heard("b", 100.0)
    watch.excuse(300.0)
    assert watch.check(415.0, NOW_MS) == []
    assert told(watch.check(421.0, NOW_MS))[0][1] is True

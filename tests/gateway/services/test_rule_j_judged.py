"""Rule J of the contract: judged once in effect, whatever happens in between."""

from collections.abc import Callable

import pytest

from gateway.domain.alerts import AlertKind
from gateway.domain.errors import StorageError
from gateway.pipeline.judge import MeterJudge
from gateway.services.effects import Effects
from tests.gateway.services.site_rig import START_MS, Site, window, windows

HOUR_MS = 3_600_000
QUERY = "SELECT kind, state, opened_ms, updated_ms, count, historic FROM alerts ORDER BY opened_ms"


def dark(first: int, last: int) -> list[dict[str, object]]:
    """Return windows without voltage: an outage after a few of them."""
    return windows(first, last, v=0.0, i=0.0, p=0.0, q=0.0, f=None)


async def test_rule_j_alerts_position_and_outbox_are_one_transaction(site: Site) -> None:
    site.live([*windows(0, 9), *dark(10, 19)])
    await site.derive()
    (alert,) = site.query(QUERY)
    assert alert[:2] == ("outage", "open")
    (judged,) = site.query("SELECT row FROM judged")
    assert judged == (20,)
    assert site.query("SELECT kind, count(*) FROM outbox GROUP BY kind") == [("alert", 1)]
    assert site.query("SELECT who FROM alert_history") == [("system",)]


async def test_rule_j_a_failed_commit_leaves_nothing_and_is_done_again(site: Site) -> None:
    site.live([*windows(0, 9), *dark(10, 19)])
    await site.deriver.load()
    store = site.deriver._store  # noqa: SLF001 - its commit is made to fail
    commit = store.commit

    async def failing(_: Effects) -> None:
        msg = "disk full"
        raise StorageError(msg)

    store.commit = failing  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageError):
        await site.deriver.step()
    assert site.query(QUERY) == []
    store.commit = commit  # type: ignore[method-assign]
    await site.deriver.load()  # as the retry after a TransientError does
    await site.derive()
    (alert,) = site.query(QUERY)
    assert alert[4] == 1


async def test_rule_j_a_restart_goes_on_within_a_condition(site: Site) -> None:
    """An outage begins before a restart and ends behind it: one alert, resolved."""
    site.live([*windows(0, 9), *dark(10, 19)])
    await site.derive()
    await site.deriver.drain()
    await site.restart_deriving()
    site.live([*dark(20, 24), *windows(25, 60)])
    await site.derive()
    (alert,) = site.query(QUERY)
    assert alert[:2] == ("outage", "resolved")


async def test_rule_j_a_crash_anywhere_gives_the_same_alerts(site: Site, tmp_path: object) -> None:
    story = [*windows(0, 9), *dark(10, 30), *windows(31, 90), *dark(91, 99), *windows(100, 160)]
    for number, reading in enumerate(story):
        site.live([reading])
        await site.derive()
        if number % 7 == 3:
            await site.restart_deriving()
    crashed = site.query(QUERY)
    with Site(site.path.with_name("calm.db")) as calm:
        calm.live(story)
        await calm.derive()
        assert crashed == calm.query(QUERY)
    assert [alert[0] for alert in crashed] == ["outage", "outage"]


async def test_rule_j_old_data_is_judged_for_the_history(site: Site) -> None:
    site.now.wall = START_MS + HOUR_MS
    site.send([*windows(0, 9), *dark(10, 19)])
    await site.derive()
    ((*_, historic),) = site.query(QUERY)
    assert historic == 1


async def test_rule_j_recorded_meters_alert_at_the_data_s_times(site: Site) -> None:
    site.add_meter("tape", recorded=True)
    then_ms = START_MS - 3 * 365 * 86_400_000
    site.send(
        [*windows(0, 9, boot_ms=then_ms),
         *windows(10, 19, boot_ms=then_ms, v=0.0, i=0.0, p=0.0, f=None)], "tape",
    )  # fmt: skip
    await site.derive()
    (alert,) = site.query(QUERY)
    assert then_ms < alert[2] < then_ms + 60_000
    assert alert[5] == 1


async def test_rule_j_late_data_gets_the_stateless_rules_only(site: Site) -> None:
    site.live(windows(0, 9))
    site.live(windows(600, 700))
    await site.derive()
    site.send(windows(20, 60, f=46.0))  # one second each: no single one proves anything
    await site.derive()
    assert site.query(QUERY) == []
    assert sum(bucket.n for bucket in site.rolled("1m").values()) == 10 + 101 + 41


async def test_rule_j_a_failing_detector_is_switched_off_with_an_alert(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.live(windows(0, 9))
    await site.derive()

    def broken(*_: object) -> None:
        msg = "a defect"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(MeterJudge, "judge", broken)
    ack = site.live(windows(10, 19))
    await site.derive()
    assert ack is not None
    assert ack.upto == 19
    assert site.query("SELECT kind, count FROM alerts") == [("detector_failed", 1)]
    assert sum(bucket.n for bucket in site.rolled("1m").values()) == 20
    await site.restart_deriving()  # it gets another chance, from where it failed
    site.live(windows(20, 29))
    await site.derive()
    assert site.query("SELECT kind, state, count FROM alerts") == [("detector_failed", "open", 2)]
    assert sum(bucket.n for bucket in site.rolled("1m").values()) == 30


@pytest.mark.parametrize(
    "ask",
    [
        lambda book, key: book.acknowledge(key, who="ann", at_ms=START_MS + 60_000),
        lambda book, key: book.resolve(key, who="ann", at_ms=START_MS + 60_000),
        lambda book, key: book.snooze(key, who="ann", at_ms=START_MS + 60_000, minutes=5),
    ],
)
async def test_what_a_person_asked_and_the_disk_refused_is_not_believed(
    site: Site, ask: Callable[..., object]
) -> None:
    site.live([*windows(0, 9), *dark(10, 19)])
    await site.derive()
    (before,) = site.deriver.desk.book.open_alerts
    store = site.deriver._store  # noqa: SLF001 - its commit is made to fail
    commit = store.commit

    async def failing(_: Effects) -> None:
        msg = "disk full"
        raise StorageError(msg)

    store.commit = failing  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageError):
        await site.deriver.change_alert(lambda book: ask(book, before.id))  # type: ignore[arg-type,return-value]
    store.commit = commit  # type: ignore[method-assign]
    await site.derive()  # within 5 s in the daemon
    assert site.deriver.desk.book.open_alerts == (before,)


async def test_a_listener_hears_of_changes_after_they_are_committed(site: Site) -> None:
    heard = []

    def listen(change: object) -> None:
        heard.append((change, site.query("SELECT count(*) FROM alerts")[0][0]))

    site.deriver.desk.listener = listen
    site.live([*windows(0, 9), *dark(10, 19)])
    await site.derive()
    assert [count for _, count in heard] == [1]


async def test_alerts_resolved_by_hand_stay_quiet_over_a_restart(site: Site) -> None:
    site.live([*windows(0, 9), *dark(10, 19)])
    await site.derive()
    (alert,) = site.deriver.desk.book.open_alerts
    await site.deriver.change_alert(
        lambda book: book.resolve(alert.id, who="ann", at_ms=alert.updated_ms + 1000)
    )
    await site.restart_deriving()
    site.live(dark(20, 900))
    await site.derive()
    assert site.query("SELECT state FROM alerts") == [("resolved",)]
    assert site.query("SELECT who FROM alert_history ORDER BY no") == [("system",), ("ann",)]


async def test_an_idle_meter_does_not_make_every_start_read_all(site: Site) -> None:
    site.add_meter("spare")
    site.send(window(0), "gone")
    for first in range(0, 1200, 120):
        site.send(windows(first, first + 119))
    await site.derive()
    await site.deriver.drain()
    await site.restart_deriving()
    assert site.deriver.row > 1000


def test_every_kind_of_alert_fits_the_contract() -> None:
    assert len(AlertKind) == 18

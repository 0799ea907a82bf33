"""Who is told what, when, and how often: planning, quiet hours, reminders, groups, restarts."""

import asyncio
from typing import Any

import pytest

from gateway.domain.alerts import Alert, AlertKind, AlertState, Severity
from gateway.services.notify.ports import Message, Outcome, Result
from tests.gateway.services.notify.rig import NOON_MS, KeepingRoad, Rig, alert_of

WARNING = Severity.WARNING


async def test_a_new_alert_is_told_once_with_its_evidence(rig: Rig) -> None:
    alert = rig.open()
    for _ in range(3):
        await rig.step(1)
    ((target, message),) = rig.road.taken
    assert (target, message.tag, message.critical, message.loud) == ("anna", alert.id, True, True)
    assert message.title == "Critical: kitchen: voltage too high"
    assert "276.2 V for 3 s; the limit is 264.5 V" in message.body
    assert "At 12:00." in message.body
    assert message.data["alert"] == alert.id
    assert message.data["meter"] == "kitchen"


async def test_people_s_own_doing_is_no_news(rig: Rig) -> None:
    alert = rig.open()
    await rig.step()
    alert = rig.change(alert, "acknowledged", "ada", state=AlertState.ACKNOWLEDGED)
    alert = rig.change(alert, "verdict: right", "ada")
    rig.change(alert, "resolved: over", state=AlertState.RESOLVED, resolved_ms=rig.clock.ms)
    await rig.step(1)
    assert len(rig.road.taken) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"historic": True},
        {"muted": True},
        {"snoozed_until_ms": NOON_MS + 60_000},
        {"state": AlertState.ACKNOWLEDGED},
        {"state": AlertState.RESOLVED},
    ],
)
async def test_what_nobody_wants_to_hear_is_not_told(rig: Rig, fields: dict[str, Any]) -> None:
    rig.open(**fields)
    await rig.step()
    await rig.step(3600)
    assert rig.road.taken == []
    assert await rig.store.waiting(10) == []


async def test_a_warning_that_becomes_critical_is_told_again_under_its_tag(rig: Rig) -> None:
    alert = rig.open(severity=WARNING)
    await rig.step()
    rig.clock.turn(120)
    rig.change(alert, "escalated from warning to critical: 280 V", severity=Severity.CRITICAL)
    await rig.step()
    assert [m.tag for _, m in rig.road.taken] == [alert.id, alert.id]
    assert [m.critical for _, m in rig.road.taken] == [False, True]
    assert rig.road.visible()[alert.id].title.startswith("Critical: ")


async def test_twenty_meters_that_trip_together_make_one_push(rig: Rig) -> None:
    alerts = [rig.open(f"meter-{k:02}") for k in range(20)]
    await rig.step()
    ((_, message),) = rig.road.taken
    assert message.tag == alerts[0].id
    assert message.title == "voltage too high at 20 meters (20 alerts)"
    assert "meter-00: 276.2 V" in message.body
    assert "… and 15 more" in message.body


async def test_meters_that_trip_one_after_the_other_are_shown_as_one(rig: Rig) -> None:
    first = rig.open("meter-00")
    await rig.step()
    for k in range(1, 20):
        rig.clock.turn(0.2)
        rig.open(f"meter-{k:02}")
        await rig.step()
    await rig.step(6)
    assert list(rig.road.visible()) == [first.id]
    assert rig.road.visible()[first.id].title == "voltage too high at 20 meters (20 alerts)"
    assert len(rig.road.taken) == 2, "the first at once, then all"


async def test_other_kinds_and_later_ones_are_told_apart(rig: Rig) -> None:
    rig.open("a")
    rig.open("b", key=("b", "", AlertKind.OVER_CURRENT))
    await rig.step()
    rig.clock.turn(61)
    rig.open("c")
    await rig.step()
    assert len(rig.road.visible()) == 3


async def test_reminders_until_somebody_answers(rig: Rig) -> None:
    alert = rig.open()
    await rig.step()
    await rig.step(14 * 60)
    assert len(rig.road.taken) == 1
    await rig.step(61)
    assert rig.road.taken[-1][1].title == "Still unanswered: kitchen: voltage too high"
    assert rig.road.taken[-1][1].tag == alert.id
    rig.change(alert, "acknowledged", "ada", state=AlertState.ACKNOWLEDGED)
    await rig.step(16 * 60)
    assert len(rig.road.taken) == 2


async def test_reminders_end_after_so_many(rig: Rig) -> None:
    rig.open()
    for _ in range(10):
        await rig.step(16 * 60)
    assert len(rig.road.taken) == 1 + rig.settings.escalate_times


async def test_reminders_of_a_group_are_one_push_too(rig: Rig) -> None:
    for k in range(20):
        rig.open(f"meter-{k:02}")
    await rig.step()
    await rig.step(16 * 60)
    assert len(rig.road.taken) == 2
    assert len(rig.road.visible()) == 1


async def test_a_restart_goes_on_waiting_where_it_was() -> None:
    rig = Rig()
    rig.open()
    await rig.step()
    rig.clock.turn(10 * 60)
    rig.start()
    await rig.step()
    assert len(rig.road.taken) == 1
    await rig.step(6 * 60)
    assert len(rig.road.taken) == 2


async def test_warnings_are_not_reminded_of(rig: Rig) -> None:
    rig.open(severity=WARNING)
    for _ in range(4):
        await rig.step(16 * 60)
    assert len(rig.road.taken) == 1


async def test_warnings_wait_for_the_end_of_the_night_and_critical_ones_do_not() -> None:
    rig = Rig(quiet_from="22:00", quiet_to="07:00")
    rig.clock.turn(11 * 3600)  # 23:00
    rig.open("a", severity=WARNING)
    rig.open("b", severity=WARNING)
    over = rig.open("c", severity=WARNING)
    rig.open("d")
    await rig.step()
    assert [m.critical for _, m in rig.road.taken] == [True]
    rig.change(over, "resolved: over", state=AlertState.RESOLVED)
    await rig.step(7 * 3600 + 3000)  # 06:50
    warnings = [m for _, m in rig.road.taken if not m.critical]
    assert warnings == []
    await rig.step(900)
    (told,) = [m for _, m in rig.road.taken if not m.critical]
    assert told.title == "voltage too high at 2 meters (2 alerts)"
    assert "Since 2025-11-22 23:00." in told.body
    assert not told.loud, "seven hours old is no news"


async def test_critical_alerts_may_be_told_to_wait_too() -> None:
    rig = Rig(quiet_from="11:00", quiet_to="13:00", quiet_critical=True)
    rig.open()
    await rig.step()
    assert rig.road.taken == []
    await rig.step(3601)
    assert len(rig.road.taken) == 1


async def test_a_clock_that_nobody_set_knows_no_night() -> None:
    rig = Rig(quiet_from="11:00", quiet_to="13:00")
    rig.clock.is_trusted = False
    rig.open(severity=WARNING)
    await rig.step()
    assert len(rig.road.taken) == 1


async def test_what_was_committed_before_a_crash_is_told_after_it(rig: Rig) -> None:
    rig.open()
    rig.start()
    await rig.step()
    rig.start()
    await rig.step()
    assert len(rig.road.taken) == 1


async def test_planned_but_not_sent_is_sent_after_a_crash(rig: Rig) -> None:
    rig.open()
    await rig.notifier.plan()
    rig.start()
    await rig.step()
    assert len(rig.road.taken) == 1


async def test_sent_but_not_marked_is_one_visible_push(rig: Rig) -> None:
    alert = rig.open()
    await rig.notifier.plan()
    (notice,) = await rig.store.waiting(10)
    await rig.road.send("anna", (await rig.delivery.message(notice.target, notice.tag, [notice])))
    rig.start()
    await rig.step()
    assert len(rig.road.taken) == 2
    assert list(rig.road.visible()) == [alert.id]


async def test_news_of_an_hour_ago_is_told_as_old_and_without_a_sound(rig: Rig) -> None:
    rig.open(severity=WARNING, at_ms=NOON_MS - 3_600_000)
    await rig.step()
    ((_, message),) = rig.road.taken
    assert "Since 11:00." in message.body
    assert not message.loud


async def test_switched_off_nothing_is_told_and_nothing_piles_up() -> None:
    rig = Rig(enabled=False)
    rig.open()
    await rig.step()
    assert rig.road.taken == []
    assert await rig.store.news(10) == []
    assert await rig.store.waiting(10) == []


async def test_that_it_is_over_is_told_only_if_asked_and_to_those_who_heard() -> None:
    rig = Rig(resolved=True)
    alert, late = rig.open(), None
    await rig.step()
    rig.road.known["bert"] = "de"
    rig.clock.turn(600)
    rig.change(alert, "resolved: fine", state=AlertState.RESOLVED, resolved_ms=rig.clock.ms)
    await rig.step()
    assert [(to, m.title) for to, m in rig.road.taken[1:]] == [
        ("anna", "Over: kitchen: voltage too high")
    ]
    assert "From 12:00 to 12:10." in rig.road.visible()[alert.id].body
    assert not rig.road.visible()[alert.id].loud
    assert late is None


class ParkedRoad(KeepingRoad):
    """Takes what it is given, and answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.taking, self.let = asyncio.Event(), asyncio.Event()

    async def send(self, target: str, message: Message) -> Outcome:
        outcome = await super().send(target, message)
        self.taking.set()
        await self.let.wait()
        return outcome


@pytest.fixture
async def parked() -> tuple[Rig, ParkedRoad, Alert]:
    """Give a site where one alert's push is under way and its answer is awaited."""
    rig = Rig(resolved=True)
    rig.road = road = ParkedRoad()
    rig.start()
    alert = rig.open()
    await rig.notifier.step()
    async with asyncio.timeout(30):
        await road.taking.wait()
    return rig, road, alert


def over(rig: Rig, alert: Alert) -> None:
    rig.change(alert, "resolved: fine", state=AlertState.RESOLVED, resolved_ms=rig.clock.ms)


def titles(rig: Rig) -> list[str]:
    return [message.title.split(":")[0] for _, message in rig.road.taken]


async def test_what_is_over_while_its_push_is_under_way_is_told_as_over(
    parked: tuple[Rig, ParkedRoad, Alert],
) -> None:
    rig, road, alert = parked
    over(rig, alert)
    await rig.notifier.step()
    road.let.set()
    await rig.delivery.settle()
    await rig.step(1)
    assert titles(rig) == ["Critical", "Over"]


async def test_what_is_over_after_a_crash_in_its_push_is_told_as_over(
    parked: tuple[Rig, ParkedRoad, Alert],
) -> None:
    rig, road, alert = parked
    await rig.delivery.close()  # before the answer was noted
    road.let.set()
    over(rig, alert)
    rig.start()
    await rig.step()
    await rig.step(1)
    assert titles(rig) == ["Critical", "Over"]


async def test_what_was_answered_while_its_push_was_under_way_is_told_as_over_too(
    parked: tuple[Rig, ParkedRoad, Alert],
) -> None:
    rig, road, alert = parked
    alert = rig.change(alert, "acknowledged", "ada", state=AlertState.ACKNOWLEDGED)
    await rig.notifier.step()
    await rig.delivery.close()
    road.let.set()
    over(rig, alert)
    rig.start()
    await rig.step()
    assert titles(rig) == ["Critical", "Over"]


@pytest.mark.parametrize(("maybe", "heard"), [(False, []), (True, ["Over"])])
async def test_what_a_road_surely_did_not_take_is_not_told_as_over(
    maybe: bool,  # noqa: FBT001 - a case
    heard: list[str],
) -> None:
    rig = Rig(resolved=True)
    rig.road.answers["anna"] = Outcome(Result.LATER, "down", maybe=maybe)
    alert = rig.open()
    await rig.step()
    rig.road.answers["anna"] = Outcome(Result.LATER, "down")
    await rig.step(301)  # what came of the first try stays open
    rig.road.answers.clear()
    over(rig, alert)
    await rig.step(301)
    await rig.step(301)
    assert titles(rig) == heard


async def test_what_was_over_before_its_turn_is_not_told(rig: Rig) -> None:
    """It was read as waiting, and stands behind another message of its target."""
    rig.road = road = ParkedRoad()
    rig.start()
    first, second = rig.open("a"), rig.open("b", key=("b", "", AlertKind.OVER_CURRENT))
    await rig.notifier.step()
    async with asyncio.timeout(30):
        await road.taking.wait()
    waiting = next(a for a in (first, second) if a.id not in rig.road.visible())
    over(rig, waiting)
    await rig.notifier.step()
    road.let.set()
    await rig.delivery.settle()
    await rig.step(1)
    assert titles(rig) == ["Critical"]


async def test_everybody_is_told_in_the_own_language(rig: Rig) -> None:
    rig.road.known |= {"bert": "de", "carla": "pt", "dora": "fr", "eva": "es", "x": "tlh"}
    rig.open()
    await rig.step()
    titles = {to: message.title for to, message in rig.road.taken}
    assert titles["bert"] == "Kritisch: kitchen: Spannung zu hoch"
    assert titles["carla"] == "Crítico: kitchen: tensão demasiado alta"
    assert titles["x"] == titles["anna"]
    assert "276,2 V\nGrenze 264,5 V" in rig.road.visible("bert")[f"kitchen-{NOON_MS}"].body


async def test_a_hopeless_notice_is_given_up(rig: Rig) -> None:
    rig.road.answers["anna"] = Outcome(Result.LATER, "down")
    rig.open(severity=WARNING)
    for _ in range(26):
        await rig.step(3600)
    assert await rig.store.waiting(10) == []
    assert (await rig.store.counts())["dropped"] == 1


def test_the_rig_s_alert_is_one_of_the_contract() -> None:
    assert alert_of("a", 1).key[2] in set(AlertKind)

"""How a message fares: taken, later, refused, gone, blocked; and nobody waits for another."""

import asyncio

import pytest

from gateway.domain.alerts import AlertState, Severity
from gateway.services.notify import delivery
from gateway.services.notify.ports import Message, Outcome, Result, Target
from tests.gateway.services.notify.rig import KeepingRoad, Rig


async def test_a_busy_road_is_left_alone_as_long_as_it_asks(rig: Rig) -> None:
    rig.road.answers["anna"] = Outcome(Result.LATER, "quota", 120)
    rig.open()
    await rig.step()
    assert rig.road.asked == 1
    await rig.step(119)
    assert rig.road.asked == 1
    del rig.road.answers["anna"]
    await rig.step(2)
    assert rig.road.asked == 2
    assert len(rig.road.taken) == 1


async def test_a_failing_road_is_tried_less_and_less_and_never_given_up_soon(rig: Rig) -> None:
    rig.road.answers["anna"] = Outcome(Result.LATER, "down")
    rig.open()
    for _ in range(600):
        await rig.step(1)
    assert 3 <= rig.road.asked <= 60
    assert len(await rig.store.waiting(10)) == 1
    del rig.road.answers["anna"]
    await rig.step(301)
    assert len(rig.road.taken) == 1


async def test_the_next_look_is_when_something_may_be_tried(rig: Rig) -> None:
    assert rig.delivery.next_try_s(rig.clock.mono_s()) > 1000
    rig.road.answers["anna"] = Outcome(Result.LATER, "quota", 120)
    rig.open()
    await rig.step()
    await rig.step(1)
    assert 118 <= rig.delivery.next_try_s(rig.clock.mono_s()) <= 119.5


async def test_a_device_that_is_gone_is_forgotten_and_others_are_told(rig: Rig) -> None:
    rig.road.known["bert"] = "en"
    rig.road.answers["anna"] = Outcome(Result.GONE, "UNREGISTERED")
    rig.open()
    await rig.step()
    assert set(rig.road.known) == {"bert"}
    assert [to for to, _ in rig.road.taken] == ["bert"]
    assert await rig.store.waiting(10) == []


async def test_a_device_removed_meanwhile_is_no_error(rig: Rig) -> None:
    rig.open()
    await rig.notifier.plan()
    rig.road.known.clear()
    await rig.step()
    assert dict(await rig.store.counts()) == {"dropped": 1}


async def test_what_is_refused_for_ever_is_dropped_and_the_next_one_sent(rig: Rig) -> None:
    rig.road.answers["anna"] = Outcome(Result.REFUSED, "bad message")
    rig.open("a")
    await rig.step()
    assert dict(await rig.store.counts()) == {"dropped": 1}
    del rig.road.answers["anna"]
    rig.clock.turn(61)
    rig.open("b")
    await rig.step()
    assert len(rig.road.taken) == 1


async def test_a_blocked_road_says_who_must_act_keeps_all_and_goes_on_afterwards(rig: Rig) -> None:
    rig.road.known |= {f"d{k}": "en" for k in range(5)}
    for target in rig.road.known:
        rig.road.answers[target] = Outcome(Result.BLOCKED, "renew the key")
    rig.open()
    await rig.step()
    assert rig.delivery.trouble == {"push": "renew the key"}
    asked = rig.road.asked
    await rig.step(30)
    assert rig.road.asked == asked, "a minute of rest at least"
    rig.road.answers.clear()
    await rig.step(301)
    assert len(rig.road.taken) == 6
    assert rig.delivery.trouble == {}


async def test_what_was_resolved_while_it_waited_is_not_sent(rig: Rig) -> None:
    rig.road.answers["anna"] = Outcome(Result.LATER, "down", 60)
    alert = rig.open()
    await rig.step()
    rig.change(alert, "resolved: fine", state=AlertState.RESOLVED)
    rig.road.answers.clear()
    await rig.step(61)
    assert rig.road.taken == []


async def test_a_target_may_want_only_some(rig: Rig) -> None:
    rig.road.unwanted.add(("anna", "opened"))
    rig.open()
    await rig.step()
    assert rig.road.taken == []


class SlowRoad(KeepingRoad):
    """Takes for ever with one target."""

    async def send(self, target: str, message: Message) -> Outcome:
        if target == "slow":
            await asyncio.sleep(30)
        return await super().send(target, message)


async def test_a_slow_target_holds_nobody_up_and_is_told_once() -> None:
    rig = Rig()
    rig.road = SlowRoad({"slow": "en", "anna": "en"})
    rig.start()
    for k in range(3):
        rig.open(f"m{k}", severity=Severity.WARNING if k else Severity.CRITICAL)
        rig.clock.turn(61)
        await rig.notifier.step()
        await asyncio.sleep(0.01)
    assert [to for to, _ in rig.road.taken] == ["anna"] * 3
    await rig.delivery.close()
    waiting = {notice.target for notice in await rig.store.waiting(10)}
    assert waiting == {Target("push", "slow")}


async def test_a_dead_target_with_much_to_wait_for_holds_nobody_up(rig: Rig) -> None:
    rig.road.known["dead"] = "en"
    rig.road.answers["dead"] = Outcome(Result.LATER, "down", 3600)
    for k in range(501):
        rig.open(f"m{k}", severity=Severity.WARNING)
    rig.road.unwanted.add(("anna", "opened"))
    await rig.step()
    rig.road.unwanted.clear()
    rig.clock.turn(61)
    rig.open("new", severity=Severity.WARNING)
    await rig.step()
    assert [to for to, _ in rig.road.taken] == ["anna"]


async def test_an_unbounded_wait_is_cut(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SEND_LIMIT_S", 0.02)
    rig.road = SlowRoad({"slow": "en"})
    rig.start()
    rig.open()
    await rig.step()
    assert len(await rig.store.waiting(10)) == 1


class BrokenRoad(KeepingRoad):
    """Has a defect, for a while."""

    broken = True

    async def send(self, target: str, message: Message) -> Outcome:
        if self.broken:
            msg = "a defect"
            raise RuntimeError(msg)
        return await super().send(target, message)


async def test_a_road_with_a_defect_loses_nothing(rig: Rig) -> None:
    road = BrokenRoad()
    rig.road = road
    rig.start()
    rig.open()
    await rig.step()
    assert len(await rig.store.waiting(10)) == 1
    road.broken = False
    await rig.step(301)
    assert len(road.taken) == 1

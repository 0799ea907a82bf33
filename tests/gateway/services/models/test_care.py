"""Decisions in haste: wrong clocks, crashes, failures of the judge, hands of people."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.domain.errors import BadInputError, NotFoundError
from gateway.services.models import rules
from gateway.services.models.operations import ModelOperations, listed
from tests.support.bad_models import CHANNEL, METER, good_package
from tests.support.model_rig import LATER_MS, ModelSite
from tests.support.small_home import small_home
from tinymodels.detect.contract import Verdict
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS

LIMITS = rules.Limits(shadow_days=0.1, health_hours=1, alarms_per_month=4)
DAY = small_home(1, seed=3, from_ms=LATER_MS)
SHADOW = DAY.between(0, LATER_MS + 160 * MINUTE_MS)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ModelSite]:
    made = ModelSite(tmp_path / "s.db", LIMITS)
    await made.load()
    yield made
    made.stop()


async def restart(site: ModelSite) -> None:
    """Lose the power, and start the program again, as far as the service that counts."""
    site.stop()
    site.start()
    await site.load()
    await site.care._count_start()  # noqa: SLF001 - run does it first of all


async def activated(site: ModelSite, version: int) -> str:
    pulled = await site.add(good_package(version))
    await site.care.look()
    await site.care.activate_by_hand(pulled.path, METER, who="ada", force=False)
    return pulled.path


async def test_what_a_wrong_clock_took_does_not_judge_until_it_is_vouched_for(
    site: ModelSite,
) -> None:
    good_until_ms = site.now.wall + 10 * DAY_MS
    site.now.trust = False
    pulled = await site.add(good_package(1), unproven_ms=good_until_ms)
    await site.care.look()
    await site.live(SHADOW)
    assert site.state(pulled) == "shadow"  # its time is over, and nobody knows what time it is
    site.now.trust = True
    site.feed(DAY.between(LATER_MS + 160 * MINUTE_MS, LATER_MS + 170 * MINUTE_MS))
    await site.care.look()
    assert site.state(pulled) == "active"


async def test_where_people_decide_a_trial_waits_for_them(site: ModelSite) -> None:
    site.care._automatic = False  # noqa: SLF001 - as the settings say
    pulled = await site.add(good_package(1))
    await site.care.look()
    await site.live(DAY.between(0, LATER_MS + 240 * MINUTE_MS), look_each=40)
    assert site.state(pulled) == "shadow"
    assert [what for what, _ in await site.told()].count("ready") == 1
    await site.care.activate_by_hand(pulled.path, "", who="ada", force=False)
    assert site.state(pulled) == "active"


async def test_what_nobody_vouches_for_any_more_never_judges(site: ModelSite) -> None:
    pulled = await site.add(good_package(1), unproven_ms=site.now.wall - 1)
    await site.care.look()
    await site.live(SHADOW)
    assert site.state(pulled) == "rejected"
    assert "pull again" in site.trials()[pulled.path].why


async def test_a_clock_that_jumps_ahead_brings_no_time_in_shadow(site: ModelSite) -> None:
    site.limits = LIMITS._replace(shadow_days=3)
    pulled = await site.add(good_package(1))
    await site.care.look()
    far = small_home(0.1, seed=3, from_ms=LATER_MS + 30 * DAY_MS)
    await site.live(SHADOW)
    await site.live(far)
    facts = site.trials()[pulled.path].facts
    assert facts.last_ms - facts.from_ms > 20 * DAY_MS
    assert site.state(pulled) == "shadow"


async def test_three_unclean_ends_bring_the_one_before_back(site: ModelSite) -> None:
    first = await activated(site, 1)
    site.care.bench.trials[1, METER, CHANNEL].facts.healthy = True
    second = await activated(site, 2)
    for _ in range(2):
        await restart(site)
        await site.care.look()
        assert site.trials()[second].state == "active"
    await site.care.close()  # an orderly end: it begins to count anew
    for _ in range(3):
        await restart(site)
    site.feed(SHADOW)
    await site.care.look()
    assert site.trials()[second].state == "rolled_back"
    assert "uncleanly 3 times" in site.trials()[second].why
    assert site.trials()[first].state == "active"
    assert site.track.judge.models[CHANNEL] is site.care.chosen(METER)[CHANNEL]


@pytest.mark.parametrize("channel", [CHANNEL, ""])
async def test_a_judge_that_fails_is_replaced_at_once(site: ModelSite, channel: str) -> None:
    path = await activated(site, 1)
    site.care.failed(METER, channel, "ArithmeticError: the model's score is nan")
    await site.care.look()
    assert site.trials()[path].state == "rolled_back"
    assert site.champion_judges
    assert "score is nan" in site.rejections()[0]


async def test_a_model_that_raises_or_gives_no_number_ends_its_trial(
    site: ModelSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, result in ((1, Verdict(math.nan, above=False)), (2, None)):
        pulled = await site.add(good_package(version))
        await site.care.look()
        runner = site.care.bench._runners[pulled.no, METER, CHANNEL]  # noqa: SLF001

        def step(_: Any, __: Any, given: Any = result) -> Any:  # noqa: ANN401
            if given is None:
                raise ZeroDivisionError
            return given

        broken = SimpleNamespace(step=step, limit=1.0, clear_limit=1.0, step_ms=MINUTE_MS)
        monkeypatch.setattr(runner._own, "model", broken)  # noqa: SLF001
        await site.live(SHADOW)
        assert site.state(pulled) == "rejected"
        why = site.trials()[pulled.path].why
        assert ("nan" in why) if result else ("ZeroDivisionError" in why)


async def test_hands_of_people(site: ModelSite) -> None:
    with pytest.raises(NotFoundError, match="no model from elsewhere judges"):
        await site.care.roll_back_by_hand("", "", who="ada")
    with pytest.raises(NotFoundError, match="models list"):
        await site.care.activate_by_hand("stable/x.wwm", "", who="ada", force=False)
    first, second = await activated(site, 1), await activated(site, 2)
    assert await site.care.roll_back_by_hand(METER, CHANNEL, who="ada") == [
        f"{METER} {CHANNEL}: {first}"
    ]
    with pytest.raises(BadInputError, match="add --force"):
        await site.care.activate_by_hand(second, METER, who="ada", force=False)
    await site.care.activate_by_hand(second, METER, who="ada", force=True)
    assert site.trials()[second].state == "active"
    slots = {one["path"]: one["slot"] for one in listed(site.care)}
    assert slots == {first: "retired", second: "champion"}
    assert site.care.counts()["active"] == 1
    await site.care.roll_back_by_hand("", "", who="ada")
    await site.care.roll_back_by_hand("", "", who="ada")
    assert site.champion_judges
    assert site.rejections() == []  # a person knows what they did


async def test_a_newer_version_takes_the_place_of_one_in_shadow(site: ModelSite) -> None:
    first = await site.add(good_package(1))
    await site.care.look()
    second = await site.add(good_package(2))
    await site.care.look()
    assert site.state(first) == "retired"
    assert site.state(second) == "shadow"


async def test_a_restart_goes_on_with_a_trial(site: ModelSite) -> None:
    pulled = await site.add(good_package(1))
    await site.care.look()
    half = LATER_MS + 80 * MINUTE_MS
    await site.live(SHADOW.between(0, half))
    await site.care.close()
    await restart(site)
    assert site.trials()[pulled.path].facts.minutes == 80
    site.feed(SHADOW)  # what the judging repeats counts once
    assert site.trials()[pulled.path].facts.minutes == 160
    await site.care.look()
    assert site.state(pulled) == "active"


async def test_the_operations(site: ModelSite) -> None:
    made: Any = ModelOperations(site.care, None, None, site.store)  # type: ignore[arg-type]
    path = await activated(site, 1)
    history = await made.reading()["models.history"]({"limit": 2}, "ada")
    assert [one["what"] for one in history["items"]] == ["activated", "shadow"]
    for wrong in (0, 1001, "x", True):
        with pytest.raises(BadInputError, match="limit"):
            await made.reading()["models.history"]({"limit": wrong}, "ada")
    with pytest.raises(BadInputError, match="path: must be given"):
        await made.changing()["models.activate"]({}, "ada")
    with pytest.raises(BadInputError, match="force"):
        await made.changing()["models.activate"]({"path": path, "force": "yes"}, "ada")
    done = await made.changing()["models.rollback"]({}, "ada")
    assert done == {"now": [f"{METER} {CHANNEL}: what is fitted here"]}

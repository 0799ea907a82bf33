"""From shadow to judge: good models come through, bad ones that the gate let pass are stopped."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from gateway.services.models import rules
from tests.support.bad_models import (
    CHANNEL,
    FEW_SCORES,
    METER,
    Flaw,
    bad_package,
    good_package,
)
from tests.support.model_rig import LATER_MS, ModelSite
from tests.support.small_home import small_home
from tinymodels.detect.minutes import DAY_MS
from tinymodels.detect.pace import Pace

LIMITS = rules.Limits(shadow_days=4, health_hours=24, alarms_per_month=4)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ModelSite]:
    made = ModelSite(tmp_path / "s.db", LIMITS)
    await made.load()
    yield made
    made.stop()


async def test_a_good_model_becomes_the_judge_after_its_time(site: ModelSite) -> None:
    assert site.champion_judges
    pulled = await site.add(good_package(1))
    await site.care.look()
    assert site.state(pulled) == "shadow"
    week = small_home(7, seed=3, from_ms=LATER_MS)
    await site.live(week.between(0, LATER_MS + 3 * DAY_MS))
    assert site.state(pulled) == "shadow"  # its days are not over
    stored = await site.store.scores(site.trials()[pulled.path])
    assert len(stored) > 600
    await site.live(week.between(LATER_MS + 3 * DAY_MS, LATER_MS + 5 * DAY_MS))
    assert site.state(pulled) == "active", await site.told()
    assert "agreement" in site.trials()[pulled.path].why
    assert site.track.judge.models[CHANNEL].kind == "charts"
    await site.live(week.between(LATER_MS + 5 * DAY_MS, LATER_MS + 7 * DAY_MS))
    assert site.trials()[pulled.path].facts.healthy
    whats = [what for what, _ in await site.told()]
    assert whats == ["verified", "shadow", "activated", "healthy"]
    assert site.rejections() == []


@pytest.mark.parametrize(
    ("flaw", "why"),
    [
        (Flaw.CONSTANT, "blind"),
        (Flaw.MANY_ALERTS, "alarm"),
        (Flaw.SLOW, "too slow"),
        (Flaw.HIDDEN_ORDER, "alarm|agrees"),
    ],
)
async def test_a_bad_model_is_stopped_in_shadow(site: ModelSite, flaw: Flaw, why: str) -> None:
    pulled = await site.add(bad_package(flaw, 2))
    await site.care.look()
    days = 0.1 if flaw is Flaw.SLOW else 5
    await site.live(small_home(days, seed=3, from_ms=LATER_MS))
    trial = site.trials()[pulled.path]
    assert site.state(pulled) == "rejected", (trial.why, rules.alone(trial.facts))
    assert re.search(why, trial.why), trial.why
    assert site.champion_judges
    (said,) = site.rejections()
    assert pulled.path in said
    assert "What judged before goes on" in said


async def test_a_bad_model_forced_to_judge_is_rolled_back(site: ModelSite) -> None:
    # Its alarms are ten times those of the good one: some twenty a month, two being usual.
    site.limits = LIMITS._replace(alarms_per_month=2)
    for flaw, version in ((Flaw.MANY_ALERTS, 2), (Flaw.SLOW, 3)):
        pulled = await site.add(bad_package(flaw, version))
        await site.care.look()
        # (The slow one is refused as soon as it is warmed up.)
        await site.care.activate_by_hand(pulled.path, METER, who="ada", force=True)
        assert site.track.judge.models[CHANNEL].kind == "charts"
        days = 0.1 if flaw is Flaw.SLOW else 5
        await site.live(small_home(days, seed=3, from_ms=LATER_MS + (version - 2) * 5 * DAY_MS))
        assert site.state(pulled) == "rolled_back", site.trials()[pulled.path].facts.events
        assert site.champion_judges
        assert len(site.rejections()) == 1


async def test_a_trial_begins_warm_from_what_is_stored_whatever_the_hour(site: ModelSite) -> None:
    midnight = small_home(5, seed=3, from_ms=LATER_MS)
    pulled = await site.add(good_package(1))
    await site.care.look()
    facts = site.trials()[pulled.path].facts
    assert (facts.warmed, facts.minutes, facts.from_ms) == (5 * 1440, 0, 0)
    site.feed(midnight.between(0, LATER_MS + DAY_MS // 24))
    assert facts.from_ms == LATER_MS  # counts at once
    runner = site.care.bench._runners[pulled.no, METER, CHANNEL]  # noqa: SLF001
    model = runner._own.model  # noqa: SLF001
    state = model.new_state()
    rows = [*site.before.rows(), *midnight.between(0, LATER_MS + DAY_MS // 24).rows()]
    said = [one for row in rows if (one := model.step(state, row)) is not None]
    np.testing.assert_allclose(runner._own.state.averages, state.averages, atol=1e-6)  # noqa: SLF001
    assert len(said) > 0
    await site.live(midnight.between(LATER_MS + DAY_MS // 24, 2**62))
    assert site.state(pulled) == "active", await site.told()


async def test_where_nothing_is_stored_the_first_day_does_not_count(tmp_path: Path) -> None:
    site = ModelSite(tmp_path / "s.db", LIMITS, before=FEW_SCORES)
    await site.load()
    pulled = await site.add(good_package(1))
    await site.care.look()
    days = small_home(5.2, seed=3, from_ms=LATER_MS)
    await site.live(days.between(0, LATER_MS + DAY_MS))
    facts = site.trials()[pulled.path].facts
    assert (facts.warmed, facts.minutes, facts.steps, facts.events) == (1440, 0, 0, [])
    await site.live(days.between(LATER_MS + DAY_MS, 2**62))
    assert facts.from_ms == LATER_MS + DAY_MS
    assert site.state(pulled) == "active", await site.told()
    site.stop()


async def test_what_comes_while_a_trial_is_warmed_up_is_not_lost(site: ModelSite) -> None:
    pulled = await site.add(good_package(1))
    hour = small_home(1 / 24, seed=3, from_ms=LATER_MS)
    looking = asyncio.ensure_future(site.care.look())
    while not site.care.bench.trials:  # noqa: ASYNC110 - there is nothing to wait for
        await asyncio.sleep(0)
    site.feed(hour)
    await looking
    facts = site.trials()[pulled.path].facts
    assert (facts.warmed, facts.minutes) == (5 * 1440, 60)


async def test_a_champion_is_heard_with_what_it_remembers_where_it_judges(site: ModelSite) -> None:
    track, hour = site.track, small_home(1 / 24, seed=3, from_ms=LATER_MS)
    model = track.judge.models[CHANNEL]
    state = model.load_state(track.judge.memory(CHANNEL))
    await site.add(good_package(1))
    await site.care.look()
    site.feed(hour)
    heard = [one.champion for one in site.care.bench.pending if one.champion == one.champion]
    said = [one.score for row in hour.rows() if (one := model.step(state, row)) is not None]
    # The first minute here is the last that the judge has taken in.
    assert len(heard) >= len(said) - 2
    np.testing.assert_allclose(heard[2:], said[-len(heard) :][2:], rtol=0.2)


async def test_a_trial_and_its_champion_are_heard_at_the_pace_of_the_home(site: ModelSite) -> None:
    pattern = site.track.judge._channels[CHANNEL].pattern  # noqa: SLF001
    pattern.state.pace = Pace({"power": 0.3})
    pulled = await site.add(good_package(1))
    await site.care.look()
    site.feed(small_home(1 / 24, seed=3, from_ms=LATER_MS))
    runner = site.care.bench._runners[pulled.no, METER, CHANNEL]  # noqa: SLF001
    assert runner._champion is not None  # noqa: SLF001
    for voice in (runner._own, runner._champion):  # noqa: SLF001
        assert voice.alarm.pace.louder["power"] == 0.3

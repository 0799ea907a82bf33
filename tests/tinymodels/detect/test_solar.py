"""A roof against its own envelope and beside neighbours: contract, losses found, weather not."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.support.roofs import FAULT_DAY, FROM_MS, roof
from tinymodels.detect.contract import FitRefusedError, ModelRefusedError, Options
from tinymodels.detect.events import events
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes
from tinymodels.detect.solar import (
    LATELY_DAYS,
    SolarFitter,
    SolarModel,
    daily,
    sun_like,
    yields,
)

OPTIONS = Options(ZoneInfo("UTC"), 4.0)


def fit(minutes: Minutes, **options: object) -> SolarModel:
    fitter = SolarFitter(**options)  # type: ignore[arg-type]
    return fitter.fit(minutes.between(FROM_MS, FROM_MS + 95 * DAY_MS), OPTIONS)


def alerts(model: SolarModel, minutes: Minutes) -> list[float]:
    """Return on which days alerts began, counted from the fault."""
    starts, scores = model.score(minutes)
    found = events(model, starts, scores)
    return [(event.from_ms - FROM_MS) / DAY_MS - FAULT_DAY for event in found]


def test_clouds_raise_nothing_and_a_lost_string_does_within_a_week() -> None:
    model = fit(roof())
    assert alerts(model, roof()) == []
    (day,) = alerts(model, roof(lost=0.4))[:1]
    assert 0 < day <= LATELY_DAYS + 1


def test_neighbours_know_the_clouds_and_tell_it_sooner() -> None:
    cloudy = 5  # a sky whose 136th day ends a week without sun
    assert len(alerts(fit(roof(sky=cloudy)), roof(sky=cloudy))) == 1
    peers = sun_like([yields(roof(seed=seed, sky=cloudy)) for seed in (7, 8, 9)])
    both = fit(roof(sky=cloudy), peers=peers)
    assert alerts(both, roof(sky=cloudy)) == []
    (beside,) = alerts(both, roof(lost=0.3, sky=cloudy))[:1]
    assert 0 < beside <= 4


def test_streaming_equals_batch() -> None:
    minutes = roof(days=80, lost=0.3)
    model = fit(roof())
    state = model.new_state()
    live = []
    for number, row in enumerate(minutes.rows()):
        if number % 1000 == 0:
            state = model.load_state(model.dump_state(state))
        if verdict := model.step(state, row):
            live.append(verdict.score)
    starts, scores = model.score(minutes)
    assert np.allclose(live, scores)
    assert (starts % DAY_MS == 0).all()


def test_the_explanation_tells_the_part_of_the_envelope() -> None:
    model, state = fit(roof()), SolarModel(1, 1, 1, 0, 1).new_state()
    for row in roof(days=112, lost=0.4).rows():
        model.step(state, row)
    told = model.explain(state)
    assert told.feature == "yield"
    assert told.value == pytest.approx(0.6, abs=0.1)
    assert told.since_ms >= FROM_MS + FAULT_DAY * DAY_MS


def test_bytes_round_trip_and_others_are_refused() -> None:
    model = fit(roof(), peers={20_500: 0.8})
    assert SolarModel.from_bytes(model.to_bytes()) == model
    for body in (b"", b"\x80", model.with_limit(1).to_bytes()[:-3]):
        with pytest.raises(ModelRefusedError):
            SolarModel.from_bytes(body)
    broken = SolarModel(float("nan"), 1, 1, 0, 1)
    with pytest.raises(ModelRefusedError):
        SolarModel.from_bytes(broken.to_bytes())
    assert model.load_state(b"no state") == model.new_state()


def test_too_little_or_no_sun_is_refused() -> None:
    with pytest.raises(FitRefusedError, match="60"):
        SolarFitter().fit(roof(days=40), OPTIONS)
    dark = roof(days=90)
    dark.values[:, :3] = 0.0
    with pytest.raises(FitRefusedError, match="sun"):
        SolarFitter().fit(dark, OPTIONS)


def test_unknown_power_is_no_day_without_sun() -> None:
    """A day of NaN leaves no yield, neither good nor bad."""
    minutes = roof()
    minutes.values[50 * 48 : 53 * 48, :3] = np.nan
    found = yields(minutes)
    first = FROM_MS // DAY_MS
    assert not {first + 50, first + 51, first + 52} & found.keys()
    assert len(daily(minutes)) == 137


def test_minutes_and_half_hours_give_the_same() -> None:
    """Live there is a row every minute; an archive may have one each half hour."""
    coarse = roof(days=30)
    starts = (coarse.start_ms[:, None] + MINUTE_MS * np.arange(30)).ravel()
    fine = Minutes(starts, np.repeat(coarse.values, 30, axis=0))
    for (day, slots), (other, others) in zip(daily(fine), daily(coarse), strict=True):
        assert day == other
        assert slots == pytest.approx(others)

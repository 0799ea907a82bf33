"""Each family of charts raises an alarm of its own, and says what it is about."""

from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from tests.tinymodels.detect.homes import changed, following, home
from tinymodels.detect.alarm import Alarm
from tinymodels.detect.bank import CHARTS
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.combined_fit import FITTER
from tinymodels.detect.contract import ModelRefusedError, Options
from tinymodels.detect.events import events
from tinymodels.detect.families import (
    FAMILIES,
    OF_CHARTS,
    REACTIVE,
    VOLTAGE,
    by_family,
    members,
)
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes

HOUR_MS = 60 * MINUTE_MS
OPTIONS = Options(ZoneInfo("UTC"), 4.0)
WATTS = ("p_mean_w", "p_min_w", "p_max_w")


@pytest.fixture(scope="module")
def model() -> CombinedModel:
    return FITTER.fit(home(28), OPTIONS)


def two_faults() -> tuple[Minutes, int]:
    """Return a load that stays for a day, ten hours into it a voltage that is off; and when."""
    clean = following(4, 28, 9)
    from_ms = int(clean.start_ms[0]) + 2 * DAY_MS + HOUR_MS
    both_ms = from_ms + 10 * HOUR_MS
    load = changed(clean, from_ms, from_ms + DAY_MS, add=dict.fromkeys(WATTS, 400.0))
    return changed(
        load, both_ms, both_ms + 12 * HOUR_MS, times={"v_mean_v": 1.04, "v_max_v": 1.04}
    ), both_ms


def test_every_chart_is_of_one_family() -> None:
    names = tuple(CHARTS)
    places = [at for family in OF_CHARTS for at in members(names, family)]
    assert sorted(places) == list(range(len(names)))
    assert members(names, FAMILIES.index("special")) == []
    ratios = np.arange(len(names), dtype=float)
    most = [max(members(names, family)) for family in OF_CHARTS]
    assert by_family(ratios, names).tolist() == most
    assert by_family(ratios[:1], ("power",)).tolist() == [0.0, 0.0, 0.0]


def test_what_comes_beside_an_open_alarm_is_found_and_named(model: CombinedModel) -> None:
    faulty, both_ms = two_faults()
    starts, scores = model.score_sources(faulty)
    found = [one for one in events(model, starts, scores) if one.from_ms > both_ms]
    assert found[0].anew
    assert found[0].from_ms - both_ms <= 6 * HOUR_MS
    single = events(model, *model.score(faulty))
    assert not [one for one in single if 0 < one.from_ms - both_ms <= 6 * HOUR_MS]
    state, alarm, told = model.new_state(), Alarm(), []
    for row in faulty.rows():
        verdict = model.step(state, row)
        if verdict is None:
            continue
        alarm.step(model, verdict.sources)
        if alarm.begins and both_ms < row.start_ms <= both_ms + 6 * HOUR_MS:
            at = model.sources.names.index(alarm.source)
            told.append((model.sources.families[at], model.explain_source(state, at)))
    ((family, voltage),) = told
    assert family == VOLTAGE
    assert voltage.unit == "V"
    assert 5 < voltage.value - voltage.expected < 15
    assert both_ms - HOUR_MS <= voltage.since_ms <= both_ms + HOUR_MS


def test_the_loudest_family_speaks_where_none_is_asked_for(model: CombinedModel) -> None:
    clean = following(2.5, 28, 9)
    from_ms = int(clean.start_ms[-1]) - HOUR_MS
    swell = changed(clean, from_ms, from_ms + DAY_MS, times={"v_mean_v": 1.08, "v_max_v": 1.08})
    state = model.new_state()
    for row in swell.rows():
        model.step(state, row)
    assert model.explain(state).unit == "V"
    assert model.explain_source(state, VOLTAGE).unit == "V"
    assert model.explain_source(state, REACTIVE).unit in ("var", "")


def test_families_are_only_ever_scaled_down_and_older_models_not_at_all(
    model: CombinedModel,
) -> None:
    assert len(model.balance) == len(OF_CHARTS)
    assert all(0 < part <= 1 for part in model.balance)
    fields = msgspec.msgpack.decode(model.to_bytes())
    del fields["balance"]
    older = CombinedModel.from_bytes(msgspec.msgpack.encode(fields))
    assert older.balance == (1.0, 1.0, 1.0)
    for wrong in ([1.0, 1.0], [0.0, 1.0, 1.0], [1.0, float("nan"), 1.0]):
        with pytest.raises(ModelRefusedError):
            CombinedModel.from_bytes(msgspec.msgpack.encode(fields | {"balance": wrong}))


def test_an_alarm_goes_on_under_a_model_of_other_families(model: CombinedModel) -> None:
    alarm = Alarm()
    loud, quiet = 2 * model.limit, 0.0
    alarm.step(model.charts, [loud])
    assert alarm.begins
    steps = [quiet] * len(model.sources.names)
    for _ in range(100):
        alarm.step(model, [quiet, loud, *steps[2:]])
        assert alarm.on
        assert not alarm.begins
    lasted_ms = 0
    while alarm.step(model, steps):
        lasted_ms += model.step_ms
    assert lasted_ms == HOUR_MS - model.step_ms

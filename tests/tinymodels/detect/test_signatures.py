"""Known faults are recognised by how they move all charts together."""

from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from tests.tinymodels.detect.homes import following, home
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.combined_fit import FITTER
from tinymodels.detect.contract import ModelRefusedError, Options
from tinymodels.detect.events import events, grouped
from tinymodels.detect.families import FAMILIES, OF_CHARTS
from tinymodels.detect.injector import LAWS, Event, FaultName, inject, plan
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, STEP_MS, Floats, Minutes
from tinymodels.detect.signatures import FAMILY, NONE, Held, Signatures
from tinymodels.detect.sweep import featurise

OPTIONS = Options(ZoneInfo("UTC"), 4.0)
SLOPE = -1.5
# Small ones, of which a chart alone says little.
TOLD = {
    FaultName.STUCK_HEATER: 1000.0,
    FaultName.PHANTOM_LOAD: 90.0,
    FaultName.SWELL: 1.06,
    FaultName.BYPASS: 0.6,
    FaultName.POOR_PF: 160.0,
    FaultName.REVERSED: 1.0,
}


@pytest.fixture(scope="module")
def model() -> CombinedModel:
    return FITTER.fit(home(42), OPTIONS)


def faulty(fault: FaultName) -> tuple[Minutes, Event]:
    clean = following(9, 42, 5)
    at_ms = int(clean.start_ms[0]) + 5 * DAY_MS + 600 * MINUTE_MS
    event = Event(fault, at_ms, at_ms + LAWS[fault].most_ms, TOLD[fault], 1)
    return inject(clean, event, SLOPE), event


@pytest.mark.parametrize("fault", TOLD)
def test_a_known_fault_is_found_in_time_and_named(model: CombinedModel, fault: FaultName) -> None:
    minutes, event = faulty(fault)
    found = events(model, *model.score_sources(minutes))
    begun = [one for one in found if event.start_ms < one.from_ms <= event.deadline_ms]
    assert begun
    state, named = model.new_state(), set()
    for row in minutes.rows():
        verdict = model.step(state, row)
        if verdict is not None and event.start_ms < row.start_ms <= event.deadline_ms:
            for at, name in enumerate(model.sources.names):
                if verdict.sources[at] > model.limit:
                    told = model.explain_source(state, at)
                    named.add(told.like)
                    assert told.like in ("", name)
                    assert not told.like or told.sigmas
    alike = {other.value for other, family in FAMILY.items() if family == FAMILY[fault]}
    assert named & alike


def restless(minutes: Minutes, seed: int) -> Minutes:
    """Return a home whose supply jumps by volts and whose base load differs from day to day."""
    rng, values, count = np.random.default_rng(seed), minutes.values.copy(), len(minutes)
    values[:, 3:5] += held(rng.normal(0, 5, count), 90)[:, None]
    values[:, :3] += held(rng.uniform(0, 300, count), 1440)[:, None]
    values[:, 5] += held(rng.normal(0, 120, count), 180)
    return Minutes(minutes.start_ms, values)


def held(drawn: Floats, minutes: int) -> Floats:
    return np.repeat(drawn[::minutes], minutes)[: len(drawn)]


def calmed(one: CombinedModel, clean: Minutes, most: int) -> CombinedModel:
    """Return a model with the least limit at which so many alarms are raised."""
    scores = one.score_sources(clean)
    limits = np.geomspace(0.5, 4, 60).tolist()
    return next(
        quiet for quiet in map(one.with_limit, limits) if len(events(quiet, *scores)) <= most
    )


@pytest.fixture(scope="module")
def restless_homes() -> list[tuple[Minutes, tuple[CombinedModel, CombinedModel]]]:
    """Return of three homes later weeks, and models with and without known faults."""
    found = []
    for seed in (1, 3, 7):
        history, clean = restless(home(56), seed), restless(following(60, 56, seed + 4), seed + 1)
        both = FITTER.fit(history, OPTIONS), FITTER.fit_features(*featurise(history), OPTIONS)
        found.append((clean, both))
    return found


@pytest.mark.parametrize("alarms", [1, 4])
def test_for_as_many_alarms_more_is_found_in_restless_homes(
    restless_homes: list[tuple[Minutes, tuple[CombinedModel, CombinedModel]]], alarms: int
) -> None:
    hits = [0, 0]
    for clean, both in restless_homes:
        models = [calmed(one, clean, alarms) for one in both]
        span_ms = int(clean.start_ms[0]) + 6 * DAY_MS, int(clean.start_ms[-1])
        for event in [event for fault in TOLD for event in plan(fault, span_ms, 4, 3)]:
            part = clean.between(event.start_ms - 6 * DAY_MS, event.deadline_ms + DAY_MS)
            minutes = inject(part, event, SLOPE)
            for at, model in enumerate(models):
                found = events(model, *model.score_sources(minutes))
                hits[at] += any(event.start_ms < one.from_ms <= event.deadline_ms for one in found)
    assert hits[0] > hits[1]


def test_without_examples_nothing_is_looked_for(model: CombinedModel) -> None:
    untaught = FITTER.fit_features(*featurise(home(42)), OPTIONS)
    assert untaught.signatures.faults == ()
    assert NONE.scores(np.arange(3), np.zeros((3, 4, 18))).shape == (3, 0)
    nothing = untaught.by_source(np.zeros((3, len(OF_CHARTS))), np.zeros((3, 0)))
    assert grouped(untaught.sources, nothing).tolist() == [[0.0] * len(FAMILIES)] * 3
    assert set(TOLD) <= set(model.signatures.faults)
    assert max(model.balance) < max(untaught.balance)


def test_what_nobody_measures_is_not_looked_for() -> None:
    minutes = home(42)
    values = minutes.values.copy()
    values[:, 3:6] = np.nan
    known = FITTER.fit(Minutes(minutes.start_ms, values), OPTIONS).signatures.faults
    assert FaultName.PHANTOM_LOAD in known
    assert not set(known) & {FaultName.POOR_PF, FaultName.SWELL, FaultName.SENSOR_OFF}


def test_usual_weeks_are_like_no_fault(model: CombinedModel) -> None:
    starts, values = featurise(following(30, 42, 6))
    scores = model.signatures.scores(starts, model.charts.trace(starts, values))
    assert (scores > model.limit).mean() < 0.005
    assert (scores >= 0).all()


@pytest.mark.parametrize(
    "change",
    [
        {"levels": [0.0]},
        {"spread": []},
        {"weights": [[1.0]]},
        {"centre": [float("nan")]},
        {"usual": []},
    ],
)
def test_signatures_that_do_not_fit_are_refused(
    model: CombinedModel, change: dict[str, list[float]]
) -> None:
    broken = msgspec.structs.replace(model.signatures, **change)
    body = msgspec.structs.replace(model, signatures=broken).to_bytes()
    with pytest.raises(ModelRefusedError, match="anew"):
        CombinedModel.from_bytes(body)


def test_a_model_of_other_charts_is_refused(model: CombinedModel) -> None:
    signatures, count = model.signatures, len(model.charts.charts)
    for charts, zone in ((count - 1, "UTC"), (count, "Europe/Lisbon")):
        with pytest.raises(ModelRefusedError, match="anew"):
            signatures.check(charts, zone)
    Signatures().check(3, "Europe/Lisbon")
    signatures.check(count, "UTC")


def test_a_slow_faults_score_fades_over_a_day_and_a_quick_ones_at_once() -> None:
    known = Signatures(faults=(FaultName.SWELL, FaultName.PHANTOM_LOAD))
    starts = STEP_MS * np.arange(2 * 288 + 1)
    scores = np.zeros((len(starts), 2))
    scores[0], scores[400] = 2.0, 1.5
    held = known.hold(starts, scores, Held())
    assert held[:, 0].tolist() == scores[:, 0].tolist()
    assert held[[0, 288, 399], 1] == pytest.approx([2.0, 1.4, 2 * 0.7 ** (399 / 288)])
    assert held[400, 1] == 1.5  # what is greater than what is held counts as it is
    assert held[-1, 1] == pytest.approx(1.5 * 0.7 ** (176 / 288))
    one, kept = [], Held()
    for at in range(len(starts)):
        one.append(known.hold(starts[at : at + 1], scores[at : at + 1], kept)[0])
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=Held)
    np.testing.assert_allclose(one, held, rtol=1e-9)
    assert known.hold(starts[:0], scores[:0], kept).shape == (0, 2)


def test_a_fault_that_is_held_keeps_its_name(model: CombinedModel) -> None:
    faults, (starts, values) = model.signatures.faults, featurise(following(2, 42, 5))
    state = model.new_state()
    model.judge(state, int(starts[-2]), values[-2].tolist())
    at = model.sources.names.index(FaultName.PHANTOM_LOAD)
    slow = [one for one in faults if LAWS[one].limit_ms >= DAY_MS]
    state.held.scores[slow.index(FaultName.PHANTOM_LOAD)] = 5.0
    state.charts.averages = np.zeros_like(state.charts.averages).tolist()
    scores = model.judge(state, int(starts[-1]), values[-1].tolist()).sources
    assert scores[at] == pytest.approx(5.0, rel=0.01)
    assert model.explain_source(state, at).like == FaultName.PHANTOM_LOAD
    assert model.explain(state).like == FaultName.PHANTOM_LOAD

"""What every kind of detector must do: fit, score, explain, remember; the same for all."""

import math
from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.tinymodels.detect.homes import MIDNIGHT_MS, changed, following, home
from tinymodels.detect.contract import (
    FitRefusedError,
    Fitter,
    Model,
    ModelRefusedError,
    Options,
    Verdict,
    scored,
    sources_of,
)
from tinymodels.detect.events import events, merged
from tinymodels.detect.kinds import fitter, load
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, STEP_MS, Minutes

LISBON = ZoneInfo("Europe/Lisbon")
OPTIONS = Options(LISBON, 4.0)
KINDS = ("gaussian", "charts", "combined")
HOUR_MS = 60 * MINUTE_MS
WATTS = ("p_mean_w", "p_min_w", "p_max_w")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(kind: str) -> Model:
    return fitter(kind).fit(home(28), OPTIONS)


def streamed(model: Model, minutes: Minutes) -> list[Verdict]:
    state = model.new_state()
    verdicts = (model.step(state, row) for row in minutes.rows())
    return [verdict for verdict in verdicts if verdict is not None]


def test_a_model_says_what_it_is(kind: str, model: Model) -> None:
    assert model.kind == kind
    assert model.step_ms == STEP_MS
    assert 0 < model.clear_limit <= model.limit
    from_ms, to_ms = model.trained
    assert (from_ms, to_ms) == (MIDNIGHT_MS, MIDNIGHT_MS + 28 * DAY_MS - STEP_MS)


def test_bytes_there_and_back(kind: str, model: Model) -> None:
    body = model.to_bytes()
    again = load(kind, body)
    assert again.to_bytes() == body
    minutes = following(1, 28, 5)
    assert np.array_equal(again.score(minutes)[1], model.score(minutes)[1])
    assert len(body) < 40_000


def test_the_same_fit_gives_the_same_bytes(kind: str, model: Model) -> None:
    assert fitter(kind).fit(home(28), OPTIONS).to_bytes() == model.to_bytes()


@pytest.mark.parametrize("body", [b"", b"junk", b"\x80", b"\xc1" * 10, b"\x9c\x00"])
def test_bytes_that_are_no_model_are_refused(kind: str, body: bytes) -> None:
    with pytest.raises(ModelRefusedError):
        load(kind, body)


def test_every_cut_and_flip_is_refused_or_a_model(kind: str, model: Model) -> None:
    body = model.to_bytes()
    for at in range(0, len(body), 97):
        for broken in (body[:at], body[:at] + bytes([body[at] ^ 0x5A]) + body[at + 1 :]):
            try:
                load(kind, broken)
            except ModelRefusedError:
                continue


def test_live_and_batch_scores_are_equal(model: Model) -> None:
    minutes = following(3, 28, 7)
    # A hole that forgets everything, a short one, and an unknown voltage.
    keep = np.ones(len(minutes), dtype=bool)
    keep[1500:1950] = keep[2500:2517] = keep[::11] = False
    values = minutes.values[keep].copy()
    values[300:400, 3:5] = math.nan
    holed = Minutes(minutes.start_ms[keep], values)
    starts, scores = model.score(holed)
    verdicts = streamed(model, holed)
    assert len(starts) == len(verdicts) > 700
    assert np.allclose(scores, [one.score for one in verdicts], rtol=1e-9, atol=1e-9)
    assert [one.above for one in verdicts] == (scores > model.limit).tolist()
    sources = scored(model, holed)[1].reshape(len(scores), -1)
    assert np.array_equal(sources.max(axis=1), scores)
    assert np.allclose(sources, [one.sources for one in verdicts], rtol=1e-9, atol=1e-9)
    told = sources_of(model)
    assert len(told.names) == len(set(told.names)) == len(told.families) == sources.shape[1]


def test_a_state_survives_a_restart_at_any_minute(model: Model) -> None:
    rows = list(following(0.3, 28, 8).rows())
    unbroken = model.new_state()
    whole = [model.step(unbroken, row) for row in rows]
    state, parts = model.new_state(), []
    for row in rows:
        state = model.load_state(model.dump_state(state))
        parts.append(model.step(state, row))
    assert parts == whole
    assert len(model.dump_state(state)) < 12_000


@pytest.mark.parametrize("body", [b"", b"junk", b"\x90", b"\x93\x01\x02\x03"])
def test_a_state_that_is_none_begins_anew(model: Model, body: bytes) -> None:
    state = model.load_state(body)
    assert model.step(state, next(following(1, 28, 8).rows())) is None


def test_usual_weeks_stay_within_the_budget(model: Model) -> None:
    found = [merged(events(model, *scored(model, following(21, 28, seed)))) for seed in (2, 3)]
    assert sum(map(len, found)) <= 2 * 4, found


def test_a_stuck_heater_is_found_and_explained(model: Model) -> None:
    clean = following(2.5, 28, 9)
    from_ms = int(clean.start_ms[0]) + 2 * DAY_MS + HOUR_MS
    heater = dict.fromkeys(WATTS, 1800.0) | {"v_mean_v": -2.7, "v_max_v": -2.7, "i_mean_a": 7.8}
    faulty = changed(clean, from_ms, from_ms + 9 * HOUR_MS, add=heater)
    (event,) = [one for one in events(model, *scored(model, faulty)) if one.from_ms > from_ms]
    assert event.from_ms - from_ms <= 5 * HOUR_MS
    state = model.new_state()
    seen = [model.step(state, row) for row in faulty.between(0, from_ms + 5 * HOUR_MS).rows()]
    last = [verdict for verdict in seen if verdict is not None][-1]
    assert last.above
    why = model.explain(state)
    assert from_ms - HOUR_MS <= why.since_ms <= from_ms + 5 * HOUR_MS
    assert math.isfinite(why.value)
    assert abs(why.sigmas) > 2
    if why.unit == "W":
        assert why.value - why.expected > 500


def test_nothing_seen_is_explained_as_nothing(model: Model) -> None:
    why = model.explain(model.new_state())
    assert why.sigmas == 0.0


def test_another_limit_is_the_same_model(model: Model) -> None:
    minutes = following(1, 28, 5)
    other = model.with_limit(2 * model.limit)
    assert other.limit == 2 * model.limit
    assert np.array_equal(other.score(minutes)[1], model.score(minutes)[1])


def test_what_is_not_measured_is_left_out(kind: str) -> None:
    bare = home(14).values.copy()
    bare[:, 3:] = math.nan
    minutes = Minutes(home(14).start_ms, bare)
    made = fitter(kind).fit(minutes, OPTIONS)
    assert np.isfinite(made.score(minutes)[1]).all()
    # A model of all features meets a day on which some are missing.
    assert np.isfinite(fitter(kind).fit(home(14), OPTIONS).score(minutes)[1]).all()


def test_nothing_known_gives_no_scores(model: Model) -> None:
    minutes = home(2)
    blank = Minutes(minutes.start_ms, np.full_like(minutes.values, math.nan))
    for nothing in (blank, short(minutes, 0)):
        starts, scores = model.score(nothing)
        assert len(starts) == len(scores) == 0


def short(minutes: Minutes, count: int) -> Minutes:
    return Minutes(minutes.start_ms[:count], minutes.values[:count])


def constant(minutes: Minutes) -> Minutes:
    values = minutes.values.copy()
    values[:, :3] = 0.0
    return Minutes(minutes.start_ms, values)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: short(home(14), 0), "0.0 days"),
        (lambda: home(6.5), "6.5 days"),
        (lambda: constant(home(10)), "does not change"),
    ],
)
def test_too_little_or_too_even_history_is_refused(
    kind: str, make: Callable[[], Minutes], why: str
) -> None:
    made: Fitter = fitter(kind)
    with pytest.raises(FitRefusedError, match=why):
        made.fit(make(), OPTIONS)


def test_a_score_knows_nothing_of_what_comes_after(model: Model) -> None:
    minutes = following(1, 28, 6)
    early_starts, early = model.score(short(minutes, 700))
    starts, scores = model.score(minutes)
    assert starts[: len(early)].tolist() == early_starts.tolist()
    assert scores[: len(early)] == pytest.approx(early)

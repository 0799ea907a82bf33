"""Registers: what counts as energy, what falls, and what cannot be."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.meters import ChannelInfo, Role
from gateway.domain.readings import Channel
from gateway.pipeline.registers import (
    LARGEST_POWER_W,
    REGISTER_SLACK_WH,
    Register,
    carry,
    counted_wh,
    fell,
    impossible_rise,
    largest_rise_wh,
    step,
)

values = st.none() | st.integers(0, 5000).map(float)


def counted(sequence: list[float | None]) -> list[float]:
    known: Register | None = None
    energy = []
    for value in sequence:
        energy.append(counted_wh(known, value))
        known = step(known, value)
    return energy


@given(st.lists(values))
def test_energy_is_never_negative_and_never_more_than_the_rises(
    sequence: list[float | None],
) -> None:
    energy = counted(sequence)
    known = [value for value in sequence if value is not None]
    rises = sum(max(0.0, b - a) for a, b in pairwise(known))
    assert all(wh >= 0 for wh in energy)
    assert sum(energy) <= rises


@given(st.lists(st.integers(0, 5000).map(float)))
def test_a_register_that_only_rises_counts_its_difference(sequence: list[float]) -> None:
    sequence.sort()
    assert sum(counted(list(sequence))) == (sequence[-1] - sequence[0] if sequence else 0)


@given(st.lists(st.integers(1, 5000).map(float), min_size=2), st.data())
def test_a_glitch_to_zero_and_back_is_not_counted(
    sequence: list[float], data: st.DataObject
) -> None:
    sequence.sort()
    at = data.draw(st.integers(1, len(sequence) - 1))
    glitched = [*sequence[:at], 0.0, *sequence[at:]]
    assert sum(counted(list(glitched))) == sequence[-1] - sequence[0]


def channel(wh_in: float | None, wh_out: float | None = 0.0) -> dict[str, Channel]:
    return {"grid": Channel(1.0, 1.0, wh_in, wh_out)}


def test_carry_keeps_channels_that_were_not_in_the_reading() -> None:
    before = carry({}, {"solar": Channel(1.0, 1.0, 5.0, None)})
    after = carry(before, channel(7.0))
    assert after["solar"] == (Register(5.0), None)
    assert after["grid"] == (Register(7.0), Register(0.0))
    assert "grid" not in before


@pytest.mark.parametrize(
    ("wh_in", "wh_out", "said"),
    [(9.0, 5.0, True), (10.0, 4.0, True), (10.0, 5.0, False), (None, None, False)],
)
def test_either_register_may_fall(wh_in: float | None, wh_out: float | None, *, said: bool) -> None:
    assert fell(carry({}, channel(10.0, 5.0)), channel(wh_in, wh_out)) is said


def test_the_first_reading_of_a_channel_cannot_have_fallen_or_risen() -> None:
    assert not fell({}, channel(10.0))
    assert impossible_rise({}, channel(1e9), {}, 1000, 230) == ""


def test_the_largest_rise_is_the_rating_s_power_over_the_time() -> None:
    rated = ChannelInfo("grid", Role.GRID, 30.0)
    hour_ms = 3_600_000
    wanted = 30 * 1.5 * 230 * 1.15 + REGISTER_SLACK_WH
    assert largest_rise_wh(rated, hour_ms, 230) == pytest.approx(wanted)
    unrated = largest_rise_wh(None, hour_ms, 230)
    assert unrated == LARGEST_POWER_W + REGISTER_SLACK_WH


def test_an_impossible_rise_names_the_register_and_the_limit() -> None:
    before = carry({}, channel(10.0, 5.0))
    infos = {"grid": ChannelInfo("grid", Role.GRID, 30.0)}
    assert impossible_rise(before, channel(11.9, 5.0), infos, 100, 230) == ""
    said = impossible_rise(before, channel(10.0, 50.0), infos, 1000, 230)
    assert said.startswith("grid.wh_out rose by 45 Wh in 1000 ms")

"""Placing in time: anchors, believed offsets, neighbours."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.readings import Mark
from gateway.pipeline.placement import (
    FUTURE_MS,
    OLDEST_MS,
    BootClock,
    between_neighbours,
    is_plausible,
    place,
)

NOW_MS = 1_760_000_400_000
offsets = st.integers(-(2**41), 2**41)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.none() | offsets, st.integers(0, 10**6)), min_size=1
    )
)
def test_a_placed_reading_is_never_far_in_the_future_or_past(
    told: list[tuple[int, int | None, int]],
) -> None:
    """Whatever a meter says, a live boot's readings lie where they can be."""
    clock = BootClock()
    boot_ms = NOW_MS - 10**9
    clock.heard_state(0, boot_ms)
    for up_ms, off_ms, delay_ms in sorted(told, key=lambda one: one[0]):
        received_ms = boot_ms + up_ms + delay_ms
        t_ms = None if off_ms is None else received_ms + off_ms
        where = place(clock, t_ms, up_ms, (), received_ms)
        assert where.at_ms is not None
        assert received_ms - OLDEST_MS <= where.at_ms <= received_ms + FUTURE_MS
        if where.marks:
            assert where.at_ms == boot_ms + up_ms


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)), min_size=1))
def test_the_anchor_is_the_least_and_states_go_before_readings(
    heard: list[tuple[int, int]],
) -> None:
    clock = BootClock()
    for up_ms, delay_ms in heard:
        clock.heard_reading(up_ms, NOW_MS + up_ms + delay_ms)
    assert clock.anchor_ms == NOW_MS + min(delay for _, delay in heard)
    clock.heard_state(5, NOW_MS + 10**7)
    assert clock.anchor_ms == NOW_MS + 10**7 - 5


def test_the_bounds_of_what_is_plausible() -> None:
    assert is_plausible(NOW_MS + FUTURE_MS, (), NOW_MS)
    assert not is_plausible(NOW_MS + FUTURE_MS + 1, (), NOW_MS)
    assert is_plausible(NOW_MS - OLDEST_MS, (), NOW_MS)
    assert not is_plausible(NOW_MS - OLDEST_MS - 1, (), NOW_MS)
    assert not is_plausible(None, (), NOW_MS)
    assert not is_plausible(NOW_MS, ("clip", "nosync"), NOW_MS)


def test_the_median_of_the_last_hour_follows_a_drifting_clock() -> None:
    clock = BootClock()
    for second in range(0, 40 * 3600, 10):
        up_ms = second * 1000
        drift_ms = second // 20  # 50 ms a second: a bad crystal, 180 s an hour
        where = place(clock, NOW_MS + up_ms + drift_ms, up_ms, (), NOW_MS + up_ms + drift_ms)
        assert where.marks == 0


def test_a_step_in_the_wrong_direction_is_out_of_step() -> None:
    clock = BootClock()
    for up_ms in range(0, 600_000, 1000):
        place(clock, NOW_MS + up_ms, up_ms, (), NOW_MS + up_ms)
    for up_ms in range(600_000, 660_000, 1000):
        received_ms = NOW_MS + up_ms
        where = place(clock, received_ms - 3_600_000, up_ms, (), received_ms)
        assert where.marks == Mark.NEIGHBOURED  # no anchor was heard
    where = place(clock, NOW_MS + 660_000, 660_000, (), NOW_MS + 660_000)
    assert where.marks == 0


def test_neighbours_bound_a_boot_on_both_sides() -> None:
    assert between_neighbours(1000, None, None, NOW_MS) == NOW_MS - 1000
    assert between_neighbours(1000, None, NOW_MS - 5000, NOW_MS) == NOW_MS - 6000
    assert between_neighbours(1000, None, NOW_MS + 5000, NOW_MS) == NOW_MS - 1000
    assert between_neighbours(10_000, NOW_MS - 3000, NOW_MS, NOW_MS) == NOW_MS - 3000

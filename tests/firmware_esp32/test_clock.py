"""The meter's clock: unknown at first, set once, corrected only when it is clearly off."""

import pytest
from clock import ACK, ACK_STEP_MS, EARLIEST_MS, FIXED, LATE_ACKS, LATEST_MS, NTP, Clock
from hypothesis import given
from hypothesis import strategies as st

NOW_MS = 1_763_760_000_000


class Uptime:
    """Ms since boot, moved by the test."""

    def __init__(self) -> None:
        self.at_ms = 1_000

    def up_ms(self) -> int:
        return self.at_ms


@pytest.fixture
def up() -> Uptime:
    return Uptime()


@pytest.fixture
def clock(up: Uptime) -> Clock:
    return Clock(up)


def test_there_is_no_time_before_any_source(clock: Clock) -> None:
    assert clock.now_ms() is None
    assert clock.offset_ms is None


def test_a_first_time_sets_it_and_it_runs_on_with_the_uptime(clock: Clock, up: Uptime) -> None:
    assert clock.set(NOW_MS, ACK)
    up.at_ms += 5_000
    assert clock.now_ms() == NOW_MS + 5_000
    assert clock.offset_ms == NOW_MS - 1_000


@pytest.mark.parametrize("at_ms", [0, 946_684_800_000, EARLIEST_MS - 1, LATEST_MS, 1 << 63, -1])
@pytest.mark.parametrize("source", [ACK, NTP])
def test_times_that_cannot_be_are_refused(clock: Clock, at_ms: int, source: str) -> None:
    assert not clock.set(at_ms, source)
    assert clock.now_ms() is None


def test_ntp_corrects_half_a_second_an_ack_two(clock: Clock) -> None:
    clock.set(NOW_MS, ACK)
    assert not clock.set(NOW_MS + ACK_STEP_MS, ACK)
    assert clock.set(NOW_MS + 501, NTP)
    assert not clock.set(NOW_MS + 1, NTP)
    assert clock.now_ms() == NOW_MS + 501


def test_an_ack_that_was_delayed_does_not_set_the_clock_back(clock: Clock) -> None:
    clock.set(NOW_MS, ACK)
    for _ in range(LATE_ACKS - 1):
        assert not clock.set(NOW_MS - 30_000, ACK)
    assert not clock.set(NOW_MS, ACK)  # one in time: the others were late
    for k in range(LATE_ACKS):
        assert clock.set(NOW_MS - 30_000 - k, ACK) is (k == LATE_ACKS - 1)
    assert clock.now_ms() == NOW_MS - 30_000


def test_while_ntp_is_fresh_an_ack_corrects_only_what_is_a_minute_off(
    clock: Clock, up: Uptime
) -> None:
    clock.set(NOW_MS, NTP)
    assert not clock.set(NOW_MS + 50_000, ACK)
    assert clock.set(NOW_MS + 61_000, ACK)
    up.at_ms += 7 * 3_600_000  # NTP has been away for long
    assert clock.set(NOW_MS + 61_000 + 7 * 3_600_000 + 3_000, ACK)


def test_a_time_server_that_contradicts_the_gateway_is_ignored(clock: Clock) -> None:
    clock.set(NOW_MS, ACK)
    assert not clock.set(NOW_MS + 600_000, NTP)
    assert clock.now_ms() == NOW_MS


def test_a_fixed_time_stays(clock: Clock) -> None:
    clock.set(NOW_MS, FIXED)
    assert not clock.set(NOW_MS + 600_000, NTP)
    assert not clock.set(NOW_MS + 600_000, ACK)
    assert clock.now_ms() == NOW_MS


@given(st.lists(st.tuples(st.integers(0, 5_000_000_000_000), st.sampled_from([ACK, NTP]))))
def test_whatever_comes_the_time_is_plausible(sets: list[tuple[int, str]]) -> None:
    up = Uptime()
    clock = Clock(up)
    for at_ms, source in sets:
        up.at_ms += 1_000
        clock.set(at_ms, source)
        now_ms = clock.now_ms()
        assert now_ms is None or EARLIEST_MS <= now_ms < LATEST_MS + 1_000 * len(sets)

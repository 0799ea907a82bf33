"""Lock-out: doubling waits, forgetting, networks, and bounded memory."""

import pytest

from gateway.services import lockout
from gateway.services.lockout import ADDRESS_FREE_TRIES, FREE_TRIES, LONGEST_WAIT_S, Lockout


class Clock:
    """A monotonic clock that tests turn."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_waits_double_up_to_a_bound(clock: Clock) -> None:
    guard = Lockout(clock)
    for _ in range(FREE_TRIES):
        assert guard.charge("ada", "10.0.0.1") == 0
    waits = []
    for _ in range(13):
        waits.append(guard.charge("ada", "10.0.0.1"))
        clock.now_s += waits[-1]
        assert guard.charge("ada", "10.0.0.1") == 0
    assert waits == [min(2.0**step, LONGEST_WAIT_S) for step in range(13)]


def test_one_address_guessing_many_names_is_locked(clock: Clock) -> None:
    guard = Lockout(clock)
    for number in range(ADDRESS_FREE_TRIES):
        assert guard.charge(f"name{number}", "10.0.0.1") == 0
    assert guard.charge("another", "10.0.0.1") > 0
    assert guard.charge("another", "10.0.0.2") == 0


def test_right_passwords_never_lock_an_address(clock: Clock) -> None:
    guard = Lockout(clock)
    for _ in range(10 * ADDRESS_FREE_TRIES):
        assert guard.charge("ada", "10.0.0.1") == 0
        guard.refund("ada", "10.0.0.1", forget=True)
    assert len(guard) == 0


def test_an_own_account_does_not_buy_guesses(clock: Clock) -> None:
    guard = Lockout(clock)
    guesses = 0
    for number in range(10 * ADDRESS_FREE_TRIES):
        if guard.charge("mallory", "10.0.0.1") == 0:
            guard.refund("mallory", "10.0.0.1", forget=True)
        guesses += guard.charge(f"victim{number}", "10.0.0.1") == 0
    assert guesses == ADDRESS_FREE_TRIES


def test_quiet_hours_are_forgotten(clock: Clock) -> None:
    guard = Lockout(clock)
    for _ in range(FREE_TRIES):
        guard.charge("ada", "10.0.0.1")
    clock.now_s += lockout.FORGET_AFTER_S + 1
    for _ in range(FREE_TRIES):
        assert guard.charge("ada", "10.0.0.1") == 0


def test_memory_is_bounded(clock: Clock) -> None:
    guard = Lockout(clock)
    for number in range(3 * lockout.LARGEST_TABLE):
        guard.charge("ada", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(guard) == lockout.LARGEST_TABLE


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("not an address", "unknown", True),
    ],
)
def test_addresses_of_one_line_count_together(
    clock: Clock, one: str, other: str, *, same: bool
) -> None:
    guard = Lockout(clock)
    for _ in range(FREE_TRIES):
        guard.charge("ada", one)
    assert (guard.charge("ada", other) > 0) == same

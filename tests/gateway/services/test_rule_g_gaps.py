"""Rule G of the contract: provisional gaps, final gaps, and readings that come late."""

from tests.gateway.services.site_rig import Site, spool, window, windows

MINUTES_10 = 600.0
DAY_MS = 86_400_000


def hole(site: Site) -> None:
    """Leave windows 3 … 6 of 0 … 9 out."""
    site.send([*windows(0, 2), *windows(7, 9)])
    site.sweep()


def test_rule_g_a_hole_is_provisional_after_ten_minutes_and_never_passed(site: Site) -> None:
    hole(site)
    site.now.pass_s(MINUTES_10 - 1)
    site.sweep()
    assert site.gaps() == []
    site.now.pass_s(1)
    site.sweep()
    assert site.gaps() == [(3, 6, "provisional")]
    site.now.pass_s(20 * 3600)
    site.sweep()
    assert site.gaps() == [(3, 6, "provisional")]
    ack = site.send(window(10))
    assert ack is not None
    assert ack.upto == 2


def test_rule_g_ten_minutes_are_monotonic_ones(site: Site) -> None:
    hole(site)
    site.now.wall += 30 * DAY_MS  # the wall clock leaps
    site.sweep()
    assert site.gaps() == []
    site.now.wall -= 60 * DAY_MS
    site.now.mono += MINUTES_10
    site.sweep()
    assert site.gaps() == [(3, 6, "provisional")]


def test_rule_g_a_late_reading_shrinks_splits_and_removes_a_provisional_gap(site: Site) -> None:
    hole(site)
    site.now.pass_s(MINUTES_10)
    site.sweep()
    site.send(window(3))
    assert site.gaps() == [(4, 6, "provisional")]
    site.send(window(5))
    assert site.gaps() == [(4, 4, "provisional"), (6, 6, "provisional")]
    ack = site.send([window(6), window(4)])
    assert site.gaps() == []
    assert ack is not None
    assert ack.upto == 9


def test_rule_g_a_late_reading_shrinks_splits_and_removes_a_final_gap(site: Site) -> None:
    hole(site)
    site.dropped(3, 6)
    assert site.gaps() == [(3, 6, "final")]
    site.send(window(4))
    assert site.gaps() == [(3, 3, "final"), (5, 6, "final")]
    site.send(spool(6, 2))
    assert site.gaps() == [(3, 3, "final")]
    site.reload()
    site.send(window(3))
    assert site.gaps() == []
    assert site.seqs() == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_rule_g_what_is_dropped_is_final_and_the_ack_says_so(site: Site) -> None:
    hole(site)
    ack = site.dropped(2, 6)
    assert ack is not None
    assert ack.upto == 9
    assert site.gaps() == [(3, 6, "final")]  # 2 was received


def test_rule_g_dropped_beyond_what_was_received_is_passed_later(site: Site) -> None:
    site.send(windows(0, 2))
    ack = site.dropped(3, 6)
    assert ack is not None
    assert ack.upto == 6
    ack = site.send(window(7))
    assert ack is not None
    assert ack.upto == 7


def test_rule_g_a_provisional_gap_becomes_final(site: Site) -> None:
    hole(site)
    site.now.pass_s(MINUTES_10)
    site.sweep()
    site.dropped(3, 4)
    assert site.gaps() == [(3, 4, "final"), (5, 6, "provisional")]
    ack = site.send(window(10))
    assert ack is not None
    assert ack.upto == 4


def test_rule_g_what_a_state_no_longer_holds_is_final(site: Site) -> None:
    hole(site)
    ack = site.state(boot=1, bootn=1, up=10_000, have=[{"boot": 1, "bootn": 1, "from": 5}])
    assert site.gaps() == [(3, 4, "final")]
    assert ack is not None
    assert ack.upto == 4
    ack = site.state(boot=1, bootn=1, up=10_000, have=[{"boot": 1, "bootn": 1, "from": 9}])
    assert site.gaps() == [(3, 4, "final"), (5, 6, "final")]
    assert ack is not None
    assert ack.upto == 9


def test_rule_g_boots_that_a_state_does_not_list_are_final(site: Site) -> None:
    hole(site)
    site.send(window(0, 2))
    ack = site.state(boot=2, bootn=2, up=1000, have=[{"boot": 2, "bootn": 2, "from": 0}])
    assert site.gaps() == [(3, 6, "final")]
    assert ack is not None
    assert dict(ack.more)[1] == 9


def test_rule_g_a_listed_older_boot_may_still_deliver(site: Site) -> None:
    hole(site)
    site.send(window(0, 2))
    held = [{"boot": 1, "bootn": 1, "from": 3}, {"boot": 2, "bootn": 2, "from": 0}]
    site.state(boot=2, bootn=2, up=1000, have=held)
    assert site.gaps() == []


def test_rule_g_a_state_without_have_makes_nothing_final(site: Site) -> None:
    hole(site)
    site.state(boot=1, bootn=1, up=10_000)
    assert site.gaps() == []


def test_rule_g_a_hole_is_final_when_a_newer_boot_has_run_for_a_day(site: Site) -> None:
    hole(site)
    site.send(window(0, 2))
    site.now.pass_s(3600)
    site.send(window(86_398, 2, up=DAY_MS - 1))
    site.sweep()
    assert (3, 6, "final") not in site.gaps()
    site.send(window(86_399, 2, up=DAY_MS))
    site.sweep()
    assert (3, 6, "final") in site.gaps()
    ack = site.send(window(1, 1))
    assert ack is not None
    assert dict(ack.more)[1] == 9


def test_rule_g_the_newest_boot_s_own_day_makes_nothing_final(site: Site) -> None:
    hole(site)
    site.send(window(86_400, up=DAY_MS + 1000))
    site.now.pass_s(MINUTES_10)
    site.sweep()
    assert {state for _, _, state in site.gaps()} <= {"provisional"}


def test_rule_g_gaps_survive_a_restart(site: Site) -> None:
    hole(site)
    site.now.pass_s(MINUTES_10)
    site.sweep()
    site.dropped(3, 3)
    site.reload()
    assert site.boot().provisional == {4: 6}
    ack = site.send(windows(4, 5))
    assert ack is not None
    assert ack.upto == 5
    assert site.gaps() == [(3, 3, "final"), (6, 6, "provisional")]


def test_rule_g_an_impossible_dropped_event_is_a_dead_letter(site: Site) -> None:
    hole(site)
    site.dropped(6, 3)
    site.dropped(3, 2_000_000)
    assert site.dead() == ["bad_event", "bad_event"]
    assert site.gaps() == []


def test_rule_g_a_bad_reading_s_seq_is_final(site: Site) -> None:
    site.send(windows(0, 2))
    ack = site.send([window(3, i=-5.0), window(4)])
    assert ack is not None
    assert ack.upto == 4
    assert site.gaps() == [(3, 3, "final")]
    assert site.dead() == ["out_of_range"]

"""Rule T of the contract: where readings are placed, whatever the meter's clock says."""

from collections.abc import Callable

import pytest

from gateway.domain.readings import Mark
from gateway.services.ledger import Ledger
from tests.gateway.services.site_rig import START_MS, Site, same_bucket, window, windows

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
PLACED = Mark.ANCHORED | Mark.NEIGHBOURED


@pytest.fixture(autouse=True)
def _begin(site: Site) -> None:
    site.now.wall = START_MS


def placed(site: Site, meter: str = "home") -> list[tuple[int, int]]:
    """Return (at less the boot's begin, how it was placed) of every row."""
    return [(row.at_ms - START_MS, row.marks & PLACED) for row in site.rows(meter)]


@pytest.mark.parametrize(
    ("t", "flags"),
    [
        (lambda _: None, []),
        (lambda up: up, []),  # a clock at 1970
        (lambda up: START_MS + up + 400 * DAY_MS, []),
        (lambda up: START_MS + up + 121_000, []),
        (lambda up: START_MS + up - 46 * DAY_MS, []),
        (lambda up: START_MS + up - HOUR_MS, ["nosync"]),
    ],
)
def test_rule_t_what_is_not_kept_is_anchored_and_flagged(
    site: Site, t: Callable[[int], int | None], flags: list[str]
) -> None:
    for seq in range(3):
        up = (seq + 1) * 1000
        site.now.wall = START_MS + up + 40
        site.send(window(seq, t=t(up), flags=flags))
    assert placed(site) == [(up + 40, Mark.ANCHORED) for up in (1000, 2000, 3000)]
    assert [row.t_ms for row in site.rows()] == [t(up) for up in (1000, 2000, 3000)]


@pytest.mark.parametrize("off_ms", [0, 119_000, -HOUR_MS, -44 * DAY_MS])
def test_rule_t_a_possible_time_is_kept_however_late_it_comes(site: Site, off_ms: int) -> None:
    for seq in range(3):
        up = (seq + 1) * 1000
        site.now.wall = START_MS + up
        site.send(window(seq, t=START_MS + up + off_ms))
    assert placed(site) == [(up + off_ms, 0) for up in (1000, 2000, 3000)]


def test_rule_t_a_reading_out_of_step_with_its_boot_is_anchored(site: Site) -> None:
    site.live(windows(0, 59))
    site.now.wall = START_MS + 61_000
    site.send(window(60, t=START_MS + 61_000 - 5 * HOUR_MS))
    site.send(window(61, t=START_MS + 62_000 - 119_000))
    site.now.wall = START_MS + 63_000
    site.send(window(62))
    at, marks = zip(*placed(site)[60:], strict=True)
    assert marks == (Mark.ANCHORED, 0, 0)
    assert at == (61_000, 62_000 - 119_000, 63_000)


def test_rule_t_the_first_synchronisation_is_no_fault(site: Site) -> None:
    wrong_ms = -5 * HOUR_MS
    for seq in range(60):
        site.now.wall = START_MS + (seq + 1) * 1000 + 40
        site.send(window(seq, t=START_MS + (seq + 1) * 1000 + wrong_ms))
    site.live(windows(60, 99))
    assert {marks for _, marks in placed(site)} == {0}
    assert placed(site)[60:] == [((seq + 1) * 1000, 0) for seq in range(60, 100)]


def test_rule_t_one_wild_time_after_a_restart_does_not_become_the_measure(site: Site) -> None:
    site.live(windows(0, 59))
    site.reload()
    site.now.wall = START_MS + 3 * HOUR_MS
    site.send([window(60, t=START_MS + 61_000 - 30 * HOUR_MS), *windows(61, 100)])  # a backlog
    assert {marks for _, marks in placed(site)[61:]} == {0}


def test_rule_t_the_anchor_comes_from_live_state_messages(site: Site) -> None:
    site.now.wall = START_MS + 10_000
    site.send(window(0, t=None))  # 9 s under way
    assert placed(site) == [(10_000, Mark.ANCHORED)]
    site.state(boot=1, bootn=1, up=9_950)
    site.send(window(1, t=None))
    # The state lowered the anchor by more than 5 s: what was placed before is moved.
    assert placed(site) == [(1050, Mark.ANCHORED), (2050, Mark.ANCHORED)]
    site.state(boot=1, bootn=1, up=1_000)  # a slow one: the least counts
    site.send(window(2, t=None))
    assert placed(site)[2] == (3050, Mark.ANCHORED)


def test_rule_t_a_retained_state_is_no_anchor(site: Site) -> None:
    site.send(window(0))
    site.now.wall = START_MS + 5000
    site.state(boot=1, bootn=1, up=60_000, retained=True)
    assert site.boot().clock.state_anchor_ms is None
    site.state(boot=1, bootn=1, up=4_000)
    assert site.boot().clock.state_anchor_ms == START_MS + 1000


async def test_rule_t_a_falling_anchor_moves_rows_and_rollups(site: Site) -> None:
    site.now.wall = START_MS + 200_000
    site.send(windows(0, 99, t=None))
    await site.derive()
    site.now.wall = START_MS + 101_000
    site.state(boot=1, bootn=1, up=100_900)
    await site.derive()
    assert placed(site)[0] == (1100, Mark.ANCHORED)
    for resolution in ("1m", "15m", "1h", "1d"):
        rolled, wanted = site.rolled(resolution), site.recomputed(resolution)
        assert rolled.keys() == wanted.keys()
        assert all(same_bucket(rolled[start], wanted[start]) for start in wanted)


async def test_rule_t_a_small_fall_of_the_anchor_moves_nothing(site: Site) -> None:
    site.now.wall = START_MS + 5000
    site.send(window(0, t=None))
    site.state(boot=1, bootn=1, up=4_500)
    assert placed(site) == [(5000, Mark.ANCHORED)]
    assert site.query("SELECT * FROM dirty") == []


def test_rule_t_a_boot_without_anchor_lies_between_its_neighbours(site: Site) -> None:
    site.live(windows(0, 9, 1))
    site.state(boot=1, bootn=1, up=10_000)
    site.now.wall = START_MS + 2 * HOUR_MS
    site.send(window(0, 3, boot_ms=START_MS + HOUR_MS))
    site.state(boot=3, bootn=3, up=HOUR_MS)  # began at START + 1 h
    site.state(boot=2, bootn=2, up=0, retained=True)
    site.send(windows(0, 9, 2, t=None))
    middle = [row for row in site.rows() if row.boot == 2]
    assert all(row.marks & Mark.NEIGHBOURED for row in middle)
    assert abs(middle[-1].at_ms - (START_MS + HOUR_MS)) <= 5000  # what anchors may be off
    assert middle[-1].at_ms - middle[0].at_ms == 9000
    previous = max(row.at_ms for row in site.rows() if row.boot == 1)
    assert previous < middle[0].at_ms


def test_rule_t_an_impossibly_long_uptime_does_not_displace_its_boot(site: Site) -> None:
    site.now.wall = START_MS + 1000
    site.send(window(0, t=None))
    site.now.wall = START_MS + 2000
    site.send(window(1, t=None, up=2**53))
    assert placed(site)[0] == (1000, Mark.ANCHORED)


async def test_rule_t_no_time_stops_the_judging(site: Site) -> None:
    site.add_meter("tape", recorded=True)
    for seq, t in enumerate((2**53, -(2**53), 0, START_MS)):
        site.send(window(seq, t=t), "tape")
    site.send([window(0, t=None), window(1, t=None, up=2**53)])
    await site.derive()


def test_rule_t_recorded_meters_keep_what_is_given(site: Site) -> None:
    site.add_meter("tape", recorded=True)
    year_ms = 365 * DAY_MS
    for seq, off_ms in enumerate((-10 * year_ms, -year_ms, year_ms)):
        site.send(window(seq, t=START_MS + off_ms, flags=["nosync"]), "tape")
    assert placed(site, "tape") == [(-10 * year_ms, 0), (-year_ms, 0), (year_ms, 0)]
    site.now.trust = False
    site.send(window(3, t=START_MS), "tape")
    assert placed(site, "tape")[3] == (0, 0)


async def test_rule_t_untrusted_clock_stores_and_acks_then_places_and_judges(site: Site) -> None:
    site.now.trust = False
    site.now.wall = 1_000_000  # 1970
    ack = site.send(windows(0, 9, t=None))
    assert ack is not None
    assert ack.upto == 9
    await site.derive()
    await site.placing.look()
    assert site.query("SELECT count(*) FROM readings WHERE at_ms IS NULL") == [(10,)]
    assert site.query("SELECT count(*) FROM judged") == [(0,)]
    site.now.trust = True
    site.now.wall = START_MS + 60_000
    site.state(boot=1, bootn=1, up=60_000)
    await site.placing.look()
    assert placed(site) == [((seq + 1) * 1000, Mark.ANCHORED) for seq in range(10)]
    site.send(window(60))
    await site.derive()
    rolled, wanted = site.rolled("1m"), site.recomputed("1m")
    assert rolled.keys() == wanted.keys()
    assert sum(bucket.n for bucket in rolled.values()) == 11
    assert site.rows()[0].marks & Mark.UNPLACED == 0


async def test_rule_t_a_kept_time_is_believed_once_the_clock_is_trusted(site: Site) -> None:
    site.now.trust = False
    site.now.wall = 1_000_000
    site.send(windows(0, 4))
    site.now.trust = True
    site.now.wall = START_MS + HOUR_MS
    site.state(boot=1, bootn=1, up=HOUR_MS)
    await site.placing.look()
    assert placed(site) == [((seq + 1) * 1000, 0) for seq in range(5)]


async def test_rule_t_a_boot_that_never_tells_its_uptime_is_placed_after_a_while(
    site: Site,
) -> None:
    site.now.trust = False
    site.send(windows(0, 4, t=None))
    site.now.trust = True
    await site.placing.look()
    assert site.query("SELECT count(*) FROM readings WHERE at_ms IS NULL") == [(5,)]
    site.now.pass_s(120)
    await site.placing.look()
    assert placed(site)[-1] == (120_000, Mark.NEIGHBOURED)


async def test_rule_t_placing_waits_for_the_ledger(site: Site) -> None:
    site.now.trust = False
    site.send(windows(0, 4, t=None))
    site.now.trust = True
    site.ledger = Ledger()  # as it is while the intake starts
    await site.placing.look()
    site.reload()
    site.now.pass_s(121)
    await site.placing.look()
    assert site.query("SELECT count(*) FROM readings WHERE at_ms IS NULL") == [(0,)]


async def test_rule_t_readings_placed_while_judging_reads_are_judged(site: Site) -> None:
    site.now.trust = False
    site.send(windows(0, 4))
    site.now.trust = True
    await site.placing.look()
    await site.deriver.load()
    store = site.deriver._store  # noqa: SLF001 - its reading is held up
    rows_after = store.rows_after

    async def slow(row: int, limit: int) -> list[object]:
        found = await rows_after(row, limit)
        site.now.pass_s(121)
        await site.placing.look()
        store.rows_after = rows_after  # type: ignore[method-assign]
        assert site.query("SELECT count(*) FROM readings WHERE at_ms IS NULL") == [(0,)]
        return found  # type: ignore[return-value]

    store.rows_after = slow  # type: ignore[method-assign,assignment]
    await site.derive()
    site.send(window(5))
    await site.derive()
    assert sum(bucket.n for bucket in site.rolled("1m").values()) == 6

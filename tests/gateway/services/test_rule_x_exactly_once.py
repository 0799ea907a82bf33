"""Rule X of the contract: stored once, counted once, however often and in whatever order."""

import random

import pytest

from gateway.adapters.store.retention import SqlRetentionStore
from tests.gateway.services.site_rig import Site, same_bucket, spool, window, windows


def test_rule_x_a_repeated_reading_is_answered_and_not_stored_again(site: Site) -> None:
    first = site.send(window(0))
    again = site.send(window(0))
    assert first is not None
    assert again == first
    assert site.last.duplicates == 1
    assert site.last.is_empty()
    assert site.seqs() == [0]


def test_rule_x_a_repetition_within_one_message_and_one_batch_counts_once(site: Site) -> None:
    site.plan([window(0), window(1), window(0)])
    site.plan(window(1))
    site.commit()
    assert site.seqs() == [0, 1]
    assert site.last.duplicates == 2


def test_rule_x_any_order_and_any_overlap_store_each_window_once(site: Site) -> None:
    dice = random.Random(4)
    for _ in range(60):
        start = dice.randrange(0, 190)
        part = windows(start, min(start + dice.randrange(1, 30), 199))
        dice.shuffle(part)
        site.plan(part)
        if dice.random() < 0.5:
            site.commit()
        if dice.random() < 0.1:
            site.commit()
            site.reload()
    ack = site.send(windows(0, 119))
    ack = site.send(windows(120, 199))
    assert ack is not None
    assert ack.upto == 199
    assert site.seqs() == list(range(200))


def test_rule_x_a_repetition_is_known_after_a_restart(site: Site) -> None:
    site.send(windows(0, 9))
    site.reload()
    ack = site.send(windows(0, 9))
    assert ack is not None
    assert ack.upto == 9
    assert site.seqs() == list(range(10))


async def test_rule_x_a_repetition_is_known_after_its_row_was_retired(site: Site) -> None:
    for first in range(0, 4200, 120):
        site.plan(windows(first, first + 119))
    site.commit()
    await site.derive()
    await site.deriver.drain()
    before = site.rolled("1h")
    assert await SqlRetentionStore(site.database).retire(None, 8) == 1
    assert min(site.seqs()) == 4095
    site.reload()
    ack = site.send(windows(0, 119))
    assert ack is not None
    assert ack.upto == 4199
    await site.derive()
    assert min(site.seqs()) == 4095
    after = site.rolled("1h")
    assert before.keys() == after.keys()
    assert all(same_bucket(before[start], after[start]) for start in before)


async def test_rule_x_a_spool_record_replaces_what_lies_in_its_span(site: Site) -> None:
    site.send([*windows(2, 6), *windows(10, 14)])
    await site.derive()
    ack = site.send(spool(9, 10))
    assert ack is not None
    assert ack.upto == 14
    await site.derive()
    assert [(row.seq, row.n) for row in site.rows()] == [(9, 10), *((n, 1) for n in range(10, 15))]
    for resolution in ("1m", "15m", "1h", "1d"):
        rolled, wanted = site.rolled(resolution), site.recomputed(resolution)
        assert rolled.keys() == wanted.keys()
        assert all(same_bucket(rolled[start], wanted[start]) for start in wanted)
        assert sum(bucket.n for bucket in rolled.values()) == 15


async def test_rule_x_a_repeated_spool_record_changes_nothing(site: Site) -> None:
    site.send(windows(0, 9))
    site.send(spool(9, 10))
    await site.derive()
    before = site.rolled("1m")
    ack = site.send(spool(9, 10))
    assert ack is not None
    assert ack.upto == 9
    site.reload()
    site.send(spool(9, 10))
    await site.derive()
    assert [(row.seq, row.n) for row in site.rows()] == [(9, 10)]
    after = site.rolled("1m")
    assert all(same_bucket(before[start], after[start]) for start in before | after)


def test_rule_x_a_window_that_a_spool_record_covers_is_old_news(site: Site) -> None:
    site.send(spool(9, 10))
    ack = site.send(windows(0, 9))
    assert ack is not None
    assert ack.upto == 9
    assert [(row.seq, row.n) for row in site.rows()] == [(9, 10)]


def test_rule_x_a_finer_spool_record_does_not_replace_a_coarser_one(site: Site) -> None:
    site.send(spool(19, 20))
    site.send(spool(9, 10))
    assert [(row.seq, row.n) for row in site.rows()] == [(19, 20)]
    site.send(spool(29, 30))
    assert [(row.seq, row.n) for row in site.rows()] == [(29, 30)]


RECORDS = [(9, 10), (14, 10), (29, 10), (24, 20), (12, 1), (34, 6), (3, 4), (19, 3)]


@pytest.mark.parametrize("seed", range(20))
async def test_rule_x_partly_overlapping_spool_records_store_no_window_twice(
    site: Site, seed: int
) -> None:
    order = random.Random(seed).sample(RECORDS, len(RECORDS))
    for last, n in order:
        site.send(spool(last, n) if n > 1 else window(last))
        if seed % 2:
            await site.derive()
    await site.derive()
    rows = site.rows()
    covered = sorted(seq for row in rows for seq in range(row.seq - row.n + 1, row.seq + 1))
    assert covered == list(range(35))
    assert all(row.dt_ms == row.n * 1000 for row in rows)
    assert sum(bucket.dt_ms for bucket in site.rolled("1m").values()) == 35_000


async def test_rule_x_a_repeated_spool_record_changes_nothing_after_retirement(site: Site) -> None:
    site.plan(windows(0, 9))
    site.plan(spool(9, 10))
    for first in range(10, 4330, 120):
        site.plan(windows(first, first + 119))
    site.commit()
    await site.derive()
    await site.deriver.drain()
    assert await SqlRetentionStore(site.database).retire(None, 8) == 1
    before, left = site.rolled("1d"), site.seqs()
    site.reload()
    site.send(spool(9, 10))
    await site.derive()
    assert site.seqs() == left
    after = site.rolled("1d")
    assert all(same_bucket(before[start], after[start]) for start in before)


async def test_rule_x_a_spool_record_over_retired_rows_counts_no_window_twice(site: Site) -> None:
    for first in range(0, 4200, 120):
        site.plan(windows(first, first + 119))
    site.commit()
    await site.derive()
    await site.deriver.drain()
    assert await SqlRetentionStore(site.database).retire(None, 8) == 1
    before = site.rolled("1d")
    site.send(spool(99, 100))
    await site.derive()
    after = site.rolled("1d")
    assert all(same_bucket(before[start], after[start]) for start in before)


def test_rule_x_two_meters_with_the_same_boot_and_seq_are_two(site: Site) -> None:
    site.send(window(0), "one")
    site.send(window(0), "two")
    assert (site.seqs("one"), site.seqs("two")) == ([0], [0])


def test_rule_x_a_seq_too_far_ahead_of_a_known_boot_is_poison(site: Site) -> None:
    ack = site.send(window(5_000_000, up=1_000))  # nothing is known of this boot: accepted
    assert ack is not None
    assert ack.upto == -1
    site.send(window(6_000_000, up=2_000))
    assert site.dead() == []
    ack = site.send(window(7_000_001, up=3_000))
    assert ack is not None
    assert site.dead() == ["seq_jump"]
    assert site.seqs() == [5_000_000, 6_000_000]
    assert site.boot().done.highest == 6_000_000

"""The data path against models: the ledger on disk, gaps, rollups in SQL, crashes anywhere."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.pipeline.rollups import RESOLUTIONS
from gateway.services.ledger import Ledger
from tests.gateway.services.site_rig import Json, Site, same_bucket, spool, window

SLOW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
TOP = 30
seqs = st.integers(0, TOP)
boots = st.integers(1, 2)
nothing = st.just(0)
spools = st.integers(3, TOP).flatmap(
    lambda last: st.tuples(st.just(last), st.integers(2, min(last + 1, 9)))
)
actions = st.one_of(
    st.tuples(st.just("send"), boots, st.lists(seqs, min_size=1, max_size=8)),
    st.tuples(st.just("spool"), boots, spools),
    st.tuples(st.just("dropped"), boots, st.tuples(seqs, st.integers(0, 6))),
    st.tuples(st.just("state"), boots, seqs),
    st.tuples(st.just("wait"), boots, nothing),
    st.tuples(st.just("bad"), boots, seqs),
    st.tuples(st.just("reload"), boots, nothing),
)
Story = list[tuple[str, int, Any]]


def act(site: Site, kind: str, boot: int, what: Any) -> None:  # noqa: ANN401
    """Do one step of a story."""
    if kind == "send":
        site.send([window(seq, boot, p=float(seq)) for seq in what])
    elif kind == "spool":
        site.send(spool(what[0], what[1], boot))
    elif kind == "dropped":
        if "home" in site.ledger.meters:
            site.dropped(what[0], sum(what), boot)
    elif kind == "state":
        held: list[Json] = [{"boot": boot, "bootn": boot, "from": what}]
        site.state(boot=boot, bootn=boot, up=60_000, have=held)
    elif kind == "wait":
        site.now.pass_s(601)
        site.sweep()
        site.now.pass_s(601)
        site.sweep()
    elif kind == "bad":
        site.send(window(what, boot, v=999.0))
    else:
        site.reload()


def picture(ledger: Ledger) -> object:
    """Return all of a ledger that a restart must bring back."""
    return [
        (
            meter.no, meter.info, meter.channel_nos, meter.newest and meter.newest.boot,
            [
                (boot.no, boot.boot, boot.bootn, list(boot.received), list(boot.done),
                 boot.provisional, boot.runs, boot.clock.anchor_ms, boot.upto)
                for boot in meter.ordered()
            ],
        )
        for meter in ledger.meters.values()
    ]  # fmt: skip


@SLOW
@given(st.lists(actions, max_size=14))
def test_the_ledger_on_disk_is_the_one_in_memory(story: Story) -> None:
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder) / "s.db") as site:
        for step in story:
            act(site, *step)
            memory, numbers = picture(site.ledger), vars_of(site.ledger)
            site.reload()
            assert picture(site.ledger) == memory
            assert vars_of(site.ledger) <= numbers


def vars_of(ledger: Ledger) -> tuple[int, int, int]:
    """Return the next numbers; a deleted newest row's may be given again."""
    return ledger.next_meter_no, ledger.next_boot_no, ledger.next_channel_no


@SLOW
@given(st.lists(actions, max_size=14))
def test_received_final_and_upto_follow_a_plain_model(story: Story) -> None:
    received: dict[int, set[int]] = {1: set(), 2: set()}
    final: dict[int, set[int]] = {1: set(), 2: set()}
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder) / "s.db") as site:
        for kind, boot, what in story:
            act(site, kind, boot, what)
            if kind == "send":
                received[boot] |= set(what)
            elif kind == "spool":
                received[boot] |= set(range(what[0] - what[1] + 1, what[0] + 1))
            if "home" not in site.ledger.meters:
                continue
            for number, known in site.ledger.meters["home"].boots.items():
                assert numbers_in(known.received) == received[number]
                done = numbers_in(known.done)
                final[number] |= done - received[number]
                assert final[number] <= done
                upto = -1
                while upto + 1 in done:
                    upto += 1
                assert known.upto == upto
                on_disk = site.query(
                    "SELECT first, last, state FROM gaps WHERE boot_no = ?", known.no
                )
                told = {"final": set[int](), "provisional": set[int]()}
                for first, last, state in on_disk:
                    told[state] |= set(range(first, last + 1))
                assert told["final"] == done - received[number]
                assert not told["provisional"] & done
                covered = [
                    seq
                    for row in site.rows()
                    if row.boot == number
                    for seq in range(row.seq - row.n + 1, row.seq + 1)
                ]
                assert set(covered) == received[number]


def numbers_in(intervals: object) -> set[int]:
    return {n for first, last in intervals for n in range(first, last + 1)}  # type: ignore[attr-defined]


late_story = st.lists(
    st.tuples(st.integers(0, 250), st.integers(1, 60), st.integers(0, 3)), min_size=1, max_size=10
)


@SLOW
@given(late_story)
def test_rollups_in_sql_are_what_raw_gives_crash_or_not(story: list[tuple[int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_roll(Path(folder), story))


async def _roll(folder: Path, story: list[tuple[int, int, int]]) -> None:
    with Site(folder / "s.db") as site:
        for first, count, then in story:
            part = [window(seq * 5, p=float(seq)) for seq in range(first, first + count)]
            site.send(part)
            if then:
                await site.derive()
            if then == 2:
                await site.restart_deriving()
            if then == 3:
                await site.deriver.drain()
                await site.restart_deriving()
        await site.derive()
        for resolution in RESOLUTIONS:
            rolled, wanted = site.rolled(resolution), site.recomputed(resolution)
            assert rolled.keys() == wanted.keys()
            for start_ms, bucket in wanted.items():
                assert same_bucket(rolled[start_ms], bucket), (resolution, start_ms)

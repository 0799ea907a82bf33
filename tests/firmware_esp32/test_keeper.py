"""The keeper's promises one by one: order, repeats, live ones first, what is told as dropped."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.keeping import Cuts, Gateway, Home, PowerCutError, in_ram, on_flash, power

OFFSET_MS = 1_763_760_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.boot()
    return made


def taken(home: Home, now_ms: int | None = None) -> tuple[str, list[dict[str, Any]]] | None:
    found = home.keeper.take(home.up_ms if now_ms is None else now_ms, OFFSET_MS)
    return None if found is None else (found[1], json.loads(bytes(found[0])))


def make(home: Home, count: int, *, minutes: bool = True) -> None:
    for _ in range(count):
        home.window()
        if minutes and home.up_ms % 60_000 == 0:
            home.keeper.minute(home.up_ms, OFFSET_MS)


def ack(home: Home, upto: int) -> None:
    home.keeper.covered({"boot": home.keeper.boot, "upto": upto})


def test_a_live_window_goes_out_at_once_and_once(home: Home) -> None:
    home.keeper.connected()
    home.window()
    kind, readings = taken(home) or pytest.fail("nothing")
    assert (kind, readings[0]["seq"], readings[0]["t"]) == ("live", 0, OFFSET_MS + 1000)
    assert taken(home) is None


def test_what_is_uncovered_comes_again_after_ten_seconds_not_before(home: Home) -> None:
    home.keeper.connected()
    make(home, 3)
    assert taken(home, 3000) is not None
    assert taken(home, 12_999) is None
    kind, readings = taken(home, 13_000) or pytest.fail("nothing")
    assert kind == "backlog"
    assert [r["seq"] for r in readings] == [0, 1, 2]
    assert taken(home, 22_999) is None
    ack(home, 1)
    _, readings = taken(home, 23_000) or pytest.fail("nothing")
    assert [r["seq"] for r in readings] == [2]
    ack(home, 2)
    assert taken(home, 60_000) is None


def test_live_never_waits_behind_more_than_one_backlog_message(home: Home) -> None:
    make(home, 300)
    home.keeper.connected()
    gateway = Gateway()
    waited = 0
    kinds = set()
    for _ in range(60):
        home.window()
        while (found := home.keeper.take(home.up_ms, OFFSET_MS)) is not None:
            kinds.add(found[1])
            waited = 0 if found[1] == "live" else waited + 1
            last = gateway.readings(bytes(found[0]))[-1][2]
            if found[1] == "live":
                assert last == home.keeper.seq
            home.keeper.covered(gateway.ack())
            if home.keeper.seq not in {s for _, s in gateway.rows[home.keeper.boot]}:
                assert waited <= 1
    assert kinds == {"live", "backlog"}
    assert gateway.upto(home.keeper.boot) == home.keeper.seq


def test_backlog_comes_oldest_first_over_boots_and_ends(tmp_path: Path) -> None:
    home = Home(tmp_path)
    order = []
    for _ in range(3):
        home.boot()
        make(home, 300)
    home.keeper.connected()
    gateway = Gateway()
    for _ in range(200):
        found = home.keeper.take(home.up_ms, OFFSET_MS)
        if found is None:
            break
        order += gateway.readings(bytes(found[0]))
        home.keeper.covered(gateway.ack())
    assert order == sorted(order)
    assert {boot for boot, _, _ in order} == {1001, 1002, 1003}
    assert home.keeper.backlog() == 0
    assert home.keeper.have() == [{"boot": 1003, "bootn": 3, "from": 300}]
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_reconnect_sends_everything_uncovered_again(home: Home) -> None:
    home.keeper.connected()
    make(home, 20)
    while taken(home):
        pass
    ack(home, 4)
    home.keeper.connected()
    _, readings = taken(home) or pytest.fail("nothing")
    assert readings[0]["seq"] == 5


def test_an_ack_ahead_of_what_was_made_covers_no_more_than_that(home: Home) -> None:
    home.keeper.connected()
    make(home, 3)
    ack(home, 4_000_000_000)
    home.window()
    _, readings = taken(home) or pytest.fail("nothing")
    assert readings[0]["seq"] == 3


@pytest.mark.parametrize(
    "odd", [{}, {"boot": "x", "upto": 3}, {"boot": 1001}, {"more": 5}, {"more": [7, {"boot": 1}]}]
)
def test_what_is_no_ack_changes_nothing(home: Home, odd: dict[str, object]) -> None:
    make(home, 5)
    home.keeper.covered(odd)
    assert home.keeper.backlog() == 5


def test_a_long_outage_moves_whole_records_out_of_the_ring(home: Home) -> None:
    make(home, 5000)
    ram = in_ram(home.keeper)
    assert len(ram) >= 600
    kept = [(first, last) for _, first, last in on_flash(home.root)]
    assert kept[0][0] == 0
    assert all(b[0] == a[1] + 1 for a, b in pairwise(kept))
    assert ram.start in {first for first, _ in kept}, "a record lies across the ring's end"
    assert home.keeper.dropped() == []
    assert home.keeper.backlog() == 5000


def test_a_spool_minute_carries_n_its_flag_and_means(home: Home) -> None:
    make(home, 1000)
    home.keeper.connected()
    _, readings = taken(home) or pytest.fail("nothing")
    first = readings[0]
    assert first["flags"] == ["spool"]
    assert first["n"] == first["seq"] + 1  # its first window is the boot's
    assert first["dt"] == 1000 * first["n"]
    assert first["ch"]["grid"]["p"] == pytest.approx(500, abs=0.1)
    assert first["ch"]["grid"]["wh_in"] == pytest.approx(500 * first["up"] / 3.6e6, abs=0.01)


def test_minutes_end_where_the_clocks_minutes_do(home: Home) -> None:
    make(home, 400)
    for _, _, last in on_flash(home.root):
        middle_ms = OFFSET_MS + (last + 1) * 1000 - 500
        assert middle_ms // 60_000 != (middle_ms + 1000) // 60_000


def test_nothing_is_written_while_acks_come(home: Home) -> None:
    for _ in range(600):
        seq = home.window()
        ack(home, seq - 12)
        home.keeper.minute(home.up_ms, OFFSET_MS)
    assert on_flash(home.root) == []


def test_earlier_boots_carry_the_clock_they_had(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.boot()
    for _ in range(400):
        home.window()
        home.keeper.minute(home.up_ms, OFFSET_MS + 5 if home.up_ms > 200_000 else None)
    home.boot()
    home.keeper.connected()
    found = home.keeper.take(0, 99)
    assert found is not None
    for reading in json.loads(bytes(found[0])):
        assert reading["t"] == reading["up"] + OFFSET_MS + 5


def test_a_full_spool_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path, dt_ms=10_000)
    home.quota = 5 * 16_384
    home.boot()
    make(home, 25_000)
    [(boot, first, last)] = home.keeper.dropped()
    assert (boot, first) == (1001, 0)
    have = home.keeper.have()
    assert have == [{"boot": 1001, "bootn": 1, "from": last + 1}]
    home.keeper.reported(ok=False)
    assert home.keeper.dropped() == [(1001, 0, last)]
    home.keeper.reported(ok=True)
    assert home.keeper.dropped() == []
    home.keeper.connected()  # the broker may have lost it
    assert home.keeper.dropped() == [(1001, 0, last)]
    ack(home, last)
    assert home.keeper.dropped() == []


def test_a_full_flash_is_met_by_dropping_the_oldest(home: Home) -> None:
    make(home, 2000)
    home.boot()
    cuts = Cuts()
    with power(cuts):
        full = OSError(28, "no space left on device")
        cuts.error = full
        cuts.fail = lambda step: step == 2  # the first write
        make(home, 300)
    assert home.keeper.failed_writes == 0
    assert [boot for boot, _, _ in home.keeper.dropped()] == [1001]


def test_a_flash_that_refuses_costs_only_what_the_ring_cannot_hold(home: Home) -> None:
    cuts = Cuts()
    cuts.fail = lambda _step: True
    with power(cuts):
        make(home, 1000)
    ram = in_ram(home.keeper)
    assert home.keeper.failed_writes > 0
    assert home.keeper.dropped() == [(1001, 0, ram.start - 1)]
    assert home.keeper.have()[0]["from"] == ram.start
    make(home, 120)  # it works again
    assert on_flash(home.root)[0][1] == ram.start


def test_without_memory_for_the_spool_the_oldest_go_and_are_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("shelf.Shelf", no_memory)
        make(home, 1000)
    ram = in_ram(home.keeper)
    assert home.keeper.seq == ram.stop - 1 == 999, "each window has its number"
    assert len(ram) >= 600
    assert home.keeper.dropped() == [(1001, 0, ram.start - 1)]
    make(home, 120)  # there is room again
    assert on_flash(home.root)[0][1] == ram.start


@pytest.mark.parametrize("often", [1, 2, 3])
def test_memory_that_ends_while_a_record_is_written_loses_nothing_untold(
    home: Home, often: int
) -> None:
    cuts = Cuts()
    cuts.error = MemoryError()
    cuts.fail = lambda step: step % often == 0
    with power(cuts):
        make(home, 1500)
    assert home.keeper.seq == 1499
    home.keeper.connected()
    gateway = Gateway()
    for drop in home.keeper.dropped():
        gateway.dropped(*drop)
    while (found := home.keeper.take(home.up_ms, OFFSET_MS)) is not None:
        gateway.readings(bytes(found[0]))
        home.keeper.covered(gateway.ack())
    assert gateway.upto(home.keeper.boot) == 1499
    make(home, 120)
    records = on_flash(home.root)
    assert records, "it goes on where there is room again"
    assert all(a[2] < b[1] for a, b in pairwise(records))


def test_a_damaged_segment_is_told_as_dropped_and_the_rest_sent(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.boot()
    make(home, 3000)
    home.keeper.flush(OFFSET_MS)
    [path] = (tmp_path / "spool").iterdir()
    home.boot()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    path.write_bytes(raw)
    home.keeper.connected()
    gateway = Gateway()
    while home.keeper.backlog():
        found = home.keeper.take(home.up_ms, OFFSET_MS)
        if found is not None:
            gateway.readings(bytes(found[0]))
        for drop in home.keeper.dropped():
            gateway.dropped(*drop)
        home.keeper.reported(ok=True)
        home.keeper.covered(gateway.ack())
        home.up_ms += 1000
        assert home.up_ms < 100_000
    assert gateway.upto(1001) == 2999


def test_sixty_four_boots_at_most(tmp_path: Path) -> None:
    home = Home(tmp_path, dt_ms=10_000)
    for _ in range(80):
        home.boot()
        make(home, 30)
    have = home.keeper.have()
    assert len(have) == 64
    assert [entry["bootn"] for entry in have] == list(range(17, 81))


def test_memory_lent_of_the_ring_costs_no_window(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:  # a heap with little to spare
        patch.setattr("pages.gc.mem_free", lambda: 50_000, raising=False)
        home = Home(tmp_path)
        home.boot()
    make(home, 100)
    before = home.keeper.shelved
    lent = home.keeper.lend(8192)
    assert lent is not None
    lent[:] = bytes(8192)
    assert (before, home.keeper.shelved) == (False, True), "minutes go to the flash for it"
    make(home, 50)
    home.keeper.connected()
    gateway = Gateway()
    while (found := home.keeper.take(home.up_ms, OFFSET_MS)) is not None:
        gateway.readings(bytes(found[0]))
        home.keeper.covered(gateway.ack())
    assert gateway.upto(home.keeper.boot) == home.keeper.seq == 149


def test_a_boot_far_behind_asks_for_another(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    make(home, 10)
    assert not home.keeper.wants_reboot()
    monkeypatch.setattr("keeper._REBOOT_BEHIND", 9)
    assert home.keeper.wants_reboot()
    ack(home, 0)
    assert not home.keeper.wants_reboot()


def test_messages_are_made_in_the_same_memory(home: Home) -> None:
    make(home, 200)
    home.keeper.connected()
    first = home.keeper.take(0, None)
    assert first is not None
    memory, sent = first[0].obj, json.loads(bytes(first[0]))
    assert 1500 < len(first[0]) <= 2000
    home.keeper.covered({"boot": 1001, "upto": sent[-1]["seq"]})
    second = home.keeper.take(0, None)
    assert second is not None
    assert second[0].obj is memory
    assert json.loads(bytes(second[0]))[0]["seq"] == sent[-1]["seq"] + 1


def test_power_cuts_at_every_single_step(tmp_path: Path) -> None:
    """Whatever the step, and however much of it reached the disk, records and energy hold."""
    steps = _steps(tmp_path / "whole")
    assert steps > 40
    for step in range(1, steps + 1):
        for part in (0.0, 0.4, 1.0):
            _cut(tmp_path / f"{step}-{part}", step, part)


def _lives(home: Home) -> None:
    for _ in range(2):
        _life(home)


def _life(home: Home) -> None:
    home.boot()
    for at in range(90):
        home.window()
        if home.up_ms % 60_000 == 0:
            home.registers.save()
            home.keeper.minute(home.up_ms, OFFSET_MS if at > 40 else None)
    ack(home, 50)
    home.keeper.flush(OFFSET_MS)


def _steps(root: Path) -> int:
    root.mkdir()
    cuts = Cuts()
    with power(cuts):
        _lives(Home(root, dt_ms=10_000))
    return cuts.steps


def _cut(root: Path, step: int, part: float) -> None:
    root.mkdir()
    cuts = Cuts()
    cuts.at, cuts.part = step, part
    home = Home(root, dt_ms=10_000)
    with power(cuts), pytest.raises(PowerCutError):
        _lives(home)
    counted = home.registers.mwh_in[0]
    before = on_flash(root)
    home.boot()
    # 500 W: at most the minute since the last save.
    assert counted - 500 * 1000 // 60 - 1 <= home.registers.mwh_in[0] <= counted
    assert on_flash(root) == before
    held = sum(last - first + 1 for _, first, last in before)
    assert home.keeper.backlog() == held
    make(home, 30)
    home.keeper.flush(None)
    assert sum(boot == home.keeper.boot for boot, _, _ in on_flash(root)) == 5

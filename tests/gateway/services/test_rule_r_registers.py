"""Rule R of the contract: registers in seq order, falls, glitches, impossible rises."""

import pytest

from gateway.domain.meters import ChannelInfo, Role
from gateway.domain.readings import Mark
from tests.gateway.services.site_rig import START_MS, Site, window, windows

HOUR_MS = 3_600_000


def with_registers(*values: float | None, first: int = 0, boot: int = 1) -> list[dict[str, object]]:
    return [window(first + k, boot, wh_in=wh) for k, wh in enumerate(values)]


async def energy_wh(site: Site, resolution: str = "1m") -> float:
    """Return the energy that the registers of the intervals tell."""
    await site.derive()
    rolled = site.rolled(resolution)
    totals = [
        bucket.wh_in + bucket.base_in
        for _, bucket in sorted(rolled.items())
        if bucket.wh_in is not None
    ]
    assert totals == sorted(totals), "kWh never falls"
    return totals[-1]


async def test_rule_r_a_fall_is_stored_flagged_and_counts_zero(site: Site) -> None:
    site.send(with_registers(1000.0, 1000.5, 3.0, 3.5))
    marks = [bool(row.marks & Mark.REGISTER_FELL) for row in site.rows()]
    assert marks == [False, False, True, False]
    assert site.dead() == []
    assert await energy_wh(site) == pytest.approx(1001.0)


async def test_rule_r_a_glitch_to_zero_and_back_is_not_counted(site: Site) -> None:
    site.send(with_registers(1000.0, 1000.5, 0.0, 1000.75, 1001.0))
    assert site.dead() == []
    assert site.seqs() == [0, 1, 2, 3, 4]
    assert await energy_wh(site) == pytest.approx(1001.0)


async def test_rule_r_a_glitch_over_a_restart_is_not_counted(site: Site) -> None:
    site.send(with_registers(1000.0, 1000.5, 0.0))
    await site.derive()
    await site.deriver.drain()
    site.reload()
    await site.restart_deriving()
    site.send(with_registers(1000.75, 1001.0, first=3))
    assert site.dead() == []
    assert await energy_wh(site) == pytest.approx(1001.0)


async def test_rule_r_a_null_register_changes_nothing(site: Site) -> None:
    site.send(with_registers(1000.0, None, 1000.5))
    assert [bool(row.marks & Mark.REGISTER_FELL) for row in site.rows()] == [False] * 3
    assert await energy_wh(site) == pytest.approx(1000.5)


def test_rule_r_an_impossible_rise_is_poison_and_the_next_good_reading_is_stored(
    site: Site,
) -> None:
    ack = site.send(with_registers(1000.0, 1000.1, 9_000_000.0, 1000.3))
    assert site.dead() == ["register_jump"]
    assert site.gaps() == [(2, 2, "final")]
    assert site.seqs() == [0, 1, 3]
    assert ack is not None
    assert ack.upto == 3
    assert ack.regs["grid"][0] is not None
    assert ack.regs["grid"][0].wh == 1000.3


def test_rule_r_what_is_possible_depends_on_the_channel_s_rating(site: Site) -> None:
    # Half an hour missed: 30 A may have carried at most 30 · 1.5 · 230 · 1.15 · 0.5 = 5951 Wh.
    for rating_a, risen_wh, reasons in (
        (30.0, 5900.0, []),
        (30.0, 6100.0, ["register_jump"]),
        (60.0, 6100.0, []),
        (None, 200_000.0, []),
    ):
        meter = f"m{len(site.ledger.meters):02}"
        before = len(site.dead())
        site.send(window(0, wh_in=1000.0), meter)
        info = ChannelInfo("grid", Role.GRID, rating_a)
        site.ledger.meters[meter].info.channels["grid"] = info
        site.send(window(1800, wh_in=1000.0 + risen_wh), meter)
        assert site.dead()[before:] == reasons, (rating_a, risen_wh)


def test_rule_r_registers_are_compared_in_seq_order(site: Site) -> None:
    site.send([window(0, wh_in=1000.0), window(1800, wh_in=1200.0)])
    site.send(window(900, wh_in=1100.0))  # late, and below the newest: no fall
    assert [row.marks & Mark.REGISTER_FELL for row in site.rows()] == [0, 0, 0]
    ack = site.send(window(1801, wh_in=1200.1))
    assert ack is not None
    assert ack.regs["grid"][0] is not None
    assert ack.regs["grid"][0].wh == 1200.1


def test_rule_r_late_readings_do_not_move_the_registers_told_back(site: Site) -> None:
    site.send([window(0, wh_in=1000.0), window(10, wh_in=1001.0)])
    ack = site.send(window(5, wh_in=1000.5))
    assert ack is not None
    assert ack.regs["grid"][0] is not None
    assert ack.regs["grid"][0].wh == 1001.0


def test_rule_r_a_new_boot_goes_on_from_the_registers_of_the_one_before(site: Site) -> None:
    site.send(with_registers(1000.0, 1000.5))
    site.send(with_registers(999.0, first=0, boot=2))
    assert site.rows()[2].marks & Mark.REGISTER_FELL


def test_rule_r_a_rise_over_the_lost_end_of_a_boot_is_stored(site: Site) -> None:
    site.send(window(0, wh_in=1000.0))
    site.ledger.meters["home"].info.channels["grid"] = ChannelInfo("grid", Role.GRID, 30.0)
    # Five hours out of reach, then a power cut took the backlog; the registers lived on.
    site.now.pass_s(5 * 3600)
    risen = window(0, 2, wh_in=5000.0, boot_ms=START_MS + 5 * HOUR_MS)
    site.send(risen)
    assert site.dead() == []
    assert len(site.rows()) == 2


def test_rule_r_a_repetition_from_before_a_reset_is_a_repetition(site: Site) -> None:
    site.send(with_registers(1000.0, 1000.5, 0.0, 0.5))
    site.send(with_registers(1000.0, 1000.5))
    assert site.dead() == []
    assert site.last.duplicates == 2


async def test_rule_r_a_late_reading_from_before_a_reset_adds_no_energy(site: Site) -> None:
    site.send([window(0, wh_in=1000.0), window(60, wh_in=1001.0), window(400, wh_in=0.0)])
    await site.derive()
    site.send(window(61, wh_in=1001.25))
    assert 1001.0 <= await energy_wh(site) <= 1001.25


async def test_rule_r_an_interval_that_ends_on_null_keeps_its_last_register(site: Site) -> None:
    site.send(with_registers(1000.0, 0.0, 0.25))  # a reset, so that there is a base
    site.send([window(60, wh_in=0.5), window(120, wh_in=None), window(121, wh_in=None)])
    for resolution in ("15m", "1h", "1d"):
        assert await energy_wh(site, resolution) == pytest.approx(1000.5)
    await site.deriver.drain()
    site.send(window(122, wh_in=None))
    await site.derive()
    await site.deriver.drain()
    assert await energy_wh(site, "15m") == pytest.approx(1000.5)


def test_rule_r_registers_told_back_survive_a_restart(site: Site) -> None:
    told = site.send([*windows(0, 3)])
    site.reload()
    again = site.send(window(3))
    assert told is not None
    assert again is not None
    assert again.regs == told.regs

"""The meter's keeper against the gateway's own data path: both read the contract the same way."""

import random
from pathlib import Path

import pytest

from gateway.domain.readings import Mark
from gateway.services.batches import Ack
from tests.gateway.services.site_rig import START_MS, Site
from tests.support.keeping import Home

MWH_TOLERANCE_WH = 0.002


class Street:
    """One meter and one gateway, with a network that loses some messages and some acks."""

    def __init__(self, home: Home, site: Site, loss: float, seed: int) -> None:
        self.home = home
        self.site = site
        self.loss = loss
        self.random = random.Random(seed)
        self.boot_ms = START_MS
        self.made: dict[int, int] = {}
        self.marks = 0

    def boot(self) -> None:
        self.boot_ms += self.home.up_ms + 5000
        self.made[self.home.boot()] = 0

    def windows(self, count: int, *, online: bool) -> None:
        for _ in range(count):
            self.made[self.home.keeper.boot] = self.home.window() + 1
            self.site.now.wall = self.boot_ms + self.home.up_ms + 40
            if self.home.up_ms % 60_000 == 0:
                self.home.registers.save()
                self.home.keeper.minute(self.home.up_ms, self.boot_ms)
                if online:
                    self.state()
            if online:
                self.pump()

    def connect(self) -> None:
        self.home.keeper.connected()
        self.state()

    def state(self) -> None:
        keeper = self.home.keeper
        self.told(
            self.site.state(
                boot=keeper.boot, bootn=keeper.bootn, up=self.home.up_ms, have=keeper.have()
            )
        )

    def pump(self) -> None:
        while (found := self.home.keeper.take(self.home.up_ms, self.boot_ms)) is not None:
            if self.random.random() >= self.loss:
                self.told(self.site.send(bytes(found[0])))

    def told(self, ack: Ack | None) -> None:
        if ack is None or self.random.random() < self.loss:
            return
        more = [{"boot": boot, "upto": upto} for boot, upto in ack.more]
        self.home.keeper.covered({"boot": ack.boot, "upto": ack.upto, "more": more})


@pytest.mark.parametrize(("loss", "seed"), [(0.0, 1), (0.3, 2), (0.3, 3)])
def test_outages_reboots_and_losses_end_in_every_window_once(
    tmp_path: Path, loss: float, seed: int
) -> None:
    home = Home(tmp_path / "flash", 2)
    home.root.mkdir()
    with Site(tmp_path / "gateway.db") as site:
        street = Street(home, site, loss, seed)
        street.boot()
        street.connect()
        street.windows(90, online=True)
        street.windows(1500, online=False)
        street.connect()
        street.windows(30, online=True)
        street.windows(300, online=False)
        home.keeper.flush(street.boot_ms)
        home.registers.save()
        street.boot()
        street.windows(400, online=False)
        street.connect()
        street.windows(240, online=True)
        street.loss = 0.0
        street.windows(70, online=True)
        check(street)


def check(street: Street) -> None:
    site, home = street.site, street.home
    assert home.keeper.backlog() == 0
    assert site.dead() == []
    covered: dict[int, list[tuple[int, int]]] = {}
    energy_wh = -1.0
    for row in site.rows():
        covered.setdefault(row.boot, []).append((row.seq - row.n + 1, row.seq))
        register_wh = row.ch["grid"].wh_in
        assert register_wh is not None
        assert register_wh >= energy_wh
        energy_wh = register_wh
        assert not row.marks & (Mark.ANCHORED | Mark.NEIGHBOURED | Mark.PHYSICS), row
    for boot, count in street.made.items():
        spans = covered[boot]
        assert [first for first, _ in spans] == [0, *[last + 1 for _, last in spans[:-1]]]
        assert spans[-1][1] == count - 1
        assert site.boot(boot).upto == count - 1
    assert energy_wh == pytest.approx(home.registers.mwh_in[0] / 1000, abs=MWH_TOLERANCE_WH)
    fell = [(row.boot, row.seq, row.n) for row in site.rows() if row.marks & Mark.REGISTER_FELL]
    assert fell == []
    assert any(row.n > 1 for row in site.rows()), "no spool record was needed"

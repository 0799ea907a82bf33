"""From a bare board on USB to a calibrated meter with its certificate: the installer's road."""

import json
from pathlib import Path

import pytest

from provisioning.board import Board
from provisioning.flash import CALIBRATED
from simulation.chain import Chain
from tests.support.firmware import needs_vm
from tests.support.kit_bench import KitBench
from tests.support.kit_site import KitSite

pytestmark = [needs_vm, pytest.mark.timeout(900)]
SPEED = 8.0  # the board's time against ours: a calibration takes minutes


def test_flash_provision_first_reading_calibrate_certificate(short_path: Path) -> None:
    with KitSite(short_path) as site:
        board = site.plug_in("board", chain=Chain(7, 1), speed=SPEED)

        flashed = site.meters(*site.flash_words(board))
        assert flashed.returncode == 0, flashed.stderr
        assert "MicroPython written and verified" in flashed.stdout
        assert "it boots" in flashed.stdout
        assert "next: sudo wattwarden meters provision ID" in flashed.stdout

        words = site.provision_words(board, "kitchen", "--label", "Kitchen")
        provisioned = site.meters(*words)
        assert provisioned.returncode == 0, provisioned.stderr
        assert "Its first reading:\n  grid 1" in provisioned.stdout

        bench = KitBench(site, "kitchen", "board")
        status, said = bench.run()
        assert status == 0, said
        page = bench.certificate.read_text()
        assert "no verification under legal metrology" in page
        assert "kitchen" in page
        shown = json.loads(site.daemon.cli_ok("meters", "calibration", "show", "kitchen", "--json"))
        assert (shown["version"], shown["state"]) == (1, "running")
        assert shown["checks"][0]["passed"]

        again = site.meters(*site.flash_words(board))
        assert again.returncode == 0, again.stderr
        assert "MicroPython was there already; firmware" in again.stdout
        assert "its calibration is kept" in again.stdout
        assert "it goes on as the meter kitchen" in again.stdout
        assert not CALIBRATED.isdisjoint(Board(str(board.port)).inventory().files)

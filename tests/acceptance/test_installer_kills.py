"""SIGKILL at random moments of flashing and provisioning: the next run always completes."""

import json
import random
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from provisioning.board import Board
from tests.support.firmware import needs_vm
from tests.support.gateway_stub import until
from tests.support.kit_site import KitSite
from tests.support.usb_board import UsbBoard

pytestmark = [needs_vm, pytest.mark.timeout(1800)]
CALIBRATION = {
    "/calibration_a.bin": b'{"format":1,"version":3,"made":"2026-11-22"}',
    "/slots_calibration.a": b"the record of it",
}


def interrupt(site: KitSite, words: Sequence[str], after_s: float) -> bool:
    """Start a command and kill it after so long; True when it had not ended by itself."""
    with subprocess.Popen(
        site.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, cwd=site.directory, env=site.environment(),
    ) as process:  # fmt: skip
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def registered(site: KitSite) -> set[str]:
    listed = json.loads(site.daemon.cli_ok("meters", "list", "--json"))
    return {meter["id"] for meter in listed["items"]}


def never_half(site: KitSite) -> None:
    """Expect an account for each meter that the gateway lists."""
    assert registered(site) <= set(site.broker.accounts.users())


def calibrate(board: UsbBoard) -> None:
    """Put the files on the board that a calibrated meter has."""
    files = Board(str(board.port))
    files.put(CALIBRATION, files.inventory(), lambda _: None)


def holds_calibration(board: UsbBoard) -> bool:
    files = Board(str(board.port))
    return all(files.read(path) == content for path, content in CALIBRATION.items())


def through(site: KitSite, kills: int, seed: int) -> int:
    """Interrupt so many runs of flash and provision by turns; return how many were cut short."""
    chance = random.Random(seed)
    board = site.plug_in("board")
    assert site.meters(*site.flash_words(board)).returncode == 0
    calibrate(board)
    cut = 0
    for number in range(kills):
        flashing = number % 2 == 0
        words = site.flash_words(board) if flashing else site.provision_words(board, "kitchen")
        if flashing:  # there is something to be done
            spoil(board, chance)
        else:
            words = (*words, "--new-password")
        cut += interrupt(site, words, chance.uniform(0.3, 6.0 if flashing else 5.0))
        never_half(site)
        again = words if flashing else words[:-1]
        done = site.meters(*again)
        assert done.returncode == 0, f"{number}: {done.stderr}\n{done.stdout}\n{board.log()}"
        assert holds_calibration(board), number
    assert site.meters(*site.provision_words(board, "kitchen")).returncode == 0
    config = json.loads(Board(str(board.port)).read("/config.json") or b"{}")
    assert site.broker.accounts.matches("kitchen", config["mqtt"]["password"])
    assert registered(site) == {"kitchen"}
    return cut


def spoil(board: UsbBoard, chance: random.Random) -> None:
    """Have the board need MicroPython, or some files, anew."""
    files = Board(str(board.port))
    files.put({"/app_a/app.mpy": chance.randbytes(9000)}, files.inventory(), lambda _: None)
    if chance.random() < 0.5:
        board.stop()
        with board.flash.open("r+b") as file:
            file.seek(0x10000 + chance.randrange(50_000))
            file.write(b"\0" * 5000)
        board.start()


@pytest.mark.soak  # `make test` cuts a flash after each of its steps (tests/provisioning)
def test_four_interruptions_are_mended(short_path: Path) -> None:
    with KitSite(short_path) as site:
        assert through(site, 4, seed=11) >= 3


@pytest.mark.soak
def test_twenty_interruptions_are_mended(short_path: Path) -> None:
    with KitSite(short_path) as site:
        assert through(site, 20, seed=12) >= 14


@pytest.mark.soak
def test_a_first_flash_and_a_first_provision_cut_short(short_path: Path) -> None:
    with KitSite(short_path) as site:
        board = site.plug_in("board")
        for after_s in (1.5, 3.0):
            assert interrupt(site, site.flash_words(board), after_s)
            time.sleep(0.2)
        done = site.meters(*site.flash_words(board))
        assert done.returncode == 0, done.stderr
        words = site.provision_words(board, "roof")
        for after_s in (0.9, 1.7):
            interrupt(site, words, after_s)
            never_half(site)
        done = site.meters(*words)
        assert done.returncode == 0, done.stderr
        until(lambda: registered(site) == {"roof"}, within_s=5)

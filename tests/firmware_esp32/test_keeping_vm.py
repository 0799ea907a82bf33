"""Keeping in the MicroPython VM: RAM, days on flash, power cuts and wear over a littlefs."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from keeper import LARGE_BYTES, SPOOL_BYTES

from tests.support.firmware import needs_vm, vm, vm_command, vm_environment

pytestmark = needs_vm
PROGRAM = Path(__file__).with_name("keeping_program.py")
MIB = 1 << 20
MINUTES_A_DAY = 1440


def run(*arguments: object, heap: str = "160K") -> dict[str, Any]:
    text = vm(PROGRAM, *[str(a) for a in arguments], heap=heap, within_s=110)
    found = json.loads(text.splitlines()[-1])
    sys.stdout.write(f"{arguments} {found}\n")
    assert isinstance(found, dict)
    return found


def test_twenty_thousand_windows_do_not_grow_the_heap(tmp_path: Path) -> None:
    found = run("ram", tmp_path, 3, 20_000)
    heap = found["heap"]
    assert max(heap[1:]) - heap[1] < 1024
    assert max(heap) < 110_000
    assert found["held"] == 5


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_days_on_flash(tmp_path: Path, channels: int) -> None:
    minutes = 1500
    # Six clamps: the VM's objects are twice those of the board.
    found = run("days", tmp_path, channels, minutes, heap="160K" if channels < 4 else "224K")
    # What is in the ring has been written too: one record a minute.
    per_minute = found["bytes"] / (minutes - 1)
    # Of the quota's segments the oldest goes whole when the newest begins.
    segments = (SPOOL_BYTES if channels < 4 else LARGE_BYTES) // 16_384 - 1
    days = segments * 16_200 / per_minute / MINUTES_A_DAY
    sys.stdout.write(f"{channels} clamps: {per_minute:.1f} bytes a minute, {days:.1f} days\n")
    assert days >= 14
    assert found["have"] == [{"boot": 7, "bootn": 1, "from": 0}]


@pytest.mark.soak
@pytest.mark.parametrize(("channels", "quota"), [(3, SPOOL_BYTES), (6, LARGE_BYTES)])
def test_a_full_spool_holds_fourteen_days(tmp_path: Path, channels: int, quota: int) -> None:
    minutes = 28_000
    found = run("days", tmp_path, channels, minutes, heap="160K" if channels < 4 else "224K")
    assert found["bytes"] <= quota
    assert found["held"] >= 14 * MINUTES_A_DAY * 6
    first = found["have"][0]["from"]
    assert found["dropped"] == [[7, 0, first - 1]]
    # After a power cut all is there but what no whole minute was made of, and the ring's last.
    assert found["after"] >= found["held"] - 12


def lives(tmp_path: Path, count: int, rng: random.Random) -> None:
    """Cut the power in the middle of a flash operation, again and again."""
    image, log = tmp_path / "flash.bin", tmp_path / "told.jsonl"
    counted = saved = backlog = 0
    cuts = 0
    for bootn in range(1, count + 1):
        log.write_text("")
        flash = f"{image}:{MIB}:{rng.randint(3, 120)}"
        # The spool's sources are compiled beside a ring that has its memory already.
        command = vm_command(PROGRAM, "life", flash, str(bootn), "200", str(log), heap="192K")
        done = subprocess.run(
            command, env=vm_environment(), capture_output=True, text=True, timeout=60, check=False
        )
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        cuts += done.returncode != 0
        assert "Traceback" not in done.stdout, done.stdout
        if not lines:
            continue  # cut before the keeper was there: while mounting or counting the boot
        begun = lines[0]
        assert begun["failed"] == 0
        assert begun["bootn"] <= bootn
        # Energy: never below what was saved, at most a minute of 3.6 kW (60 Wh) lost.
        assert begun["begun"] >= saved, "a register fell"
        assert begun["begun"] >= counted - 60_000, "more than a minute was lost"
        # Shape: what was in a record is there; the last two minutes of windows may be gone.
        assert begun["backlog"] >= backlog - 12, "records were lost"
        for line in lines[1:]:
            counted = line.get("count", counted)
            saved = line.get("saved", saved)
            backlog = line.get("backlog", backlog)
        saved, counted = max(saved, begun["begun"]), max(counted, begun["begun"])
        backlog = max(backlog, begun["backlog"])
    assert cuts > count // 2


def test_power_cuts_at_random_flash_writes(tmp_path: Path) -> None:
    lives(tmp_path, 25, random.Random(11))


@pytest.mark.soak
def test_many_power_cuts_at_random_flash_writes(tmp_path: Path) -> None:
    for seed in range(8):
        directory = tmp_path / str(seed)
        directory.mkdir()
        lives(directory, 50, random.Random(seed))


def test_wear(tmp_path: Path) -> None:
    minutes = 360
    found = run("wear", f"{tmp_path / 'flash.bin'}:{2 * MIB}:0", 3, minutes, heap="512K")
    scale = MINUTES_A_DAY / minutes
    blocks = 2 * MIB // 4096
    for state in ("online", "offline"):
        erases_a_day = found[state] * scale
        # A flash block bears 100,000 erases; half of the 2 MiB are free to take turns.
        years = 100_000 * blocks / 2 / erases_a_day / 365
        sys.stdout.write(f"{state}: {erases_a_day:.0f} erases a day, {years:.0f} years\n")
        assert years > 10
    # littlefs goes round. What it keeps of a directory moves on only after 100 erases
    # (MicroPython's block_cycles), so such a block may be ahead of the others by that.
    total = found["online"] + found["offline"]
    assert found["used"] > blocks / 3
    assert found["worst"] <= 3 * total / found["used"] + 100

"""The firmware's copy in the ROM partition: whole or not run, in the real VM."""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import romslot
from romslot import mounted

from tests.support.firmware import FIRMWARE, HOST, find_vm, needs_vm
from tinymodels.detect.bundle import firmware_manifest

SIZE = 16 * 4096
CUT = 9  # the program's status after a power cut
PROGRAM = Path(__file__).with_name("romslot_program.py")
SMALL = {"app.py": b"print('small')\n", "gauss.py": b"x = 1\n" * 700, "empty.py": b""}


def put(folder: Path, files: dict[str, bytes], version: int = 1) -> Path:
    """Lay a firmware into a slot's folder."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_bytes(firmware_manifest(files, version))
    return folder


class Meter:
    """A board with a ROM partition of SIZE bytes in a file."""

    def __init__(self, place: Path) -> None:
        self.rom = place / "rom.bin"

    def boot(self, folder: Path, cut: int = 0, size: int = SIZE) -> dict[str, Any] | None:
        """Boot once; return what the program told, None after a power cut."""
        vm = find_vm()
        assert vm is not None
        environment = {
            **os.environ,
            "MICROPYPATH": f".frozen:{FIRMWARE}:{HOST}",
            "METER_ROM": "-" * size,
        }
        words = [str(vm), str(PROGRAM), str(self.rom), str(size), str(folder), str(cut)]
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode == CUT:
            return None
        assert done.returncode == 0, done.stdout + done.stderr
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


def runs(told: dict[str, Any] | None, files: dict[str, bytes]) -> bool:
    """Tell whether the firmware runs from a whole copy of these files."""
    assert told is not None
    wanted = {name: content.decode() for name, content in files.items()}
    return (told["place"], told.get("files")) == ("/rom", wanted)


@needs_vm
def test_the_slot_is_copied_once(tmp_path: Path) -> None:
    meter, slot = Meter(tmp_path), put(tmp_path / "a", SMALL)
    first = meter.boot(slot)
    assert runs(first, SMALL)
    assert first is not None
    assert first["changes"] > 1
    again = meter.boot(slot)
    assert runs(again, SMALL)
    assert again is not None
    assert again["changes"] == 0


@needs_vm
def test_another_slot_takes_its_place(tmp_path: Path) -> None:
    meter = Meter(tmp_path)
    newer = {"app.py": b"print('newer')\n", "more.py": b"y = 2\n"}
    a, b = put(tmp_path / "a", SMALL), put(tmp_path / "b", newer, 2)
    for slot, files in ((a, SMALL), (b, newer), (a, SMALL)):
        assert runs(meter.boot(slot), files)


@needs_vm
def test_a_power_cut_at_any_write_costs_a_second_copy_at_most(tmp_path: Path) -> None:
    old, new = put(tmp_path / "a", SMALL), put(tmp_path / "b", {**SMALL, "app.py": b"z = 3\n"}, 2)
    whole = Meter(tmp_path)
    told = whole.boot(old)
    assert told is not None
    before = whole.rom.read_bytes()
    for cut in range(1, told["changes"] + 1):
        whole.rom.write_bytes(before)
        assert whole.boot(new, cut) is None
        assert runs(whole.boot(new), {**SMALL, "app.py": b"z = 3\n"}), cut


@needs_vm
def test_a_damaged_copy_is_never_run(tmp_path: Path) -> None:
    meter, slot = Meter(tmp_path), put(tmp_path / "a", SMALL)
    assert runs(meter.boot(slot), SMALL)
    good = meter.rom.read_bytes()
    used = len(good.rstrip(b"\xff"))
    chance = random.Random(4)
    for place in [0, *(chance.randrange(used) for _ in range(11))]:
        damaged = bytearray(good)
        damaged[place] ^= 1 << chance.randrange(8)
        meter.rom.write_bytes(damaged)
        assert runs(meter.boot(slot), SMALL), place


@needs_vm
def test_what_has_no_room_runs_from_its_folder(tmp_path: Path) -> None:
    large = {"app.py": b"# large\n" * 2000}
    told = Meter(tmp_path).boot(put(tmp_path / "a", large), size=3 * 4096)
    assert told == {"place": None, "changes": 0}


@needs_vm
def test_a_slot_that_is_torn_is_not_copied(tmp_path: Path) -> None:
    slot = put(tmp_path / "a", SMALL)
    (slot / "gauss.py").write_bytes(b"x = 1\n")
    told = Meter(tmp_path).boot(slot)
    assert told is not None
    assert told["place"] is None


@pytest.mark.parametrize("partitions", [0, None])
def test_a_board_without_the_partition_runs_the_folder(
    tmp_path: Path, partitions: int | None
) -> None:
    def ioctl(*_: object) -> int | None:
        return partitions

    slot = str(put(tmp_path / "a", SMALL))
    assert mounted(slot, None if partitions is None else ioctl) is None


def test_an_interpreter_without_rom_file_systems_has_no_access() -> None:
    assert romslot.rom_ioctl() is None


def test_a_partition_that_cannot_be_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romslot._holds", lambda *_: False)
    area = bytearray(SIZE)

    def ioctl(what: int, *_: object) -> object:
        return 1 if what == 1 else area if what == 2 else -5

    assert mounted(str(put(tmp_path / "a", SMALL)), ioctl) is None

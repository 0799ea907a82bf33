"""A firmware's container: unpacked whole, or refused before anything is replaced."""

import json
import struct
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import container
import pytest
from bootslot import MANIFEST, faults, version_of
from errors import BadBundleError

from tinymodels.detect.bundle import pack_firmware

FILES = {"app.py": b"x = 1\n" * 500, "log.py": b"", "wire.py": b"y = 2\n"}
GOOD = pack_firmware(FILES, 3)


class Pauses:
    """Counts how often the work let others run."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


def build(manifest: dict[str, Any], content: bytes, *, magic: bytes = b"WWFW\x01") -> bytes:
    text = json.dumps(manifest).encode()
    return magic + struct.pack("<I", len(text)) + text + content


def packed_at(tmp_path: Path, packed: bytes) -> tuple[str, str]:
    (tmp_path / "firmware.part").write_bytes(packed)
    return str(tmp_path / "firmware.part"), str(tmp_path / "app_b")


async def unpack(tmp_path: Path, packed: bytes, version: int = 3) -> Path:
    source, folder = packed_at(tmp_path, packed)
    room = memoryview(bytearray(8192))  # as the ring lends it, or does not
    lend = (lambda size: room[:size]) if version % 2 else None
    await container.unpack(source, folder, version, Pauses(), lend)
    return Path(folder)


async def test_unpacks_every_file_and_the_manifest(tmp_path: Path) -> None:
    folder = await unpack(tmp_path, GOOD)
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert json.loads(there.pop(MANIFEST))["version"] == 3
    assert there == FILES
    await container.check(str(folder), Pauses())
    assert version_of(str(folder)) == 3


async def test_what_was_in_the_slot_is_gone(tmp_path: Path) -> None:
    await unpack(tmp_path, pack_firmware({"app.py": b"", "old.py": b""}, 2), 2)
    folder = await unpack(tmp_path, GOOD)
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}


async def test_lets_others_run(tmp_path: Path) -> None:
    source, folder = packed_at(tmp_path, GOOD)
    pauses = Pauses()
    await container.unpack(source, folder, 3, pauses)
    assert pauses.count >= 4


ENTRY = ["app.py", 3, "0" * 64]


@pytest.mark.parametrize(
    ("packed", "named"),
    [
        (b"", "format known here"),
        (b"WWFW", "format known here"),
        (GOOD[:-1], "goes beyond"),
        (GOOD + b"x", "1 bytes too many"),
        (build({}, b"", magic=b"WWFX\x01"), "format known here"),
        (build({}, b"", magic=b"WWFW\x02"), "format known here"),
        (b"WWFW\x01" + struct.pack("<I", 1 << 30), "format known here"),
        (b"WWFW\x01" + struct.pack("<I", 4) + b"{{{{", "cannot be read"),
        (build({}, b""), "cannot be read"),
        (build({"format": 2, "version": 3, "files": [ENTRY]}, b"abc"), "another format"),
        (build({"format": 1, "version": 3, "files": []}, b""), "another format"),
        (build({"format": 1, "version": 3, "files": [5]}, b""), "cannot be read"),
        (build({"format": 1, "version": 4, "files": [ENTRY]}, b"abc"), "contains version 4"),
        (build({"format": 1, "files": [ENTRY]}, b"abc"), "cannot be read"),
        (build({"format": 1, "version": 3, "files": [["x.py", 3, "0" * 64]]}, b"abc"), "no app"),
        (build({"format": 1, "version": 3, "files": [["app.py", -1, "0" * 64]]}, b""), "beyond"),
        (build({"format": 1, "version": 3, "files": [["app.py", 3, "0"]]}, b"abc"), "beyond"),
    ],
)
async def test_what_does_not_fit_together_is_refused_and_the_slot_stays(
    tmp_path: Path, packed: bytes, named: str
) -> None:
    before = await unpack(tmp_path, pack_firmware({"app.py": b"old"}, 2), 2)
    with pytest.raises(BadBundleError, match=named) as refusal:
        await unpack(tmp_path, packed)
    assert refusal.value.reason == "selftest"
    assert not any(faults(str(before), full=True))
    assert version_of(str(before)) == 2


@pytest.mark.parametrize(
    "name",
    ["../app.py", "/app.py", "a/b.py", "main.py", "boot.mpy", "x.txt", ".py", "x", "A.py", 5],
)
async def test_names_that_would_leave_the_slot_are_refused(tmp_path: Path, name: object) -> None:
    files = [ENTRY, [name, 0, "0" * 64]]
    with pytest.raises(BadBundleError):
        await unpack(tmp_path, build({"format": 1, "version": 3, "files": files}, b"abc"))
    assert not (tmp_path / "app_b").exists()


async def test_a_changed_byte_is_found_only_by_the_full_look(tmp_path: Path) -> None:
    folder = await unpack(tmp_path, GOOD)
    changed = bytearray((folder / "app.py").read_bytes())
    changed[1500] ^= 1
    (folder / "app.py").write_bytes(changed)
    assert not any(faults(str(folder), full=False))
    with pytest.raises(BadBundleError, match=r"app\.py is damaged"):
        await container.check(str(folder), Pauses())


@pytest.mark.parametrize("name", ["wire.py", "app.py", MANIFEST])
async def test_a_missing_or_shortened_file_is_found_by_the_quick_look(
    tmp_path: Path, name: str
) -> None:
    folder = await unpack(tmp_path, GOOD)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-2])
    assert any(faults(str(folder), full=False))
    (folder / name).unlink()
    assert any(faults(str(folder), full=False))
    assert any(faults(str(tmp_path / "nothing"), full=False))


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        (b"M\x06\x00\x1f", 0),  # bytecode alone
        (b"M\x06" + bytes([10 << 2 | 3]) + b"\x1f", 0),  # native code of this chip
        (b"M\x06" + bytes([11 << 2 | 3]) + b"\x1f", 1),  # of another chip
        (b"M\x06" + bytes([10 << 2 | 2]) + b"\x1f", 1),  # of an older interpreter
        (b"M\x05\x00\x1f", 1),
        (b"X\x06\x00\x1f", 1),
    ],
)
async def test_bytecode_must_be_for_this_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, refused: int
) -> None:
    here = SimpleNamespace(_mpy=6 | 3 << 8 | 10 << 10)  # as sys.implementation on an ESP32
    folder = await unpack(tmp_path, pack_firmware({"app.py": b"", "m.mpy": head + b"..."}, 3))
    monkeypatch.setattr(sys, "implementation", here)
    refusal = pytest.raises(BadBundleError, match=r"m\.mpy is for another")
    with refusal if refused else nullcontext():
        await container.check(str(folder), Pauses())

"""The loader: which firmware starts, and the way back, in the real VM too."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import choice
import main
import pytest
from bootslot import NONE, Record
from choice import after_failure, choose
from errors import FlashError

from tests.support.firmware import FIRMWARE, needs_vm, vm_command, vm_environment
from tinymodels.detect.bundle import pack_firmware
from tools.link_firmware import LOADER

APP = """
from bootslot import Record
VERSION = {version}
def main(root):
    print("runs", VERSION)
    {body}
"""


def put(root: Path, slot: int, version: int, body: str = "pass") -> Path:
    """Lay a firmware into a slot as unpacking does."""
    folder = root / ("app_a" if slot == 0 else "app_b")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {"app.py": APP.format(version=version, body=body).encode()}
    for name in ("bootslot.py", "checked.py", "errors.py"):
        files[name] = (FIRMWARE / name).read_bytes()
    packed = pack_firmware(files, version)
    length = int.from_bytes(packed[5:9], "little")
    (folder / "manifest.json").write_bytes(packed[9 : 9 + length])
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def on_trial(root: Path) -> None:
    """Version 1 confirmed in slot 0, version 2 pending in slot 1."""
    put(root, 0, 1)
    put(root, 1, 2)
    record = Record(str(root), "firmware")
    record.state.update({"active": 1, "back": 0, "pending": True, "versions": [1, 2]})
    record.state["confirmed"] = [True, False]
    record.save()


def state(root: Path) -> Record:
    return Record(str(root), "firmware")


def test_a_new_meter_starts_what_is_there(tmp_path: Path) -> None:
    assert choose(str(tmp_path)) == NONE
    put(tmp_path, 1, 5)
    assert choose(str(tmp_path)) == 1
    put(tmp_path, 0, 4)
    assert choose(str(tmp_path)) == 0
    assert not state(tmp_path).found


def test_one_on_trial_is_started_once(tmp_path: Path) -> None:
    on_trial(tmp_path)
    assert choose(str(tmp_path)) == 1
    assert state(tmp_path).state["tried"]
    assert choose(str(tmp_path)) == 0
    assert state(tmp_path).state["fell"] == [2, "power_cut"]
    assert choose(str(tmp_path)) == 0


def test_one_confirmed_is_started_again_and_again(tmp_path: Path) -> None:
    on_trial(tmp_path)
    assert choose(str(tmp_path)) == 1
    record = state(tmp_path)
    record.state.update({"pending": False, "tried": False, "confirmed": [True, True]})
    record.save()
    assert [choose(str(tmp_path)) for _ in range(3)] == [1, 1, 1]


def test_a_damaged_one_on_trial_is_not_started(tmp_path: Path) -> None:
    on_trial(tmp_path)
    (tmp_path / "app_b" / "errors.py").unlink()
    assert choose(str(tmp_path)) == 0
    assert state(tmp_path).state["fell"] == [2, "damaged"]


def test_a_damaged_active_one_gives_way_to_the_other(tmp_path: Path) -> None:
    on_trial(tmp_path)
    record = state(tmp_path)
    record.state.update({"pending": False, "confirmed": [True, True]})
    record.save()
    (tmp_path / "app_b" / "manifest.json").write_text("{")
    assert choose(str(tmp_path)) == 0
    after = state(tmp_path).state
    assert (after["active"], after["fell"], after["versions"]) == (0, [2, "damaged"], [1, 0])


def test_a_wrong_byte_is_found_after_the_start_failed(tmp_path: Path) -> None:
    on_trial(tmp_path)
    record = state(tmp_path)
    record.state.update({"pending": False, "confirmed": [True, True]})
    record.save()
    after_failure(str(tmp_path))  # failed, but every byte is right: it stays
    assert choose(str(tmp_path)) == 1
    app = tmp_path / "app_b" / "app.py"
    app.write_text(app.read_text().replace("VERSION", "VERSI0N", 1))
    assert choose(str(tmp_path)) == 1
    after_failure(str(tmp_path))
    assert choose(str(tmp_path)) == 0


def test_a_board_without_memory_to_look_is_reset_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise MemoryError

    monkeypatch.setattr(main, "_prepare", lambda *_: False)
    monkeypatch.setattr(choice, "after_failure", fail)
    monkeypatch.setitem(sys.modules, "app", SimpleNamespace(main=fail))
    with pytest.raises(SystemExit) as ended:
        main.start(str(tmp_path))
    assert ended.value.code == main.RESTART


def test_what_cannot_be_marked_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_trial(tmp_path)

    def full(self: Record) -> None:
        msg = "flash is full"
        raise FlashError(msg)

    monkeypatch.setattr(Record, "save", full)
    assert choose(str(tmp_path)) == 0


def test_a_lost_record_starts_what_is_whole(tmp_path: Path) -> None:
    on_trial(tmp_path)
    for path in tmp_path.glob("slots_firmware.*"):
        path.write_bytes(b"\xff" * 50)
    assert choose(str(tmp_path)) == 0


# A chip with a watchdog: it says its time, bites a little later, and ends the VM as a reset would.
WATCHDOG = """
import os, sys
class machine:
    def WDT(timeout):
        print("watchdog", timeout)
        os.system("(sleep 0.5; kill -9 $PPID) &")
    def reset():
        sys.exit(3)
sys.modules["machine"] = machine
"""


def boot(root: Path, chip: str = "", status: int = main.RESTART) -> str:
    """Run main.py as a board does: from the root, nothing else on the path."""
    for name in LOADER:
        shutil.copy(FIRMWARE / f"{name}.py", root)
    script = f"import os; os.chdir({str(root)!r})\n{chip}\nimport main; main.start({str(root)!r})"
    done = subprocess.run(
        vm_command(script),
        env={**vm_environment(), "MICROPYPATH": f":.frozen:{FIRMWARE / 'host'}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


CONFIRM = """r = Record(root, "firmware")
    r.state.update({"pending": False, "tried": False, "confirmed": [True, True]})
    r.save()"""


@needs_vm
def test_an_update_in_the_vm_confirmed_and_not(tmp_path: Path) -> None:
    on_trial(tmp_path)
    assert boot(tmp_path).split() == ["runs", "2"]
    assert boot(tmp_path).split() == ["runs", "1"]  # nobody confirmed
    on_trial(tmp_path)
    put(tmp_path, 1, 2, CONFIRM)
    assert [boot(tmp_path).split()[1] for _ in range(3)] == ["2", "2", "2"]


@needs_vm
@pytest.mark.parametrize("body", ["raise ValueError('defect')", "import nothing_here", "1 / 0"])
def test_an_update_that_fails_in_the_vm_is_taken_back(tmp_path: Path, body: str) -> None:
    on_trial(tmp_path)
    put(tmp_path, 1, 2, body)
    assert "Error" in boot(tmp_path)
    assert boot(tmp_path).split() == ["runs", "1"]


@needs_vm
@pytest.mark.parametrize("body", ["while True: pass", "pass\nwhile True: pass"])  # in main, import
def test_an_update_that_hangs_in_the_vm_is_taken_back(tmp_path: Path, body: str) -> None:
    on_trial(tmp_path)
    put(tmp_path, 1, 2, body)
    hung = boot(tmp_path, WATCHDOG, -signal.SIGKILL).split()
    assert hung[:2] == ["watchdog", str(main.TRIAL_MS)]
    assert boot(tmp_path, WATCHDOG).split() == ["runs", "1"], "a confirmed one needs none"
    assert state(tmp_path).state["fell"] == [2, "power_cut"]


@needs_vm
def test_a_first_update_that_fails_gives_way_to_the_app_on_the_root(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(version=1, body="pass"))
    put(tmp_path, 0, 2, "raise ValueError('defect')")
    record = state(tmp_path)
    record.state.update({"active": NONE, "versions": [2, 0]})
    record.save()
    assert boot(tmp_path).split() == ["runs", "1"]  # unpacked, and then the power went
    record.state.update({"active": 0, "back": NONE, "pending": True})
    record.save()
    assert "ValueError" in boot(tmp_path)
    assert [boot(tmp_path).split() for _ in range(2)] == [["runs", "1"]] * 2


@needs_vm
def test_an_update_that_is_no_python_is_taken_back(tmp_path: Path) -> None:
    on_trial(tmp_path)
    put(tmp_path, 1, 2, "def (")
    assert "SyntaxError" in boot(tmp_path)
    assert boot(tmp_path).split() == ["runs", "1"]


@needs_vm
def test_the_firmware_uses_its_own_modules_not_the_loaders(tmp_path: Path) -> None:
    on_trial(tmp_path)
    folder = put(tmp_path, 1, 2, "import errors; print(errors.__file__)")
    assert f"{folder}/errors.py" in boot(tmp_path)
    assert json.loads((folder / "manifest.json").read_text())["version"] == 2

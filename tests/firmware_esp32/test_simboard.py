"""The simulated board under the VM and under CPython, on a served chain."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import linear
import numpy as np
import pytest

from simulation.chain import Chain
from simulation.firmware_files import Runner, launch
from simulation.sources import Load, SteadySource, Wire
from simulation.supply import Supply
from tests.support.firmware import HOST, needs_vm

BOTH = pytest.mark.parametrize("runner", [pytest.param(Runner.VM, marks=needs_vm), Runner.CPYTHON])
ONE_CLAMP = {"clamps": 1, "frame_us": 250, "read_us": 35}


@pytest.fixture
def supply() -> Iterator[Supply]:
    with Supply() as running:
        running.add("m", SteadySource(Wire(), [Load(2000.0)]), Chain(4))
        yield running


def params(supply: Supply, root: Path, **changes: object) -> Path:
    """Write a SIM.json."""
    path = root / "SIM.json"
    known: Mapping[str, object] = {
        **ONE_CLAMP,
        "root": str(root),
        "flash": None,
        "supply": dict(supply.address("m")),
        "speed": 0,
        "start_unix_ms": None,
        "networks": {"home": "secret"},
        "code": str(root),
    }
    path.write_text(json.dumps({**known, **changes}))
    return path


def run(runner: Runner, sim: Path, app: str) -> subprocess.CompletedProcess[str]:
    """Run a program text as the meter's application."""
    (sim.parent / "app.py").write_text(app)
    start = launch(runner)
    return subprocess.run(
        [*start.command, str(HOST / "run_meter.py"), str(sim)],
        env=dict(start.environment),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def answer(done: subprocess.CompletedProcess[str]) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON in the last line it printed."""
    assert done.returncode == 3, done.stdout + done.stderr  # returning is a reset
    return json.loads(done.stdout.splitlines()[-1])


READ = """
import asyncio
async def run(board):
    for code in board.linear:
        print(code)
    for frames in (500, 300):
        board.open(frames)
        ticks, *reads = board.readers()
        for _ in range(frames):
            print(ticks(), *[read() for read in reads])
        await board.pace()
    print(board.up_ms())
def main(root):
    from board import Board
    asyncio.run(run(Board(1)))
"""


@BOTH
def test_readers_give_what_the_chain_made(runner: Runner, supply: Supply, tmp_path: Path) -> None:
    done = run(runner, params(supply, tmp_path), READ)
    assert done.returncode == 3, done.stdout[-2000:] + done.stderr
    seen = [[int(number) for number in line.split()] for line in done.stdout.splitlines()]
    twin = Chain(4)
    assert [number for (number,) in seen[:257]] == linear.knots(twin.linear.tolist()).tolist()
    assert seen[-1] == [200]
    frames, place = seen[257:-1], 0
    for count in (500, 300):
        source = SteadySource(Wire(), [Load(2000.0)])
        ticks, codes = twin.codes(source, place * 250e-6, count)
        assert frames[place : place + count] == np.column_stack((ticks, codes)).tolist()
        place += count


DRIVE = """
import asyncio, json, time
async def run(board):
    began = time.ticks_ms()
    for _ in range(4):
        board.open(500)
        await board.pace()
    spent = time.ticks_diff(time.ticks_ms(), began)
    board.relay(True)
    board.identify(True)
    board.identify(False)
    board.feed()
    wifi = [await board.wifi("home", "secret"), await board.wifi("home", "x"),
            await board.wifi("away", "secret")]
    board.open(1)
    print(json.dumps({"up": board.up_ms(), "spent": spent, "wifi": wifi, "rssi": board.rssi(),
        "random": [board.random32(), board.random32()], "heap": board.free_heap(),
        "chip": board.chip(), "root": board.root, "clamps": board.clamps}))
def main(root):
    from board import Board
    asyncio.run(run(Board(1)))
"""


@BOTH
def test_real_time_and_the_small_things(runner: Runner, supply: Supply, tmp_path: Path) -> None:
    seen = answer(run(runner, params(supply, tmp_path, speed=1.0), DRIVE))
    assert 480 <= seen["spent"] < 900
    assert 500 <= seen["up"] < 1500
    assert seen["wifi"] == [True, False, False]
    assert seen["rssi"] is None
    assert seen["random"][0] != seen["random"][1]
    assert all(0 <= n < 1 << 32 for n in seen["random"])
    assert seen["heap"] > 50_000
    assert seen["chip"] == f"sim-{runner.value}"
    assert (seen["root"], seen["clamps"]) == (str(tmp_path), 1)
    meter = supply.meter("m")
    assert (meter.relay, meter.identify) == (True, False)


@BOTH
def test_waiting_without_samples_still_passes_time(
    runner: Runner, supply: Supply, tmp_path: Path
) -> None:
    app = """
import asyncio
async def run(board):
    board.open(400)
    while board.up_ms() < 300:
        await asyncio.sleep(0.05)
    board.open(400)
    print(board.up_ms() >= 400)
def main(root):
    from board import Board
    asyncio.run(run(Board(1)))
"""
    done = run(runner, params(supply, tmp_path), app)
    assert done.stdout == "True\n", done.stdout + done.stderr


@BOTH
def test_reset_asks_for_a_new_start(runner: Runner, supply: Supply, tmp_path: Path) -> None:
    app = """
import asyncio
async def run(board):
    try:
        board.reset()
    except Exception:
        print("caught")
def main(root):
    from board import Board
    asyncio.run(run(Board(1)))
"""
    done = run(runner, params(supply, tmp_path), app)
    assert (done.returncode, done.stdout) == (3, "reset\n")


@BOTH
def test_an_unknown_meter_and_a_lost_supply_end_it(runner: Runner, tmp_path: Path) -> None:
    with Supply() as supply:
        sim = params(supply, tmp_path)
        done = run(runner, sim, "def main(root):\n    from board import Board\n    Board(1)\n")
        assert (done.returncode, done.stderr) == (4, "")
        assert done.stdout == "supply: no simulated meter 'm' here\n"
        supply.add("m", SteadySource(Wire()), Chain(4))
        (tmp_path / "app.py").write_text(
            "def main(root):\n    from board import Board\n    board = Board(1)\n"
            "    print('up')\n    while True:\n        board.open(500)\n"
        )
        start = launch(runner)
        process = subprocess.Popen(
            [*start.command, str(HOST / "run_meter.py"), str(sim)],
            env=dict(start.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
    assert process.wait(timeout=10) == 4
    assert process.stdout.read() == b"supply: the connection is closed\n"
    process.stdout.close()
    gone = run(runner, sim, (tmp_path / "app.py").read_text())
    assert gone.returncode == 4
    assert "supply: nobody at 127.0.0.1" in gone.stdout


WRITE = """
import os
def main(root):
    try:
        with open(root + "/count") as file:
            count = int(file.read())
    except OSError:
        count = 0
    print(count)
    while count < 60:
        count += 1
        with open(root + "/new", "w") as file:
            file.write(str(count))
        os.rename(root + "/new", root + "/count")
"""


@needs_vm
def test_flash_survives_a_power_cut_in_any_write(supply: Supply, tmp_path: Path) -> None:
    image = {"image": str(tmp_path / "flash.bin"), "size": 1 << 18, "cut_after": None}
    assert run(Runner.VM, params(supply, tmp_path, flash=image), WRITE).stdout == "0\n"
    assert (tmp_path / "flash.bin").stat().st_size == 1 << 18
    assert run(Runner.VM, params(supply, tmp_path, flash=image), WRITE).stdout == "60\n"
    (tmp_path / "flash.bin").unlink()
    reached = 0
    for cut in (11, 3, 8, 21, 14, 5, 17, 40):
        done = run(Runner.VM, params(supply, tmp_path, flash={**image, "cut_after": cut}), WRITE)
        assert done.returncode == -signal.SIGKILL, done.stdout
        if done.stdout:  # else it was cut while the file system was made
            assert reached <= int(done.stdout) < 60, "what was kept stays"
            reached = int(done.stdout)
    assert reached > 0


def test_flash_counts_and_cuts_a_write_in_half(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path[:0] = {[str(HOST)]!r}
import simflash
flash = simflash.Flash({str(tmp_path / "f")!r}, 8192, 3)
print(flash.ioctl(4, 0), flash.ioctl(5, 0))
flash.writeblocks(1, bytes(4096))
print(flash.writes, flash.erases, flush=True)
flash.writeblocks(0, bytes(16), 100)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.stdout == b"2 4096\n1 1\n"
    assert done.returncode == -signal.SIGKILL
    content = np.frombuffer((tmp_path / "f").read_bytes(), np.uint8)
    assert len(content) == 8192
    assert not content[100:108].any()
    assert (content[108:4096] == 255).all()
    assert not content[4096:].any()

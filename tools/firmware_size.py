"""Tell what the linked firmware takes of the board's flash and RAM, and hold it to a budget."""

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.compile_firmware import FIRMWARE
from tools.firmware_linker.emitting import Linked
from tools.firmware_linker.source import LinkError
from tools.link_firmware import ENTRY, LOADER, TARGETS, VM, build, compile_to

# Flash: of a 4 MB chip MicroPython leaves 2 MB to files. Two slots of firmware, the spool of
# 1 MB and the meter's records must fit, so one copy may take this much as .mpy.
FLASH_BUDGET_BYTES = 160_000
# RAM: of the 160 kB heap that the meter is tested with, what remains for ring, buffers and TLS.
RAM_BUDGET_BYTES = 90_000
HEAP = "2M"  # far more than a board has, so that what does not fit is measured too
CHIP = "esp32"
# The chip's board page: on a board the entry loads it at once and keeps it.
BOARD = "board"

# Runs in the VM. Modules of the chip are stood in for: importing must not touch the hardware.
PROBE = """
import asyncio, binascii, gc, hashlib, io, json, micropython, random, socket, ssl, struct, sys
class Chip:
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
for name in ("esp32", "machine", "network"):
    sys.modules[name] = Chip()
sys.path.insert(0, FIRMWARE)
def load(name):
    gc.collect()
    before = gc.mem_alloc()
    __import__(name)
    gc.collect()
    return gc.mem_alloc() - before
stays = {}
for name in RESIDENT:
    stays[name] = load(name)
micropython.qstr_info()
comes = {}
for name in ON_DEMAND:
    known = set(sys.modules)
    gc.collect()
    before = gc.mem_alloc()
    loaded = load(name)
    for other in set(sys.modules) - known:
        del sys.modules[other]
    gc.collect()
    comes[name] = [loaded, gc.mem_alloc() - before]
print("RAM " + json.dumps([stays, comes]))
"""


class ProbeError(Exception):
    """The firmware cannot be loaded as a board would load it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A module of the firmware: bytes of its source, and of the .mpy of its file its share."""

    module: str
    file: str
    source: int
    mpy: int


@dataclass(frozen=True, slots=True)
class Ram:
    """Bytes of the VM's heap.

    `resident` by file: what stays for good. `on_demand` by file: what loading it takes, and
    what of that remains when it was let go. `strings` are the interned strings of what stays.
    """

    resident: dict[str, int]
    on_demand: dict[str, tuple[int, int]]
    strings: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """All of the firmware; `ram` is None where it could not be measured."""

    parts: list[Part]
    flash: int
    ram: Ram | None


def find_vm() -> str | None:
    """Return the MicroPython VM beside this Python or on PATH, or None."""
    beside = Path(sys.executable).with_name("micropython")
    return str(beside) if beside.exists() else shutil.which("micropython")


def probe(vm: str, folder: Path, files: Sequence[str]) -> Ram:
    """Load the files in the VM, first what is resident. ProbeError with the VM's traceback."""
    # The loader's modules are used by no firmware of a slot, but stay behind in its RAM.
    loader = [name for name in reversed(LOADER) if (folder / f"{name}.mpy").exists()]
    resident = [*loader, ENTRY, *(name for name in files if name == BOARD)]
    rest = [name for name in files if name not in resident]
    # Not by sys.argv: the VM dies of arguments of more than 255 bytes.
    given = f"FIRMWARE, RESIDENT, ON_DEMAND = {str(folder)!r}, {resident!r}, {rest!r}\n"
    command = [vm, "-X", f"heapsize={HEAP}", "-c", given + PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    last = done.stdout.rstrip().rpartition("\n")[2]
    if done.returncode != 0 or not last.startswith("RAM "):
        msg = f"the firmware does not load in {HEAP} of heap:\n{done.stdout}{done.stderr}"
        raise ProbeError(msg)
    stays, comes = json.loads(last.removeprefix("RAM "))
    on_demand = {name: (loaded, left) for name, (loaded, left) in comes.items()}
    strings = int(done.stdout.partition("n_total_bytes=")[2].split()[0])
    return Ram(stays, on_demand, strings)


def measure(firmware: Path, vm: str | None) -> Sizes:
    """Link and measure a firmware, the RAM only with a VM.

    LinkError when it cannot be linked or compiled, ProbeError when it cannot be loaded,
    FileNotFoundError when there is none.
    """
    with tempfile.TemporaryDirectory(prefix="firmware-") as name:
        folder = Path(name)
        linked = build(firmware, folder, [CHIP, VM] if vm else [CHIP])
        parts = [part for one in linked for part in _parts(firmware, folder, one)]
        flash = sum(path.stat().st_size for path in (folder / CHIP).glob("*.mpy"))
        ram = probe(vm, folder / VM, [one.name for one in linked]) if vm else None
    return Sizes(parts, flash, ram)


def _parts(firmware: Path, folder: Path, linked: Linked) -> Iterator[Part]:
    """Share a file's .mpy out to its modules, by what each compiles to alone."""
    alone: dict[str, int] = {}
    for module, text in linked.pieces.items():
        source, made = folder / f"{module}.py", folder / f"{module}.mpy"
        source.write_text(text, encoding="utf-8")
        compile_to(source, made, TARGETS[CHIP])
        alone[module] = made.stat().st_size if text else 0
    whole = (folder / CHIP / f"{linked.name}.mpy").stat().st_size
    total = sum(alone.values()) or 1
    for module, size in alone.items():
        source_bytes = (firmware / f"{module}.py").stat().st_size
        yield Part(module, linked.name, source_bytes, round(whole * size / total))


def table(sizes: Sizes) -> Iterator[str]:
    """Yield the lines of the tables: modules, then files in RAM."""
    yield f"{'module':<16} {'in file':<16} {'source':>8} {'.mpy':>8}"
    for part in sizes.parts:
        yield f"{part.module:<16} {part.file:<16} {part.source:>8} {part.mpy:>8}"
    if sizes.ram is None:
        return
    yield ""
    yield f"{'file':<16} {'RAM in VM':>10} {'when let go':>12}"
    for name, stays in sizes.ram.resident.items():
        yield f"{name:<16} {stays:>10} {'stays':>12}"
    for name, (loaded, left) in sizes.ram.on_demand.items():
        yield f"{name:<16} {loaded:>10} {left:>12}"


def resident(ram: Ram) -> int:
    """Return what the budget counts: the firmware of the slot with the board page."""
    return sum(size for name, size in ram.resident.items() if name not in LOADER)


def complaints(sizes: Sizes) -> Iterator[str]:
    """Yield one line for each budget that is exceeded."""
    if sizes.flash > FLASH_BUDGET_BYTES:
        yield f"flash: {sizes.flash} bytes of .mpy exceed the budget of {FLASH_BUDGET_BYTES}"
    if sizes.ram and resident(sizes.ram) > RAM_BUDGET_BYTES:
        yield f"RAM: {resident(sizes.ram)} resident bytes exceed the budget of {RAM_BUDGET_BYTES}"


def summary(sizes: Sizes) -> Iterator[str]:
    """Yield the totals beside their budgets, and what the figures mean on a board."""
    source = sum(part.source for part in sizes.parts)
    yield f"flash: {sizes.flash} of {FLASH_BUDGET_BYTES} bytes as .mpy ({source} as source)"
    ram = sizes.ram
    if ram is None:
        yield f"RAM: not measured, there is no MicroPython VM for {platform.machine()} here"
        return
    loader = sum(size for name, size in ram.resident.items() if name in LOADER)
    most = max([loaded for loaded, _ in ram.on_demand.values()], default=0)
    yield (
        f"RAM: {resident(ram)} of {RAM_BUDGET_BYTES} bytes resident in the VM, {ram.strings} of "
        f"them interned strings; {loader} of the loader; at most {most} of one file on demand."
    )
    yield f"An ESP32's objects have half the size: some {resident(ram) // 2} bytes resident there."


def main(arguments: Sequence[str]) -> int:
    """Print the tables for the folder given, by default the project's firmware.

    Return the status: 1 says that a budget is exceeded or that the firmware is unusable.
    """
    firmware = Path(arguments[0]) if arguments else FIRMWARE
    try:
        sizes = measure(firmware, find_vm())
    except (LinkError, ProbeError, FileNotFoundError) as error:
        print(error)
        return 1
    found = list(complaints(sizes))
    for line in (*table(sizes), "", *summary(sizes), *found):
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

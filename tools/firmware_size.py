"""Tell what the firmware takes on the board's flash and in its RAM, and hold it to a budget."""

import ast
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.compile_firmware import FIRMWARE, board_files, cross_compile

# Flash: of a 4 MB chip MicroPython leaves 2 MB to files. Two slots of firmware, the spool of
# 1 MB and the meter's records must fit, so one copy may take this much as .mpy.
FLASH_BUDGET_BYTES = 160_000
# RAM: of the 160 kB heap that the meter is tested with, what remains for ring, buffers and TLS.
RAM_BUDGET_BYTES = 90_000
HEAP = "2M"  # far more than a board has, so that what does not fit is measured too
ARCHITECTURE = "xtensawin"
# A loader runs the meter as soon as it is imported; it is compiled instead.
LOADERS = ("boot", "main")
# What the loader imports; everything that this brings along stays in RAM for good.
STARTED = ("board", "app")

# Runs in the VM. Modules of the chip are stood in for: importing must not touch the hardware.
PROBE = """
import gc, json, sys
class Chip:
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
for name in ("esp32", "machine", "network"):
    sys.modules[name] = Chip()
sys.path.append(FIRMWARE)
import asyncio, binascii, hashlib, json, random, socket, ssl, struct
held, sizes = [], {}
for name in NAMES:
    gc.collect()
    before = gc.mem_alloc()
    if name in LOADERS:
        with open(FIRMWARE + "/" + name + ".py") as f: text = f.read()
        held.append(compile(text, name, "exec"))
        del text
    else:
        __import__(name)
    gc.collect()
    sizes[name] = gc.mem_alloc() - before
print("RAM " + json.dumps([sizes, list(sys.modules)]))
"""


class ProbeError(Exception):
    """The firmware cannot be loaded as a board would load it."""


@dataclass(frozen=True, slots=True)
class Size:
    """What one module takes, in bytes; `ram` is None where it could not be measured.

    A module that is not `resident` is loaded only while its work is done.
    """

    module: str
    source: int
    mpy: int
    ram: int | None
    resident: bool = True


def find_vm() -> str | None:
    """Return the MicroPython VM beside this Python or on PATH, or None."""
    beside = Path(sys.executable).with_name("micropython")
    return str(beside) if beside.exists() else shutil.which("micropython")


def probe(vm: str, firmware: Path, modules: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Import the modules one after the other in the VM.

    Return by how much each grew the heap (what another one imported first counts there), and
    the names of all that is loaded then. Raise ProbeError with the
    VM's traceback when one of them cannot be imported.
    """
    # Not by sys.argv: the VM dies of arguments of more than 255 bytes.
    given = f"FIRMWARE, NAMES, LOADERS = {str(firmware)!r}, {list(modules)!r}, {LOADERS!r}\n"
    command = [vm, "-X", f"heapsize={HEAP}", "-c", given + PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    last = done.stdout.rstrip().rpartition("\n")[2]
    if done.returncode != 0 or not last.startswith("RAM "):
        msg = f"the firmware does not load in {HEAP} of heap:\n{done.stdout}{done.stderr}"
        raise ProbeError(msg)
    sizes, loaded = json.loads(last.removeprefix("RAM "))
    return sizes, loaded


def in_order_of_imports(firmware: Path, modules: Sequence[str]) -> list[str]:
    """Return the modules, each behind those that it imports when it is loaded."""
    ordered: dict[str, None] = {}
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in modules and name not in seen:
            seen.add(name)
            path = firmware.joinpath(*name.split(".")).with_suffix(".py")
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        visit(alias.name)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    visit(node.module)
            ordered[name] = None

    for name in modules:
        visit(name)
    return list(ordered)


def ram_bytes(vm: str, firmware: Path, modules: Sequence[str]) -> tuple[dict[str, int], set[str]]:
    """Return the RAM of each module in bytes, and which ones are resident.

    Resident is what starting the meter loads, and everything where there is no `app` yet.
    Modules are measured behind those that they import, so that each shows its own size.
    """
    started = [name for name in STARTED if name in modules] if "app" in modules else list(modules)
    _, loaded = probe(vm, firmware, started)
    resident = {name for name in modules if name in loaded or name in LOADERS}
    ordered = in_order_of_imports(firmware, modules)
    ordered.sort(key=lambda name: name not in resident)  # keeps the order within both
    sizes, _ = probe(vm, firmware, ordered)
    return sizes, resident


def measure(firmware: Path, vm: str | None) -> list[Size]:
    """Measure every module of the board, the RAM only with a VM.

    Raise ProbeError when one does not compile or cannot be imported, FileNotFoundError when
    there is no firmware.
    """
    files = board_files(firmware)
    names = [str(path.relative_to(firmware).with_suffix("")).replace("/", ".") for path in files]
    ram, resident = ram_bytes(vm, firmware, names) if vm else ({}, set(names))
    sizes = []
    for path, module in zip(files, names, strict=True):
        made = cross_compile(path, ARCHITECTURE, name=path.name)
        if made.fault:
            msg = f"{path} does not compile:\n{made.fault}"
            raise ProbeError(msg)
        size, stays = path.stat().st_size, module in resident
        sizes.append(Size(module, size, made.size_bytes, ram.get(module), stays))
    return sizes


def table(sizes: Iterable[Size]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'module':<16} {'source':>8} {'.mpy':>8} {'RAM in VM':>10}"
    for size in sizes:
        ram = "-" if size.ram is None else str(size.ram)
        note = "" if size.resident else "  on demand"
        yield f"{size.module:<16} {size.source:>8} {size.mpy:>8} {ram:>10}{note}"


def complaints(sizes: Sequence[Size]) -> Iterator[str]:
    """Yield one line for each budget that is exceeded."""
    flash, ram = totals(sizes)
    if flash > FLASH_BUDGET_BYTES:
        yield f"flash: {flash} bytes of .mpy exceed the budget of {FLASH_BUDGET_BYTES}"
    if ram is not None and ram > RAM_BUDGET_BYTES:
        yield f"RAM: {ram} bytes of modules exceed the budget of {RAM_BUDGET_BYTES}"


def totals(sizes: Sequence[Size]) -> tuple[int, int | None]:
    """Return the sum on flash, and in RAM of what is resident; None where not measured."""
    measured = [size.ram for size in sizes if size.resident and size.ram is not None]
    return sum(size.mpy for size in sizes), sum(measured) if measured else None


def summary(sizes: Sequence[Size]) -> Iterator[str]:
    """Yield the totals beside their budgets, and what the figures mean on a board."""
    flash, ram = totals(sizes)
    source = sum(size.source for size in sizes)
    yield f"flash: {flash} of {FLASH_BUDGET_BYTES} bytes as .mpy ({source} as source)"
    if ram is None:
        yield f"RAM: not measured, there is no MicroPython VM for {platform.machine()} here"
        return
    yield (
        f"RAM: {ram} of {RAM_BUDGET_BYTES} bytes for resident modules in the VM. Its objects "
        f"have 64 bits, about twice the size of an ESP32's: some {ram // 2} bytes there."
    )


def main(arguments: Sequence[str]) -> int:
    """Print the table for the folder given, by default the project's firmware; return the status.

    1 says that a budget is exceeded or that the firmware cannot be loaded.
    """
    firmware = Path(arguments[0]) if arguments else FIRMWARE
    try:
        sizes = measure(firmware, find_vm())
    except (ProbeError, FileNotFoundError) as error:
        print(error)
        return 1
    found = list(complaints(sizes))
    for line in (*table(sizes), "", *summary(sizes), *found):
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

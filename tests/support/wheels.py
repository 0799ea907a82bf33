"""Wheels of this checkout, and others made of them: another version, or one with a fault."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
Change = Callable[[str, bytes], bytes]


def build_wheel(folder: Path) -> Path:
    """Build this checkout's wheel; hatchling comes from pip's cache or the index."""
    folder.mkdir(parents=True, exist_ok=True)
    # What a test tells the installations' pip is not meant for this one.
    unwanted = ("PIP_NO_DEPS", "PIP_NO_INDEX", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if key not in unwanted}
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder),
         str(ROOT)],
        check=True, timeout=300, capture_output=True, env=environment,
    )  # fmt: skip
    (made,) = folder.glob("wattwarden-*.whl")
    return made


def build_wheelhouse(folder: Path) -> Path:
    """Make a wheelhouse as `make wheelhouse` does; the packages of others are kept over runs."""
    subprocess.run(
        [str(ROOT / "tools" / "make_wheelhouse.sh"), sys.executable, str(folder)],
        check=True, timeout=900, env={**os.environ, "EXTRAS": "kit"}, capture_output=True,
    )  # fmt: skip
    return folder


def other_version(wheel: Path, folder: Path, version: str, change: Change | None = None) -> Path:
    """Return a copy of a wheel under another version; `change` may alter each file."""
    folder.mkdir(parents=True, exist_ok=True)
    old = wheel.name.split("-")[1]
    made = folder / wheel.name.replace(f"-{old}-", f"-{version}-")
    before, after = f"wattwarden-{old}.", f"wattwarden-{version}."
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(("/METADATA", "/RECORD")):
                text = content.decode().replace(f"\nVersion: {old}\n", f"\nVersion: {version}\n")
                content = text.replace(before, after).encode()
            if change is not None:
                content = change(name, content)
            target.writestr(name.replace(before, after), content)
    return made


def with_line(name: str, line: str) -> Change:
    """Return a change that adds a line of code at the end of one module."""

    def change(found: str, content: bytes) -> bytes:
        return content + f"\n{line}\n".encode() if found == name else content

    return change


def clear(folder: Path) -> None:
    """Remove our own wheels from a folder."""
    for wheel in folder.glob("wattwarden-*.whl"):
        wheel.unlink()


def copy_into(wheel: Path, folder: Path) -> Path:
    """Put a wheel into a folder in place of other wheels of ours."""
    clear(folder)
    return Path(shutil.copy(wheel, folder))

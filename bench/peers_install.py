"""Installs the peers of `bench.peers`, each into an environment of its own, once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.common import progress

THINGSBOARD = "thingsboard-gateway==3.8.5"
DATA = Path(__file__).parent / "peers_data"
INSTALL_S = 1800.0  # sqlite3's C code is compiled where no binary can be fetched


class PeerUnavailableError(Exception):
    """A peer cannot be installed here; the text says what is missing and who must act."""


def cache_directory() -> Path:
    """Return where the peers' environments stand (`$XDG_CACHE_HOME`, else ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "wattwarden-bench"


def thingsboard_python() -> Path:
    """Install thingsboard-gateway into a virtual environment; return its interpreter.

    Raises PeerUnavailableError when PyPI cannot be reached.
    """
    place = cache_directory() / THINGSBOARD.replace("==", "-")
    python = place / "bin" / "python"
    if not is_installed(place, THINGSBOARD):
        run("make an environment", [sys.executable, "-m", "venv", "--clear", str(place)])
        run("get thingsboard-gateway from PyPI", [str(python), "-m", "pip", "install", THINGSBOARD])
        mark_installed(place, THINGSBOARD)
    return python


def node_red_start() -> list[str]:
    """Install Node-RED and its SQLite node with npm; return how it is started.

    Raises PeerUnavailableError when Node.js or npm is missing, the npm registry cannot be
    reached, or the SQLite binding can neither be fetched nor compiled.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        msg = "Node-RED needs Node.js 18 or later and npm: install them (apt-get install npm)"
        raise PeerUnavailableError(msg)
    place = cache_directory() / "node-red"
    wanted = (DATA / "package.json").read_text(encoding="utf-8")
    if not is_installed(place, wanted):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text(wanted, encoding="utf-8")
        options = ["--prefix", str(place), "--no-audit", "--no-fund", "--omit", "dev"]
        environment = {**os.environ, **headers_of(Path(node))}
        run("get Node-RED from npm", [npm, "install", *options], environment)
        if not any((place / "node_modules" / "sqlite3").glob("build/Release/*.node")):
            command = [npm, "rebuild", "sqlite3", "--prefix", str(place)]
            run("build Node-RED's SQLite binding", command, environment)
        mark_installed(place, wanted)
    return [node, str(place / "node_modules" / "node-red" / "red.js")]


def headers_of(node: Path) -> dict[str, str]:
    """Tell node-gyp to use this Node.js's own headers where it has them: no download."""
    root = node.resolve().parents[1]
    present = (root / "include" / "node" / "node.h").exists()
    return {"npm_config_nodedir": str(root)} if present else {}


def is_installed(place: Path, wanted: str) -> bool:
    """Tell whether an earlier run finished installing exactly this."""
    mark = place / ".installed"
    return mark.exists() and mark.read_text(encoding="utf-8") == wanted


def mark_installed(place: Path, wanted: str) -> None:
    """Note that everything is there; a run that was cut short leaves no mark."""
    (place / ".installed").write_text(wanted, encoding="utf-8")


def run(what: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a step of an installation, its output on stderr; raise PeerUnavailableError."""
    progress(f"-- {what} (once, into {cache_directory()})")
    try:
        done = subprocess.run(
            command, stdout=sys.stderr, env=environment, timeout=INSTALL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"could not {what}: {error}"
        raise PeerUnavailableError(msg) from error
    if done.returncode != 0:
        msg = (
            f"could not {what} (status {done.returncode}, see above):"
            " is its registry reachable from here?"
        )
        raise PeerUnavailableError(msg)

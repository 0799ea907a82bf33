"""Releases of the program: virtual environments side by side, one of them the current one."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.installer.errors import InstallError
from gateway.adapters.installer.files import make_folders, point, remove_empty
from gateway.adapters.installer.layout import Layout
from gateway.adapters.installer.services import run
from gateway.adapters.installer.wheel import Wheel

PYTHON = "/usr/bin/python3"
PIP_S = 3600.0  # a Pi on a slow line
# Through these links /opt/wattwarden itself is the virtual environment of the current release.
LINKS = ("bin", "lib", "share", "pyvenv.cfg")
COMPLETE = ".complete"  # a release that lacks it was being built when the power went
SAID_AT_MOST = 600
MEGABYTE = 1_000_000
NEEDED_MB = 500  # a release with the kit takes 300, and pip some for the time it works


@dataclass(frozen=True, slots=True)
class Source:
    """Where the program comes from: our wheel, and the packages it needs."""

    wheel: Wheel
    wheelhouse: Path | None = None  # None: from the package index, over the network
    extras: Sequence[str] = ("kit",)


class Releases:
    """The folder `/opt/wattwarden`: `releases/<version>-<n>`, `current`, and links into that."""

    def __init__(self, layout: Layout) -> None:
        """`layout` says where."""
        self._layout = layout
        self._folder = layout.program / "releases"
        self._link = layout.program / "current"

    @property
    def folder(self) -> Path:
        """Where the releases lie side by side."""
        return self._folder

    def current(self) -> Path | None:
        """Return the release in use, None before the first."""
        found = self._link.resolve() if self._link.is_symlink() else None
        return found if found is not None and (found / COMPLETE).exists() else None

    def holds(self, wheel: Wheel) -> bool:
        """Tell whether the current release was made of this very wheel."""
        current = self.current()
        return current is not None and (current / COMPLETE).read_text().strip() == wheel.sha256

    def build(self, source: Source) -> Path:
        """Make a release beside the current one and return its folder; InstallError if it fails."""
        make_folders(self._folder)
        self._clear_unfinished()
        free_mb = shutil.disk_usage(self._folder).free // MEGABYTE
        if free_mb < NEEDED_MB:
            msg = (
                f"the disk is full: {self._folder} has {free_mb} MB free, {NEEDED_MB} are needed;"
                " free some space (df -h shows where), then run it again"
            )
            raise InstallError(msg)
        release = self._free_name(source.wheel.version)
        try:
            self._fill(release, source)
        except BaseException:
            shutil.rmtree(release, ignore_errors=True)
            raise
        return release

    def switch(self, release: Path) -> None:
        """Make a release the current one, in one step."""
        point(self._link, f"releases/{release.name}")
        for name in LINKS:
            if not (self._layout.program / name).is_symlink():
                point(self._layout.program / name, f"current/{name}")

    def remove(self, release: Path) -> None:
        """Remove a release; when it is the current one there is none afterwards."""
        if self._link.is_symlink() and self._link.resolve() == release.resolve():
            self._link.unlink()
            for name in LINKS:
                (self._layout.program / name).unlink(missing_ok=True)
        shutil.rmtree(release, ignore_errors=True)

    def prune(self, *keep: Path | None) -> None:
        """Remove all releases but those given."""
        kept = {path.resolve() for path in keep if path is not None}
        for release in self._folder.iterdir():
            if release.resolve() not in kept:
                shutil.rmtree(release, ignore_errors=True)

    def _free_name(self, version: str) -> Path:
        number = 1
        while (self._folder / f"{version}-{number}").exists():
            number += 1
        return self._folder / f"{version}-{number}"

    def _clear_unfinished(self) -> None:
        for release in self._folder.iterdir():
            if not (release / COMPLETE).exists():
                shutil.rmtree(release, ignore_errors=True)

    def _fill(self, release: Path, source: Source) -> None:
        made = run([PYTHON, "-m", "venv", str(release)], within_s=300)
        if made.returncode != 0:
            said = f"{PYTHON} cannot make a virtual environment: {_end(made)}"
            msg = f"{said}; apt-get install python3-venv"
            raise InstallError(msg)
        constraints = release / "constraints.txt"
        constraints.write_bytes(source.wheel.share("constraints.txt"))
        extras = f"[{','.join(source.extras)}]" if source.extras else ""
        options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]
        if source.wheelhouse is not None:
            options += ["--no-index", "--find-links", str(source.wheelhouse)]
        python = release / "bin" / "python"
        wanted = f"wattwarden{extras} @ {source.wheel.path.as_uri()}"
        done = run(
            [
                str(python),
                "-m",
                "pip",
                "install",
                *options,
                "--constraint",
                str(constraints),
                wanted,
            ],
            within_s=PIP_S,
        )
        if done.returncode != 0:
            msg = (
                f"pip could not install {source.wheel.path.name} ({_end(done)});"
                " is the network there? Without one: --wheelhouse DIR, made by `make wheelhouse`"
            )
            raise InstallError(msg)
        if self._layout.staged:
            self._as_installed(release)
        (release / COMPLETE).write_text(f"{source.wheel.sha256}\n")

    def _as_installed(self, release: Path) -> None:
        """Scripts name their interpreter by its full path: that of the installed system."""
        here, there = str(release), self._layout.shown(release)
        for script in (release / "bin").iterdir():
            if script.is_file() and not script.is_symlink():
                text = script.read_bytes()
                script.write_bytes(text.replace(here.encode(), there.encode()))
        config = release / "pyvenv.cfg"
        config.write_text(config.read_text().replace(here, there))


class PlaceRelease:
    """The step that makes a release of a source and puts it in use."""

    def __init__(self, releases: Releases, source: Source) -> None:
        """Nothing is built yet."""
        self._releases = releases
        self._source = source
        self._before: Path | None = None
        self._built: Path | None = None
        self._made: list[Path] = []

    def pending(self) -> str | None:
        """Say whether the program in use was made of another wheel."""
        source = self._source
        if self._releases.holds(source.wheel):
            return None
        extras = f" with {', '.join(source.extras)}" if source.extras else ""
        way = source.wheelhouse or "the package index (takes minutes)"
        return f"install wattwarden {source.wheel.version}{extras} from {way}"

    def apply(self) -> None:
        """Build it beside the one in use, then switch."""
        self._before = self._releases.current()
        self._made += make_folders(self._releases.folder)
        self._built = self._releases.build(self._source)
        self._releases.switch(self._built)

    def undo(self) -> None:
        """Go back to the earlier one."""
        if self._before is not None:
            self._releases.switch(self._before)
        if self._built is not None:
            self._releases.remove(self._built)
        remove_empty(self._made)


def _end(done: subprocess.CompletedProcess[str]) -> str:
    text = (done.stderr.strip() or done.stdout.strip()).replace("\n", " | ")
    return text[-SAID_AT_MOST:]

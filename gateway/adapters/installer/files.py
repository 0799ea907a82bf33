"""Steps that put files, links and folders in place, whole or not at all."""

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.adapters.installer.record import Record


@dataclass(frozen=True, slots=True)
class Owner:
    """Account and group of a file, by name; `Owner()` leaves it to who creates it."""

    user: str | None = None
    group: str | None = None

    def give(self, path: Path) -> None:
        """Hand the file over. Raises LookupError for a name the machine does not know."""
        if self.user is not None:
            shutil.chown(path, user=self.user)
        if self.group is not None:
            shutil.chown(path, group=self.group)

    def has(self, path: Path) -> bool:
        """Tell whether the file is theirs."""
        try:
            return (self.user is None or path.owner() == self.user) and (
                self.group is None or path.group() == self.group
            )
        except KeyError:  # a number nobody bears
            return False


NOBODY_GIVEN = Owner()


def write_whole(path: Path, content: bytes, mode: int, owner: Owner = NOBODY_GIVEN) -> None:
    """Write a file so that it is there whole or not at all, and never readable by too many."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        owner.give(part)
        part.chmod(mode)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@dataclass(slots=True)
class PlaceFile:
    """A file with given content and rights.

    `keep`: one that is there already keeps its content, as settings and secrets do. Without
    `keep` a file that people have changed since we wrote it (told by `record`) is left alone
    too, and ours laid beside it as `<name>.wattwarden-new`.
    """

    path: Path
    content: Callable[[], bytes]
    mode: int = 0o644
    owner: Owner = NOBODY_GIVEN
    keep: bool = False
    record: Record | None = None
    _before: tuple[bytes, int] | None = field(default=None, init=False)
    _made: list[Path] = field(default_factory=list, init=False)
    _placed: Path | None = field(default=None, init=False)

    def pending(self) -> str | None:
        """Say whether content or rights differ."""
        if not self.path.exists():
            return f"write {self.path} ({self.mode:04o})"
        if not self.keep and self.path.read_bytes() != self.content():
            if not self._changed_by_hand():
                return f"replace {self.path} by this version's"
            beside = self._beside()
            if not beside.exists() or beside.read_bytes() != self.content():
                return f"leave {self.path}, which was changed by hand; write ours to {beside}"
        elif self.record is not None and not self.keep:
            self.record.note(self.path, self.content())
        if stat.S_IMODE(self.path.stat().st_mode) != self.mode or not self.owner.has(self.path):
            return f"set the rights of {self.path} ({self.mode:04o})"
        return None

    def apply(self) -> None:
        """Write it."""
        target, content = self.path, self.content
        if self.path.exists():
            self._before = (self.path.read_bytes(), stat.S_IMODE(self.path.stat().st_mode))
            if self.keep:
                content = self.path.read_bytes
            elif self._changed_by_hand() and self._before[0] != self.content():
                target, self._before = self._beside(), None
        self._made += make_folders(target.parent)
        self._placed = target
        write_whole(target, content(), self.mode, self.owner)
        if self.record is not None and target == self.path:
            self.record.note(self.path, content())

    def undo(self) -> None:
        """Put the earlier file back, or remove ours."""
        if self._placed is not None:
            if self._before is None:
                self._placed.unlink(missing_ok=True)
            else:
                write_whole(self._placed, self._before[0], self._before[1], self.owner)
        remove_empty(self._made)

    @property
    def placed(self) -> bool:
        """Tell whether `apply` has written something."""
        return self._placed is not None

    def targets(self) -> list[Path]:
        """Return the files that `apply` may write."""
        return [self.path, self._beside()]

    def _beside(self) -> Path:
        return self.path.with_name(self.path.name + ".wattwarden-new")

    def _changed_by_hand(self) -> bool:
        return self.record is not None and self.record.changed(self.path)


@dataclass(slots=True)
class MakeFolder:
    """A folder with given rights."""

    path: Path
    mode: int = 0o755
    owner: Owner = NOBODY_GIVEN
    _made: list[Path] = field(default_factory=list, init=False)

    def pending(self) -> str | None:
        """Say whether it is missing or has other rights."""
        if not self.path.is_dir():
            return f"create {self.path} ({self.mode:04o})"
        if stat.S_IMODE(self.path.stat().st_mode) != self.mode or not self.owner.has(self.path):
            return f"set the rights of {self.path} ({self.mode:04o})"
        return None

    def apply(self) -> None:
        """Make it."""
        self._made += make_folders(self.path)
        self.owner.give(self.path)
        self.path.chmod(self.mode)

    def undo(self) -> None:
        """Remove what was made, as long as it is empty."""
        remove_empty(self._made)


@dataclass(slots=True)
class PlaceLink:
    """A symbolic link."""

    path: Path
    target: str
    _before: str | None = field(default=None, init=False)
    _made: list[Path] = field(default_factory=list, init=False)

    def pending(self) -> str | None:
        """Say whether it is missing or leads elsewhere."""
        if self.path.is_symlink() and str(self.path.readlink()) == self.target:
            return None
        return f"link {self.path} to {self.target}"

    def apply(self) -> None:
        """Make it, in one step where one was there."""
        self._before = str(self.path.readlink()) if self.path.is_symlink() else None
        self._made += make_folders(self.path.parent)
        point(self.path, self.target)

    def undo(self) -> None:
        """Point it where it pointed."""
        if self._before is not None:
            point(self.path, self._before)
        elif self.path.is_symlink():
            self.path.unlink()
        remove_empty(self._made)


def point(link: Path, target: str) -> None:
    """Make or change a symbolic link in one step."""
    part = link.with_name(f".{link.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(link)


def make_folders(path: Path) -> list[Path]:
    """Make a folder and those above it; return the new ones, the topmost first."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o755)
        one.chmod(0o755)  # whatever umask says: others must pass through it
    return missing[::-1]


def remove_empty(folders: list[Path]) -> None:
    """Remove folders that we made and that are still empty, the lowest first."""
    for folder in reversed(folders):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

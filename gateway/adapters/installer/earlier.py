"""What an upgrade is about to replace, as it is kept on disk until the upgrade is done."""

import contextlib
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.adapters.installer.files import write_whole


class EarlierFile(NamedTuple):
    """One file as it was; `content` None = there was none."""

    path: str
    content: bytes | None
    mode: int

    def put_back(self) -> bool:
        """Make it so again; tell whether anything had to be changed."""
        path = Path(self.path)
        if look(path) == self:
            return False
        if self.content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.content, self.mode)
        return True


class Noted(msgspec.Struct, rename={"old": "from", "new": "to"}):
    """An upgrade under way: names of releases, the database's copy, the files before it."""

    old: str
    new: str
    copy: str
    files: list[EarlierFile] = []

    def write(self, marker: Path) -> None:
        """Keep it on disk."""
        write_whole(marker, msgspec.json.encode(self), 0o600)

    def put_back(self) -> list[Path]:
        """Put the files back as far as the disk lets us; return those that had changed."""
        changed = []
        for file in self.files:
            with contextlib.suppress(OSError):
                if file.put_back():
                    changed.append(Path(file.path))
        return changed


def look(path: Path) -> EarlierFile:
    """Return a file as it is."""
    try:
        return EarlierFile(str(path), path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    except FileNotFoundError:
        return EarlierFile(str(path), None, 0)


def look_at(paths: Iterable[Path]) -> list[EarlierFile]:
    """Return files as they are."""
    return [look(path) for path in paths]


def noted(marker: Path) -> Noted | None:
    """Return the upgrade that was under way, None for none that can be read."""
    try:
        return msgspec.json.decode(marker.read_bytes(), type=Noted)
    except (OSError, msgspec.MsgspecError):
        return None

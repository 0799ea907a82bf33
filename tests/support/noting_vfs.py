"""SQLite on a VFS that notes every write, truncation and sync: `python -m … DB MODE OUT`.

A process of its own, for its SQLite is another than the interpreter's and both would hold the file.
"""

import json
import pickle
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import apsw

from gateway.adapters.store.database import Database
from gateway.adapters.store.intake import load_ledger, write_batch
from gateway.pipeline.decode import decode
from gateway.services.batches import Batch
from gateway.services.planner import Planner, PlanRules
from tests.gateway.services.site_rig import FakeNow, spool, windows

BATCHES = 120
Op = tuple[str, str, int, bytes]  # what, file, offset or size or number of the commit, data


class NotingFile(apsw.VFSFile):
    """A file of the usual VFS whose changes are noted."""

    def __init__(self, vfs: str, name: Any, flags: list[int], ops: list[Op]) -> None:  # noqa: ANN401
        super().__init__(vfs, name, flags)
        text = name if isinstance(name, str) else name.filename()
        self._file, self._ops = Path(text).name, ops

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's names
        """Note and write."""
        self._ops.append(("write", self._file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        """Note and truncate."""
        self._ops.append(("truncate", self._file, size, b""))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Note and sync."""
        self._ops.append(("sync", self._file, 0, b""))
        super().xSync(flags)


class NotingVfs(apsw.VFS):
    """The usual VFS with noting files."""

    def __init__(self, ops: list[Op]) -> None:
        self._ops = ops
        super().__init__("noting", "")

    def xOpen(self, name: Any, flags: list[int]) -> NotingFile:  # noqa: ANN401, N802
        """Open a file."""
        return NotingFile("", name, flags, self._ops)


def batches(path: Path) -> list[Batch]:
    """Plan what a meter sends in two minutes: live windows, repeats, spool records, rubbish."""
    with closing(sqlite3.connect(path)) as db:
        ledger = load_ledger(db)
    planner = Planner(ledger, PlanRules(auto_register=True, nominal_voltage_v=230.0), FakeNow())
    planned = []
    for number in range(BATCHES):
        first = number * 12
        readings: list[dict[str, Any]] = windows(first, first + 9)
        if number % 5 == 4:
            readings = [spool(first + 9, 10), *windows(first - 12, first - 8)]
        payload = json.dumps(readings).encode()
        planner.message("t", f"m{number % 3}", decode(payload), FakeNow().wall)
        planned.append(planner.finish())
    return planned


def record(path: Path, synchronous: str) -> tuple[list[Op], list[int]]:
    """Write all batches on the noting VFS; return what was noted, and rows after each commit."""
    Database(path).close()
    planned = batches(path)
    ops: list[Op] = []
    vfs = NotingVfs(ops)
    db = apsw.Connection(str(path), vfs="noting")
    for pragma in ("journal_mode = WAL", f"synchronous = {synchronous}", "foreign_keys = ON"):
        db.execute(f"PRAGMA {pragma}").fetchall()
    db.execute("PRAGMA wal_autocheckpoint = 60").fetchall()  # many checkpoints among the cuts
    rows = []
    for number, batch in enumerate(planned):
        db.execute("BEGIN IMMEDIATE")
        write_batch(cast("sqlite3.Connection", db), batch)
        db.execute("COMMIT")
        ops.append(("commit", "", number, b""))
        rows.append(len(db.execute("SELECT row FROM readings").fetchall()))
    assert rows[-1] > BATCHES * 5
    db.close()
    vfs.unregister()
    return ops, rows


def main() -> None:
    """Write what was noted, and the rows after each commit, pickled to OUT."""
    path, mode, out = sys.argv[1:]
    Path(out).write_bytes(pickle.dumps(record(Path(path), mode)))


if __name__ == "__main__":
    main()

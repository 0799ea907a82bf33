"""Thousands of power cuts under the store's own writes, with sectors torn and lost at random.

SQLite runs on a VFS that notes every write, truncation and sync. For each cut the files are put
together as a disk might hold them then: all that was synced, and of what came behind it any part.
"""

import pickle
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.adapters.store.database import Database, connect
from gateway.adapters.store.intake import load_ledger
from gateway.domain.errors import StorageError
from tests.support.seeds import SEED

pytest.importorskip("apsw", reason="pip install apsw")

SECTOR = 512
Op = tuple[str, str, int, bytes]  # what, file, offset or size or number of the commit, data


def record(path: Path, synchronous: str) -> tuple[list[Op], list[int]]:
    """Have all batches written on the noting VFS; return what was noted, and rows by commit."""
    out = path.with_suffix(".noted")
    words = [sys.executable, "-m", "tests.support.noting_vfs", str(path), synchronous, str(out)]
    subprocess.run(words, cwd=Path(__file__).parents[2], check=True, timeout=120)
    ops, rows = pickle.loads(out.read_bytes())  # noqa: S301 - written by the line above
    return ops, rows


class Disk:
    """What a disk certainly holds, and what it may hold."""

    def __init__(self, start: dict[str, bytes]) -> None:
        self.sure = {name: bytearray(data) for name, data in start.items()}
        self.pending: list[Op] = []
        self.commits = 0

    def do(self, op: Op) -> None:
        what, file, number, _ = op
        if what == "commit":
            self.commits = number + 1
        elif what == "sync":
            for one in self.pending:
                if one[1] == file:
                    _apply(self.sure, one)
            self.pending = [one for one in self.pending if one[1] != file]
        else:
            self.pending.append(op)

    def after_cut(self, dice: random.Random) -> dict[str, bytearray]:
        """Return the files with any part of what was not synced: sectors, in any choice."""
        files = {name: bytearray(data) for name, data in self.sure.items()}
        share = dice.random()
        for what, file, offset, data in self.pending:
            if what == "truncate":
                if dice.random() < share:
                    _apply(files, (what, file, offset, data))
                continue
            for start in range(0, len(data), SECTOR):
                if dice.random() < share:
                    piece = data[start : start + SECTOR]
                    _apply(files, (what, file, offset + start, piece))
        return files


def _apply(files: dict[str, bytearray], op: Op) -> None:
    what, file, offset, data = op
    held = files.setdefault(file, bytearray())
    if what == "truncate":
        del held[offset:]
        return
    if len(held) < offset:
        held.extend(bytes(offset - len(held)))
    held[offset : offset + len(data)] = data


def cuts(folder: Path, synchronous: str, count: int) -> tuple[int, int]:
    """Cut `count` times; return in how many acknowledged rows were missing, and files broken."""
    path = folder / "s.db"
    Database(path).close()
    start = {path.name: path.read_bytes()}
    ops, rows = record(path, synchronous)
    dice = random.Random(SEED)
    chosen = sorted(dice.randrange(len(ops)) for _ in range(count))
    disk, done, lost, broken = Disk(start), 0, 0, 0
    for at in chosen:
        for op in ops[done : at + 1]:
            disk.do(op)
        done = at + 1
        wanted = rows[disk.commits - 1] if disk.commits else 0
        found = _reopen(folder / "cut.db", disk.after_cut(dice), path.name)
        broken += found is None
        lost += found is not None and found < wanted
    return lost, broken


def _reopen(path: Path, files: dict[str, bytearray], name: str) -> int | None:
    """Open the files as the product does; return the rows found, None for a broken database."""
    for ending in ("", "-wal"):
        path.with_name(path.name + ending).write_bytes(files.get(name + ending, b""))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    try:
        db = connect(path)
    except StorageError:
        return None
    with closing(db):
        try:
            found = db.execute("PRAGMA integrity_check").fetchone()
        except sqlite3.DatabaseError:
            return None
        if found != ("ok",):
            return None
        ledger = load_ledger(db)
        held = sum(run.last - run.first + 1 for boot in ledger.boots() for run in boot.runs)
        stored = int(db.execute("SELECT coalesce(sum(n), 0) FROM readings").fetchone()[0])
        assert held == stored  # what is received and what is stored agree at every cut
        return int(db.execute("SELECT count(*) FROM readings").fetchone()[0])


Cuts = Callable[[Path, str, int], tuple[int, int]]


@pytest.mark.parametrize(
    "count", [200, pytest.param(5000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_no_cut_loses_what_was_committed(tmp_path: Path, count: int) -> None:
    assert cuts(tmp_path, "FULL", count) == (0, 0)


def test_the_cuts_are_ones(tmp_path: Path) -> None:
    """The control: without syncs much is lost."""
    lost, broken = cuts(tmp_path, "OFF", 100)
    assert lost + broken > 50

"""Readings that wait for a place in time, on SQLite."""

import sqlite3

from gateway.adapters.store import segments
from gateway.adapters.store.database import Database
from gateway.adapters.store.rows import COLUMNS, stored
from gateway.adapters.store.schema import SEGMENT_BITS
from gateway.domain.readings import Mark
from gateway.services.placing import Placed, Unplaced


class SqlPlacingStore:
    """Satisfies `PlacingStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unplaced_boots(self) -> list[int]:
        """Return the numbers of boots with unplaced readings."""
        query = "SELECT boot_no FROM unplaced ORDER BY boot_no"
        return await self._database.read(lambda db: [row[0] for row in db.execute(query)])

    async def unplaced(self, boot_no: int) -> list[Unplaced]:
        """Return a boot's unplaced readings in the order of their rows."""

        def work(db: sqlite3.Connection) -> list[Unplaced]:
            query = (
                f"SELECT {COLUMNS} FROM readings WHERE boot_no = ? AND at_ms IS NULL AND row >="  # noqa: S608
                " (SELECT first_row FROM unplaced WHERE boot_no = ?) ORDER BY row"
            )
            readings = [stored(row, "", 0) for row in db.execute(query, (boot_no, boot_no))]
            return [Unplaced(r.row, r.seq, r.up_ms, r.t_ms, r.flags) for r in readings]

        return await self._database.read(work)

    async def place(
        self, boot_no: int, placed: list[Placed], runs: list[tuple[int, int, int]]
    ) -> None:
        """Store places and the times of the boot's runs."""
        await self._database.write(lambda db: _place(db, boot_no, placed, runs))


def _place(
    db: sqlite3.Connection, boot_no: int, placed: list[Placed], runs: list[tuple[int, int, int]]
) -> None:
    db.executemany(
        f"UPDATE readings SET at_ms = ?, marks = (marks & ~{Mark.UNPLACED}) | ? WHERE row = ?",  # noqa: S608
        [(at_ms, marks, row) for row, at_ms, marks in placed],
    )
    db.executemany(
        "UPDATE runs SET first_at_ms = ?, last_at_ms = ? WHERE boot_no = ? AND first = ?",
        [(first_at, last_at, boot_no, first) for first, first_at, last_at in runs],
    )
    open_row = segments.open_row(db)
    for segment in {p.row >> SEGMENT_BITS for p in placed if p.row < open_row}:
        segments.summarise(db, segment)
    db.execute(  # unless another has come meanwhile that waits too
        "DELETE FROM unplaced WHERE boot_no = ? AND NOT EXISTS (SELECT 1 FROM readings"
        " WHERE row >= first_row AND readings.boot_no = unplaced.boot_no AND at_ms IS NULL)",
        (boot_no,),
    )

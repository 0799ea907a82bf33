"""Learn from readings what had been received, where the table that says so is damaged."""

import sqlite3

from gateway.adapters.store import salvage
from gateway.adapters.store.intake import RUN_COLUMNS, load_ledger, pack_registers
from gateway.adapters.store.many import insert_many
from gateway.adapters.store.rows import stored
from gateway.pipeline import registers
from gateway.services.ledger import Boot, Run, receive

MOST_ROWS = 2_000_000  # a gateway that starts must not read for an hour


def rebuild(db: sqlite3.Connection, old: sqlite3.Connection) -> None:
    """Enter windows of readings in the old file that no run which could be read covers."""
    boots = {boot.no: boot for boot in load_ledger(db).boots()}
    last = salvage.highest(old, "SELECT max(row) FROM readings")
    changed: dict[int, Boot] = {}
    for row in salvage.rows_around(old, salvage.READINGS, max(0, last - MOST_ROWS), last):
        boot = boots.get(row[1])
        first, end = row[2] - row[3] + 1, row[2]
        if boot is None or boot.received.covers(first, end):
            continue
        reading = stored(row, "", boot.boot)
        before = boot.predecessor(first)
        regs = registers.carry({} if before is None else before.regs, reading.ch)
        begin_ms = None if row[6] is None else row[6] - row[8]
        receive(boot, first, end, Run(first, end, begin_ms, row[6], row[4], regs))
        changed[boot.no] = boot
    for boot in changed.values():
        db.execute("DELETE FROM runs WHERE boot_no = ?", (boot.no,))
        runs = [
            (boot.no, run.first, run.last, run.first_at_ms, run.last_at_ms, run.last_up_ms,
             pack_registers(run.regs))
            for run in boot.runs
        ]  # fmt: skip
        insert_many(db, "runs", RUN_COLUMNS, runs)

"""Write one batch of the intake, and load the ledger it was planned with."""

import sqlite3

import msgspec

from gateway.adapters.store import segments
from gateway.adapters.store.many import insert_many
from gateway.adapters.store.positions import read_looked_at
from gateway.adapters.store.schema import SEGMENT_BITS
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.pipeline.placement import FUTURE_MS, BootClock
from gateway.pipeline.registers import Register, Registers
from gateway.services.batches import Batch, DeadLetter, GapCut, GapRow, Moved, Replaced
from gateway.services.ledger import Boot, Ledger, Meter, Run

MAX_DEAD_LETTERS = 10_000
# Anchor + up, never ahead of the receipt (an `up` may be nonsense).
PLACE = f"min(? + up_ms, received_ms + {FUTURE_MS})"

pack_registers = msgspec.msgpack.Encoder().encode
_registers = msgspec.msgpack.Decoder(dict[str, tuple[Register | None, Register | None]])

READING_COLUMNS = 11
BOOT_COLUMNS = 8
ON_KNOWN_BOOT = (
    "ON CONFLICT (no) DO UPDATE SET"
    " bootn = excluded.bootn, state_anchor_ms = excluded.state_anchor_ms,"
    " reading_anchor_ms = excluded.reading_anchor_ms, offset_ms = excluded.offset_ms"
)
RUN_COLUMNS = 7
ON_KNOWN_RUN = (
    "ON CONFLICT (boot_no, first) DO UPDATE SET"
    " last = excluded.last, first_at_ms = excluded.first_at_ms,"
    " last_at_ms = excluded.last_at_ms, last_up_ms = excluded.last_up_ms, regs = excluded.regs"
)
# A last will says nothing but that the meter is gone: what it said before stays the last known.
UPDATE_STATE = (
    "UPDATE meters SET state = CASE WHEN json_valid(state) AND NOT ? THEN json_patch(state, ?)"
    " ELSE ? END, state_ms = ?, online = ? WHERE no = ?"
)


def write_batch(db: sqlite3.Connection, batch: Batch) -> None:
    """Carry out everything a batch says; the caller's transaction makes it one."""
    db.executemany(
        "INSERT INTO meters (no, id, recorded, label, registered_ms) VALUES (?,?,?,?,?)"
        " ON CONFLICT (no) DO UPDATE SET removed_ms = NULL, recorded = excluded.recorded",
        [(no, m.id, int(m.recorded), m.label, m.registered_ms) for no, m in batch.meters],
    )
    db.executemany(
        "INSERT INTO channels VALUES (?,?,?,?,?)",
        [(no, meter, c.name, c.role.value, c.rating_a) for no, meter, c in batch.channels],
    )
    insert_many(db, "boots", BOOT_COLUMNS, batch.boots.values(), ON_KNOWN_BOOT)
    insert_many(db, "readings", READING_COLUMNS, batch.rows)
    unplaced = {row[1]: row[0] for row in reversed(batch.rows) if row[6] is None}
    if unplaced:
        db.executemany("INSERT OR IGNORE INTO unplaced VALUES (?,?)", unplaced.items())
    db.executemany("DELETE FROM runs WHERE boot_no = ? AND first = ?", batch.deleted_runs)
    runs = [(*run[:6], pack_registers(run.regs)) for run in batch.runs]
    insert_many(db, "runs", RUN_COLUMNS, runs, ON_KNOWN_RUN)
    for change in batch.gaps:
        _change_gap(db, change)
    if batch.rows:
        segments.close_segments(db, batch.rows[0][0], batch.rows[-1][0])
    for replaced in batch.replaced:
        _replace(db, replaced)
    for moved in batch.moved:
        _move(db, moved)
    db.executemany(
        UPDATE_STATE,
        [
            (int(s.online), s.payload, s.payload, s.at_ms, int(s.online), s.meter_no)
            for s in batch.states.values()
        ],
    )
    if batch.dead:
        _bury(db, batch.dead)


def _change_gap(db: sqlite3.Connection, change: GapCut | GapRow) -> None:
    if isinstance(change, GapRow):
        db.execute("INSERT OR REPLACE INTO gaps VALUES (?,?,?,?,?,?)", change)
        return
    boot_no, first, last = change
    hit = db.execute(
        "SELECT * FROM gaps WHERE boot_no = ? AND first <= ? AND last >= ?", (boot_no, last, first)
    ).fetchall()
    for _, low, high, state, reason, since_ms in hit:
        db.execute("DELETE FROM gaps WHERE boot_no = ? AND first = ?", (boot_no, low))
        if low < first:
            db.execute(
                "INSERT INTO gaps VALUES (?,?,?,?,?,?)",
                (boot_no, low, first - 1, state, reason, since_ms),
            )
        if high > last:
            db.execute(
                "INSERT INTO gaps VALUES (?,?,?,?,?,?)",
                (boot_no, last + 1, high, state, reason, since_ms),
            )


def _replace(db: sqlite3.Connection, replaced: Replaced) -> None:
    """Let a spool record take the place of finer rows, or drop it as a repetition."""
    boot_no, meter_no, first, last, by_row, repeated = replaced
    finer: list[tuple[int, int | None, int | None]] = []
    for low, high in segments.ranges_by_seq(db, boot_no, first, last):
        finer += db.execute(
            "SELECT row, at_ms - dt_ms, at_ms FROM readings WHERE row >= ? AND row < ?"
            " AND boot_no = ? AND seq <= ? AND seq - n + 1 >= ? AND row != ? AND n < ?",
            (low, high, boot_no, last, first, by_row, last - first + 1),
        ).fetchall()
    if not finer and repeated:
        db.execute("DELETE FROM readings WHERE row = ?", (by_row,))
        return
    db.executemany("DELETE FROM readings WHERE row = ?", [(row,) for row, _, _ in finer])
    placed = [(low, high) for _, low, high in finer if low is not None and high is not None]
    placed += _trim(db, replaced)
    if placed:
        _soil(db, meter_no, min(low for low, _ in placed), max(high for _, high in placed))


def _trim(db: sqlite3.Connection, replaced: Replaced) -> list[tuple[int, int]]:
    """Let no two records share windows: the one that ends later keeps what is behind the other.

    Its end, and with it time and registers, stays true; the means of what it keeps are those of
    the whole. Return where stored records lay that became shorter.
    """
    boot_no, _, first, last, by_row, _ = replaced
    begin = first
    spans: list[tuple[int, int]] = []
    for low, high in segments.ranges_by_seq(db, boot_no, first, last):
        for row, seq, n, at_ms, dt_ms in db.execute(
            "SELECT row, seq, n, at_ms, dt_ms FROM readings WHERE row >= ? AND row < ?"
            " AND boot_no = ? AND row != ? AND seq >= ? AND seq - n + 1 <= ?"
            " AND (seq - n + 1 < ? OR seq > ?)",
            (low, high, boot_no, by_row, first, last, first, last),
        ).fetchall():
            if seq <= last:
                begin = max(begin, seq + 1)
            elif seq - n + 1 >= first:
                _shorten(db, row, last + 1)
                if at_ms is not None:
                    spans.append((at_ms - dt_ms, at_ms))
    if begin > last:
        db.execute("DELETE FROM readings WHERE row = ?", (by_row,))
    elif begin > first:
        _shorten(db, by_row, begin)
    return spans


def _shorten(db: sqlite3.Connection, row: int, first: int) -> None:
    """Have a record begin at a later window."""
    db.execute(
        "UPDATE readings SET dt_ms = max(1, dt_ms * (seq - ? + 1) / n), n = seq - ? + 1"
        " WHERE row = ?",
        (first, first, row),
    )


def _move(db: sqlite3.Connection, moved: Moved) -> None:
    """Place a boot's anchored rows anew, and have their intervals computed again."""
    boot_no, meter_no, anchor_ms, mark = moved
    touched: list[tuple[int, int, int]] = []
    for low, high in segments.ranges_by_seq(db, boot_no, 0, 2**33):
        touched += db.execute(
            f"SELECT row, min(at_ms, {PLACE}) - dt_ms, max(at_ms, {PLACE}) FROM readings"  # noqa: S608
            " WHERE row >= ? AND row < ? AND boot_no = ? AND marks & ?",
            (anchor_ms, anchor_ms, low, high, boot_no, mark),
        ).fetchall()
    if not touched:
        return
    db.executemany(
        f"UPDATE readings SET at_ms = {PLACE} WHERE row = ?",  # noqa: S608 - a constant
        [(anchor_ms, row) for row, _, _ in touched],
    )
    open_row = segments.open_row(db)
    for segment in {row >> SEGMENT_BITS for row, _, _ in touched if row < open_row}:
        segments.summarise(db, segment)
    _soil(db, meter_no, min(start for _, start, _ in touched), max(end for _, _, end in touched))


def _soil(db: sqlite3.Connection, meter_no: int, from_ms: int, to_ms: int) -> None:
    """Note that a meter's intervals in a span must be computed again from its readings."""
    db.execute(
        "INSERT INTO dirty (meter_no, from_ms, to_ms) VALUES (?,?,?)", (meter_no, from_ms, to_ms)
    )


def _bury(db: sqlite3.Connection, dead: list[DeadLetter]) -> None:
    db.executemany(
        "INSERT INTO dead_letters (received_ms, topic, reason, detail, size, payload)"
        " VALUES (?,?,?,?,?,?)",
        [
            (
                d.received_ms,
                d.topic,
                d.rejected.reason,
                d.rejected.detail,
                d.size,
                d.rejected.payload,
            )
            for d in dead
        ],
    )
    db.executemany(
        "INSERT INTO dead_letter_counts VALUES (?, 1)"
        " ON CONFLICT (reason) DO UPDATE SET count = count + 1",
        [(d.rejected.reason,) for d in dead],
    )
    db.execute(
        "DELETE FROM dead_letters WHERE no <= (SELECT max(no) FROM dead_letters) - ?",
        (MAX_DEAD_LETTERS,),
    )


def load_ledger(db: sqlite3.Connection) -> Ledger:
    """Read what every meter has delivered."""
    ledger = Ledger()
    by_no: dict[int, Meter] = {}
    for no, meter_id, recorded, label, registered_ms, removed_ms in db.execute(
        "SELECT no, id, recorded, label, registered_ms, removed_ms FROM meters"
    ):
        info = MeterInfo(meter_id, bool(recorded), label, registered_ms)
        by_no[no] = ledger.meters[meter_id] = Meter(no, info, removed=removed_ms is not None)
    for no, meter_no, name, role, rating_a in db.execute("SELECT * FROM channels"):
        meter = by_no[meter_no]
        meter.channel_nos[name] = no
        meter.info.channels[name] = ChannelInfo(name, Role(role), rating_a)
    boots = _load_boots(db, by_no)
    _load_windows(db, boots)
    ledger.next_row = _highest(db, "row", "readings") + 1
    ledger.next_meter_no = _highest(db, "no", "meters") + 1
    ledger.next_channel_no = _highest(db, "no", "channels") + 1
    ledger.next_boot_no = _highest(db, "no", "boots") + 1
    judged = _highest(db, "row", "judged")  # the newest rows may have been retired
    ledger.next_row = max(ledger.next_row, judged + 1, read_looked_at(db) + 1)
    return ledger


def _load_boots(db: sqlite3.Connection, by_no: dict[int, Meter]) -> dict[int, Boot]:
    boots: dict[int, Boot] = {}
    query = (
        "SELECT no, meter_no, boot, bootn, first_received_ms, state_anchor_ms,"
        " reading_anchor_ms, offset_ms FROM boots ORDER BY no"
    )
    for no, meter_no, number, bootn, first_ms, state_ms, reading_ms, offset_ms in db.execute(query):
        clock = BootClock(state_ms, reading_ms, offset_ms)
        boots[no] = Boot(no, number, bootn, first_ms, clock)
        by_no[meter_no].boots[number] = boots[no]
    for meter in by_no.values():
        if meter.boots:
            meter.newest = meter.ordered()[-1]
    return boots


def _load_windows(db: sqlite3.Connection, boots: dict[int, Boot]) -> None:
    for boot_no, first, last, first_at, last_at, last_up, regs in db.execute(
        "SELECT * FROM runs ORDER BY boot_no, first"
    ):
        boot = boots[boot_no]
        registers: Registers = _registers.decode(regs)
        boot.runs.append(Run(first, last, first_at, last_at, last_up, registers))
        boot.received.add(first, last)
        boot.done.add(first, last)
    for boot_no, first, last, state in db.execute("SELECT boot_no, first, last, state FROM gaps"):
        boot = boots[boot_no]
        if state == "final":
            boot.final.add(first, last)
            boot.done.add(first, last)
        else:
            boot.provisional[first] = last


def _highest(db: sqlite3.Connection, column: str, table: str) -> int:
    value = db.execute(f"SELECT max({column}) FROM {table}").fetchone()[0]  # noqa: S608 - our names
    return int(value or 0)

"""Models from elsewhere, in SQLite."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from gateway.adapters.store.database import Database
from gateway.domain.errors import NotFoundError, StorageError
from gateway.services.models.forms import (
    Facts,
    Happening,
    Pulled,
    PulledState,
    Score,
    Shelf,
    Trial,
    TrialState,
)
from tinymodels.detect.minutes import or_nan

T = TypeVar("T")
MOST_EVENTS = 10_000
KEPT_BODIES = 4  # of a family, besides those that are active or tried
_COLUMNS = (
    "no, path, sha256, what, kind, meter, channel, version, custom, pulled_ms, unproven_ms,"
    " state, why, step_us"
)
_facts = msgspec.msgpack.Decoder(Facts)


class SqlModels:
    """Satisfies `ModelStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do it in one transaction; what contradicts what is stored is a StorageError."""
        try:
            return await self._database.write(work)
        except sqlite3.IntegrityError as error:
            msg = f"models: {error}"
            raise StorageError(msg) from error

    async def load(self) -> Shelf:
        """Read what there is."""
        return await self._database.read(select_shelf)

    async def body(self, no: int) -> bytes:
        """Return a file's bytes; NotFoundError."""
        query = "SELECT body FROM pulled WHERE no = ?"
        row = await self._database.read(lambda db: db.execute(query, (no,)).fetchone())
        if row is None or not row[0]:
            msg = f"the model file {no} is kept no more; pull it again"
            raise NotFoundError(msg)
        return bytes(row[0])

    async def add(self, pulled: Pulled, body: bytes, told: Happening) -> int:
        """Store a new file and what is told of it; return its number."""

        def work(db: sqlite3.Connection) -> int:
            cursor = db.execute(
                f"INSERT INTO pulled ({_COLUMNS}, body) VALUES (NULL{',?' * 14})",  # noqa: S608
                (*_values(pulled)[1:], body),
            )
            _tell(db, [told])
            _forget_bodies(db, pulled)
            return int(cursor.lastrowid or 0)

        return await self._write(work)

    async def change(
        self, told: Sequence[Happening], *, pulled: Pulled | None = None,
        trials: Sequence[Trial] = (),
    ) -> None:  # fmt: skip
        """Write what is told, a file's new state, and trials' new states, all or nothing."""

        def work(db: sqlite3.Connection) -> None:
            if pulled is not None:
                db.execute(
                    "UPDATE pulled SET state = ?, why = ?, step_us = ?, unproven_ms = ?"
                    " WHERE no = ?",
                    (pulled.state, pulled.why, pulled.step_us, pulled.unproven_ms, pulled.no),
                )
            # One that steps down goes first: a channel has one active model at any moment.
            for trial in sorted(trials, key=lambda one: one.state is TrialState.ACTIVE):
                _put_trial(db, trial)
            _tell(db, told)

        await self._write(work)

    async def keep_scores(self, scores: Sequence[Score], trials: Sequence[Trial]) -> None:
        """Add scores, and how far their trials are."""

        def work(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO shadow_scores VALUES (?,?,?,?,?,?)", scores)
            for trial in trials:
                db.execute(
                    "UPDATE model_trials SET facts = ? WHERE pulled_no = ? AND meter = ?"
                    " AND channel = ?",
                    (msgspec.msgpack.encode(trial.facts), *trial.key),
                )

        await self._write(work)

    async def scores(self, trial: Trial) -> Sequence[tuple[int, float, float]]:
        """Return a trial's (start_ms, score, champion's score) in time order."""
        query = (
            "SELECT start_ms, score, champion FROM shadow_scores WHERE pulled_no = ? AND meter = ?"
            " AND channel = ? ORDER BY start_ms"
        )
        rows = await self._database.read(lambda db: db.execute(query, trial.key).fetchall())
        return [(start_ms, or_nan(a), or_nan(b)) for start_ms, a, b in rows]

    async def happenings(self, limit: int) -> Sequence[Happening]:
        """Return what happened last, the newest first."""
        return await self._database.read(lambda db: select_happenings(db, limit))

    async def note(self, key: str, value: str) -> None:
        """Keep a small text under a name."""
        query = "INSERT OR REPLACE INTO model_notes VALUES (?,?)"
        await self._database.write(lambda db: db.execute(query, (key, value)).rowcount)

    async def noted(self) -> Mapping[str, str]:
        """Return all small texts."""
        query = "SELECT key, value FROM model_notes"
        return dict(await self._database.read(lambda db: db.execute(query).fetchall()))


def select_shelf(db: sqlite3.Connection) -> Shelf:
    """Return what there is, oldest first; nothing from a database without the tables."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'model_trials'").fetchone():
        return Shelf((), ())
    pulled = [
        Pulled(
            no, path, sha256, what, kind, meter, channel, version, msgspec.json.decode(custom),
            pulled_ms, unproven_ms, PulledState(state), why, step_us,
        )
        for (
            no, path, sha256, what, kind, meter, channel, version, custom, pulled_ms, unproven_ms,
            state, why, step_us,
        ) in db.execute(f"SELECT {_COLUMNS} FROM pulled ORDER BY no")  # noqa: S608 - ours
    ]  # fmt: skip
    query = "SELECT * FROM model_trials ORDER BY pulled_no, meter, channel"
    trials = [
        Trial(no, meter, channel, TrialState(state), since_ms, why, _facts.decode(facts))
        for no, meter, channel, state, since_ms, why, facts in db.execute(query)
    ]
    return Shelf(pulled, trials)


def select_happenings(db: sqlite3.Connection, limit: int) -> list[Happening]:
    """Return what happened last, the newest first."""
    columns = "at_ms, what, path, meter, channel, detail"
    query = f"SELECT {columns} FROM model_events ORDER BY no DESC LIMIT ?"  # noqa: S608 - ours
    return [Happening(*row) for row in db.execute(query, (limit,))]


def _values(pulled: Pulled) -> tuple[object, ...]:
    return (
        pulled.no, pulled.path, pulled.sha256, pulled.what, pulled.kind, pulled.meter,
        pulled.channel, pulled.version, msgspec.json.encode(pulled.custom).decode(),
        pulled.pulled_ms, pulled.unproven_ms, pulled.state.value, pulled.why, pulled.step_us,
    )  # fmt: skip


def _put_trial(db: sqlite3.Connection, trial: Trial) -> None:
    db.execute(
        # REPLACE would delete another active one of the channel instead of failing.
        "INSERT INTO model_trials VALUES (?,?,?,?,?,?,?) ON CONFLICT (pulled_no, meter, channel)"
        " DO UPDATE SET state = excluded.state, since_ms = excluded.since_ms,"
        " why = excluded.why, facts = excluded.facts",
        (
            *trial.key, trial.state.value, trial.since_ms, trial.why,
            msgspec.msgpack.encode(trial.facts),
        ),
    )  # fmt: skip
    if trial.state in (TrialState.REJECTED, TrialState.RETIRED, TrialState.ROLLED_BACK):
        where = "pulled_no = ? AND meter = ? AND channel = ?"
        db.execute(f"DELETE FROM shadow_scores WHERE {where}", trial.key)  # noqa: S608 - ours


def _tell(db: sqlite3.Connection, told: Sequence[Happening]) -> None:
    db.executemany(
        "INSERT INTO model_events (at_ms, what, path, meter, channel, detail) VALUES (?,?,?,?,?,?)",
        told,
    )
    db.execute(
        "DELETE FROM model_events WHERE no <= (SELECT max(no) FROM model_events) - ?",
        (MOST_EVENTS,),
    )


def _forget_bodies(db: sqlite3.Connection, newest: Pulled) -> None:
    """Empty old files of a family; what is active, tried, or was active last stays."""
    db.execute(
        "UPDATE pulled SET body = x'' WHERE what = ? AND kind = ? AND meter = ? AND channel = ?"
        " AND no NOT IN (SELECT no FROM pulled WHERE what = ? AND kind = ? AND meter = ?"
        " AND channel = ? ORDER BY no DESC LIMIT ?) AND no NOT IN (SELECT pulled_no FROM"
        " model_trials WHERE state IN ('active', 'shadow', 'retired'))",
        (*newest.family, *newest.family, KEPT_BODIES),
    )

"""Bundles, what is wanted of them, and how far meters are, in SQLite."""

import sqlite3
from collections.abc import Sequence

from gateway.adapters.store.database import Database
from gateway.services.bundle_forms import Announced, Progress, Wanted

_WANT = "INSERT OR REPLACE INTO desired (kind, meter, version, since_ms) VALUES (?,?,?,?)"
# The newest stay, and whatever is wanted by somebody.
_FORGET = """
    DELETE FROM bundles WHERE kind = ? AND meter = ? AND version NOT IN (
        SELECT version FROM bundles WHERE kind = ? AND meter = ? ORDER BY version DESC LIMIT ?)
    AND version NOT IN (SELECT version FROM desired WHERE kind = ? AND meter = ?)
"""

# SQLite takes the bare columns from the row of the maximum (lang_select, section 2.5).
_PROGRESS = "SELECT meter, kind, version, state, why, detail, max(updated_ms) FROM rollouts"


class SqlBundles:
    """Satisfies `BundleStore` on the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, bundle: Announced, body: bytes, wanted: Wanted | None, keep: int
    ) -> None:  # fmt: skip
        """Store a bundle, and what is wanted; of those nobody wants the newest `keep` stay."""
        which = (bundle.kind, bundle.meter)

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO bundles (kind, meter, version, sha256, sig, published_ms,"
                " published_by, body) VALUES (?,?,?,?,?,?,?,?)",
                (
                    *which, bundle.version, bundle.sha256, bundle.sig, bundle.published_ms,
                    bundle.published_by, body,
                ),
            )  # fmt: skip
            if wanted is not None:
                db.execute(_WANT, (*which, wanted.version, wanted.since_ms))
            db.execute(_FORGET, (*which, *which, keep, *which))

        await self._database.write(work)

    async def want(self, wanted: Wanted) -> None:
        """Note what shall run, in place of what was wanted of that kind."""
        values = (wanted.kind, wanted.meter, wanted.version, wanted.since_ms)
        await self._database.write(lambda db: db.execute(_WANT, values).rowcount)

    async def body(self, kind: str, meter: str, version: int) -> bytes | None:
        """Return a bundle's bytes, None when it is not there."""
        query = "SELECT body FROM bundles WHERE kind = ? AND meter = ? AND version = ?"
        values = (kind, meter, version)
        row = await self._database.read(lambda db: db.execute(query, values).fetchone())
        return None if row is None else bytes(row[0])

    async def load(self) -> tuple[Sequence[Announced], Sequence[Wanted], Sequence[Progress]]:
        """Return all bundles, what is wanted, and the newest progress of each meter and kind."""
        return await self._database.read(select_rollout)

    async def note(self, progress: Progress) -> None:
        """Keep how far a meter is."""
        values = (
            progress.meter, progress.kind, progress.version, progress.state, progress.why,
            progress.detail, progress.updated_ms,
        )  # fmt: skip
        query = "INSERT OR REPLACE INTO rollouts VALUES (?,?,?,?,?,?,?)"
        await self._database.write(lambda db: db.execute(query, values).rowcount)


def select_rollout(
    db: sqlite3.Connection,
) -> tuple[Sequence[Announced], Sequence[Wanted], Sequence[Progress]]:
    """Return bundles, what is wanted, and the newest progress of each meter and kind."""
    bundles = db.execute(
        "SELECT kind, meter, version, length(body), sha256, sig, published_ms, published_by"
        " FROM bundles"
    )
    wanted = db.execute("SELECT kind, meter, version, since_ms FROM desired")
    progress = db.execute(_PROGRESS + " GROUP BY meter, kind")
    return (
        [Announced(*row) for row in bundles],
        [Wanted(*row) for row in wanted],
        [Progress(*row) for row in progress],
    )


def select_progress(db: sqlite3.Connection, meter: str) -> list[Progress]:
    """Return how far one meter is with each kind; nothing from a database without the table."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'rollouts'").fetchone():
        return []
    query = _PROGRESS + " WHERE meter = ? GROUP BY kind"
    return [Progress(*row) for row in db.execute(query, (meter,))]

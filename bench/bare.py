"""The reference: the least code that receives, commits and then acknowledges.

aiomqtt's connection with paho's own `on_message`, manual acknowledgement,
msgspec, and group commit into SQLite WAL with synchronous=FULL. It validates
nothing but types, keeps no runs, answers no application ack, judges nothing.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import paho.mqtt.client as paho

CLIENT_ID = "bench-bare"
TOPIC = "ww/v1/+/readings"
TABLE = (
    "CREATE TABLE reading (meter TEXT, boot INTEGER, seq INTEGER, up INTEGER,"
    " t INTEGER, dt INTEGER, v REAL, f REAL, channel TEXT, i REAL, p REAL,"
    " q REAL, wh_in REAL, wh_out REAL)"
)
LINGER_S = 0.02  # the product's own longest wait when busy
INSERT = "INSERT INTO reading VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
Row = tuple[object, ...]


class Channel(msgspec.Struct):
    """One channel of a reading."""

    i: float | None
    p: float | None
    wh_in: float | None
    wh_out: float | None
    q: float | None = None


class Reading(msgspec.Struct):
    """One reading of the wire, twelve fields with one channel."""

    boot: int
    seq: int
    up: int
    t: int | None
    dt: int
    v: float | None
    f: float | None
    ch: dict[str, Channel]


class BareLoop:
    """Collects rows for a moment, commits them together, then acknowledges.

    The commit runs on the loop's own thread: measured faster here than in an
    executor, whose thread fights the loop for the interpreter lock.
    """

    def __init__(self, db: sqlite3.Connection, client: paho.Client, total: int) -> None:
        self._db = db
        self._client = client
        self._left = total
        self._decode = msgspec.json.Decoder(Reading).decode
        self._rows: list[Row] = []
        self._mids: list[int] = []
        self._wake = asyncio.Event()
        self.commits = 0

    def on_message(self, _client: object, _data: object, message: Any) -> None:  # noqa: ANN401 - paho's
        """Decode one message into rows of the next commit."""
        r = self._decode(message.payload)
        meter = message.topic.split("/", 3)[2]
        head = (meter, r.boot, r.seq, r.up, r.t, r.dt, r.v, r.f)
        for name, c in r.ch.items():
            self._rows.append((*head, name, c.i, c.p, c.q, c.wh_in, c.wh_out))
        self._mids.append(message.mid)
        self._wake.set()

    async def commit_all(self) -> None:
        """Commit groups until every expected message is committed and acked."""
        while self._left > 0:
            await self._wake.wait()
            await asyncio.sleep(LINGER_S)
            self._wake.clear()
            rows, mids = self._rows, self._mids
            self._rows, self._mids = [], []
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(INSERT, rows)
            self._db.execute("COMMIT")
            for mid in mids:
                self._client.ack(mid, 1)
            self._left -= len(mids)
            self.commits += 1


def open_database(path: Path) -> sqlite3.Connection:
    """Open an empty database with the product's durability."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(TABLE)
    return db


def make_client(port: int, inflight: int) -> aiomqtt.Client:
    """Build the persistent, manually acknowledging session."""
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier=CLIENT_ID,
        clean_session=False,
        max_inflight_messages=inflight,
    )
    client._client.manual_ack_set(True)  # noqa: SLF001, FBT003 - aiomqtt has no door for it
    return client


async def subscribe_only(port: int) -> None:
    """Create the persistent session, so that the broker queues for it."""
    async with make_client(port, 20) as client:
        await client.subscribe(TOPIC, qos=1)


async def run(port: int, path: Path, total: int) -> dict[str, float]:
    """Take `total` messages; return the monotonic end and what it cost."""
    db = open_database(path)
    client = make_client(port, 1000)
    bare = BareLoop(db, client._client, total)  # noqa: SLF001 - see make_client
    client._client.on_message = bare.on_message  # noqa: SLF001 - paho's own callback
    cpu = time.process_time()
    async with client:
        await bare.commit_all()
        ended = time.monotonic()
        cpu = time.process_time() - cpu
        await asyncio.sleep(0.2)  # let the last acks leave
    rows = db.execute("SELECT count(*) FROM reading").fetchone()[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "ended": ended,
        "cpu_s": cpu,
        "peak_mb": peak,
        "commits": bare.commits,
        "rows": rows,
    }


def main() -> int:
    """Subscribe only, or take the backlog and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path)
    parser.add_argument("--total", type=int, default=20_000)
    args = parser.parse_args()
    if args.database is None:
        asyncio.run(subscribe_only(args.port))
        return 0
    with contextlib.suppress(KeyboardInterrupt):
        figures = asyncio.run(run(args.port, args.database, args.total))
        sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

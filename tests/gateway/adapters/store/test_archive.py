"""The archive's files: every raw reading once, by hour, also late ones and after retirement."""

import io
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from gateway.adapters.archive_target import DirectoryTarget, MemoryTarget
from gateway.adapters.export_files import parquet_bytes
from gateway.adapters.store import rollups, segments
from gateway.adapters.store.archive import SqlArchiveFeed, SqlHourReader, hold_for_archive
from gateway.adapters.store.cloud import SqlCloudFeed
from gateway.adapters.store.database import Database, opened
from gateway.adapters.store.intake import READING_COLUMNS
from gateway.adapters.store.many import insert_many
from gateway.adapters.store.retention import SqlRetentionStore
from gateway.domain.errors import ConfigError, StorageError
from gateway.domain.readings import Channel, Reading
from gateway.pipeline.rollups import Bucket
from gateway.services.archiving import ArchiveTarget, Hour, Plan, archive, file_name
from gateway.services.cloud_feed import HOUR_MS, DueKind
from gateway.services.effects import RollupPart
from gateway.services.planner import pack
from gateway.services.snapshots import Snapshot
from tests.support.cloud import DAY_START_MS, UTC

HOUR = Hour(1, DAY_START_MS + 7 * HOUR_MS)
NAME = "site=home/date=2026-09-21/meter=kitchen/07.parquet"


def store(database: Database, row: int, at_ms: int, dt_ms: int = 1000) -> None:
    """Store one reading of two channels that ends at a time."""
    both = {"solar": Channel(2.0, -460.5, 0.0, 9.5), "grid": Channel(1.0, 230.25, 7.25, 0.0)}
    body = pack(Reading(77, row, row, at_ms, dt_ms, 230.5, 50.0, both, flags=("late",)))
    values = (row, 1, row, 1, row, at_ms, at_ms, at_ms + 9, dt_ms, 0, body)
    database.write_now(lambda db: insert_many(db, "readings", READING_COLUMNS, [values]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a database with one meter and readings around one hour's edges."""
    made = tmp_path / "w.db"
    with opened(made) as database:
        for statement in (
            "INSERT INTO meters (no, id, registered_ms) VALUES (1, 'kitchen', 0)",
            "INSERT INTO channels VALUES (1, 1, 'grid', 'grid', NULL)",
            "INSERT INTO channels VALUES (2, 1, 'solar', 'solar', NULL)",
            "INSERT INTO boots VALUES (1, 1, 77, 1, 0, NULL, NULL, 0)",
        ):
            database.write_now(lambda db, text=statement: db.execute(text).rowcount)  # type: ignore[misc]
        for row, after_ms in ((1, 400), (2, 600), (3, 1600), (4, HOUR_MS + 400)):
            store(database, row, HOUR.start_ms + after_ms)
        store(database, 5, HOUR.start_ms + HOUR_MS + 600)
    return made


def write(path: Path, target: ArchiveTarget, resolution: str = "raw") -> list[tuple[str, int, int]]:
    plan = Plan("home", resolution, [HOUR])
    found = archive(SqlHourReader(path, UTC), target, parquet_bytes, plan)
    return [(done.name, done.rows, done.last_row) for done in found]


def test_an_hour_holds_the_windows_whose_middle_lies_in_it(path: Path) -> None:
    target = MemoryTarget()
    assert write(path, target) == [(NAME, 6, 4)]
    table = pq.read_table(io.BytesIO(target.files[NAME]))
    assert table.column("seq").to_pylist() == [2, 2, 3, 3, 4, 4]
    assert table.column("channel").to_pylist() == ["grid", "solar"] * 3
    assert table.column("p").to_pylist() == [230.25, -460.5] * 3
    assert table.column("flags").to_pylist()[0] == "late"


def test_writing_again_gives_the_same_file(path: Path, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    write(path, DirectoryTarget(root))
    first = (root / NAME).read_bytes()
    write(path, DirectoryTarget(root))
    assert [file for file in root.rglob("*") if file.is_file()] == [root / NAME]
    assert (root / NAME).read_bytes() == first


def test_a_late_reading_is_in_the_file_that_is_written_anew(path: Path) -> None:
    with opened(path) as database:
        store(database, 6, HOUR.start_ms + 5000)
    target = MemoryTarget()
    assert write(path, target) == [(NAME, 8, 6)]


async def test_what_comes_after_its_hour_was_retired_stands_beside_it(path: Path) -> None:
    target = MemoryTarget()
    written = list(archive(SqlHourReader(path, UTC), target, parquet_bytes,
                           Plan("home", "raw", [HOUR])))  # fmt: skip
    with opened(path) as database:
        await SqlArchiveFeed(database).confirm(written)
        retired = "INSERT INTO meta VALUES ('retired_until_ms:1', ?)"
        database.write_now(lambda db: db.execute(retired, (str(HOUR.start_ms + 999),)).rowcount)
        database.write_now(lambda db: db.execute("DELETE FROM readings WHERE row < 3").rowcount)
        store(database, 9, HOUR.start_ms + 7000)
    late = NAME.replace(".parquet", "-late-9.parquet")
    assert write(path, target) == [(late, 2, 9)]
    assert set(target.files) == {NAME, late}


def store_minutes(database: Database, *minutes: int) -> None:
    """Store 1-minute intervals of the hour."""
    parts = [RollupPart(1, "1m", Bucket(HOUR.start_ms + k * 60_000, 60)) for k in minutes]
    database.write_now(lambda db: rollups.add_parts(db, parts))


def judge_all(database: Database) -> None:
    """Note that all readings have been judged."""
    looked_at = "INSERT INTO meta VALUES ('looked_at', '99')"
    database.write_now(lambda db: db.execute(looked_at).rowcount)
    judged = "INSERT INTO judged VALUES (1, 99, 0, ?)"
    state = msgspec.msgpack.encode(Snapshot({}, b""))
    database.write_now(lambda db: db.execute(judged, (state,)).rowcount)


def test_one_minute_intervals_instead_of_readings(path: Path) -> None:
    with opened(path) as database:
        store_minutes(database, 0, 1, 2)
        judge_all(database)
    target = MemoryTarget()
    ((name, rows, _),) = write(path, target, "1m")
    assert (name, rows) == (NAME, 3)


async def test_late_minutes_of_a_thinned_hour_stand_beside_its_file(path: Path) -> None:
    target = MemoryTarget()
    with opened(path) as database:
        store_minutes(database, 0, 1, 2, 4 * 24 * 60)
        judge_all(database)
        written = list(archive(SqlHourReader(path, UTC), target, parquet_bytes,
                               Plan("home", "1m", [HOUR])))  # fmt: skip
        await SqlArchiveFeed(database).confirm(written)
        assert await SqlRetentionStore(database).thin() == 3
        assert write(path, target, "1m") == [("", 0, 0)]
        store_minutes(database, 7)
        late = NAME.replace(".parquet", "-late-0.parquet")
        assert write(path, target, "1m") == [(late, 1, 0)]
        store_minutes(database, 8)
        assert write(path, target, "1m") == [(late, 2, 0)]
    assert pq.read_table(io.BytesIO(target.files[NAME])).num_rows == 3


def test_retirement_by_age_waits_for_the_archive(path: Path) -> None:
    with opened(path) as database:
        database.write_now(lambda db: segments.summarise(db, 0))
        assert not database.read_now(lambda db: hold_for_archive(db, 0))
        due = "INSERT INTO cloud_due VALUES ('hour', 1, ?, 0, 0)"
        database.write_now(lambda db: db.execute(due, (HOUR.start_ms,)).rowcount)
        assert not database.read_now(lambda db: hold_for_archive(db, 0))  # none is kept
        SqlCloudFeed(database, UTC).arm_now([DueKind.HOUR], HOUR.start_ms)
        assert database.read_now(lambda db: hold_for_archive(db, 0))
        SqlCloudFeed(database, UTC).arm_now([], HOUR.start_ms)
        assert not database.read_now(lambda db: hold_for_archive(db, 0))


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"archive\.directory"):
        DirectoryTarget(tmp_path / "file" / "archive")
    target = DirectoryTarget(tmp_path / "archive")
    (tmp_path / "archive" / "site=home").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        target.put(NAME, b"x")


def test_names_are_by_utc() -> None:
    assert file_name("home", "m", DAY_START_MS + 23 * HOUR_MS).endswith("/23.parquet")
    assert file_name("home", "m", DAY_START_MS, 7).endswith("meter=m/00-late-7.parquet")

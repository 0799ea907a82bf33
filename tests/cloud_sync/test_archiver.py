"""The archiver: a process of its own writes the files, into a folder or into Cloud Storage."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from cloud_sync.archiver import ArchiveError, Archiver, ChildWriter
from cloud_sync.bucket import BucketTarget
from cloud_sync.errors import CloudDownError, ForbiddenError
from gateway.archiving import carry_out
from gateway.services.archiving import Hour, Written
from gateway.services.cloud_feed import HOUR_MS, Due, DueKind, DueQuery
from gateway.settings import ArchiveSettings, CloudSettings, Settings, StorageSettings
from tests.support.cloud import DAY_START_MS, FakeClock
from tests.support.storage_rig import StorageRig


class Feed:
    """Hours that are due, in memory."""

    def __init__(self, count: int) -> None:
        self.waiting = [Due(DueKind.HOUR, 1, DAY_START_MS + k * HOUR_MS) for k in range(count)]
        self.taken: list[Due] = []

    async def due(self, query: DueQuery) -> list[Due]:
        return self.waiting[: query.limit]

    async def take(self, entries: Sequence[Due]) -> None:
        self.taken += entries

    async def confirm(self, written: Sequence[Written]) -> None:
        done = {file.hour.start_ms for file in written}
        self.waiting = [due for due in self.waiting if due.start_ms not in done]


class Writer:
    """Writes so many files, then fails."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def write(self, hours: Sequence[Hour]) -> AsyncIterator[Written]:
        for number, hour in enumerate(hours):
            if number >= self.count:
                msg = "the disk is full"
                raise ArchiveError(msg)
            yield Written(hour, f"{number}.parquet", 1, 100, 1)


async def test_what_is_safe_is_confirmed_though_the_rest_fails() -> None:
    feed, writer = Feed(5), Writer(2)
    archiver = Archiver(feed, writer, FakeClock())
    with pytest.raises(ArchiveError):
        await archiver.step()
    assert len(feed.waiting) == 3
    writer.count = 99
    assert await archiver.step()
    assert feed.waiting == []
    assert not await archiver.step()


async def test_the_process_says_what_is_wrong(tmp_path: Path) -> None:
    settings = Settings(storage=StorageSettings(path=tmp_path / "none.db"))
    writer = ChildWriter("gateway.archiving", {"settings": settings.model_dump(mode="json")})
    with pytest.raises(ArchiveError, match="does not exist"):
        assert [file async for file in writer.write([Hour(1, DAY_START_MS)])]


async def test_a_process_that_dies_is_noticed() -> None:
    writer = ChildWriter("gateway.no_such_module", {})
    with pytest.raises((ArchiveError, OSError)):
        assert [file async for file in writer.write([Hour(1, 0)])]


def test_a_bucket_needs_a_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    settings = Settings(
        storage=StorageSettings(path=tmp_path / "w.db"),
        cloud=CloudSettings(enabled=True, project="p"),
        archive=ArchiveSettings(enabled=True, bucket="b"),
    )
    order: dict[str, Any] = {"settings": settings.model_dump(mode="json"), "hours": [[1, 0]]}
    answers = list(carry_out(json.loads(json.dumps(order))))
    assert "cloud.credentials_file" in str(answers[0]["error"])


def test_files_go_to_cloud_storage_and_replace_older_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with StorageRig() as rig:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", rig.url)
        client = storage.Client(project="demo", credentials=AnonymousCredentials())
        client.create_bucket("archive")
        target = BucketTarget("archive", AnonymousCredentials(), "demo")
        name = "site=home/date=2026-09-21/meter=kitchen/07.parquet"
        target.put(name, b"first")
        target.put(name, b"second")
        assert [blob.name for blob in client.list_blobs("archive")] == [name]
        assert client.bucket("archive").blob(name).download_as_bytes() == b"second"
        with pytest.raises(ForbiddenError):
            BucketTarget("none", AnonymousCredentials(), "demo").put(name, b"x")
    with pytest.raises(CloudDownError):
        target.put(name, b"third")

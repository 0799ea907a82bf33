"""Imports as a service: what is too large is refused, and what ends the gateway is given up."""

import asyncio
from pathlib import Path

import pytest

from gateway.adapters.import_files import UploadFolder
from gateway.adapters.store.imports import SqlImports
from gateway.adapters.store.intake_store import SqlIntakeStore
from gateway.domain.errors import BadInputError
from gateway.pipeline.import_table import LineError, Table, TableReader, Target
from gateway.pipeline.tabular import Source
from gateway.services.import_feed import ImportFeed
from gateway.services.import_jobs import FAILED, RUNNING, Choice, ImportJob
from gateway.services.importing import Importing
from gateway.services.intake import Hooks, Intake
from tests.gateway.services.site_rig import UTC, Site
from tests.support.gateway_stub import until

TEXT = b"time,p\n2026-01-01 00:00,1\n2026-01-01 00:15,2\n"


class Folder(UploadFolder):
    """Reads without an end, as where the gateway is killed in the middle of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reading = asyncio.Event()

    async def read(self, job: ImportJob, reader: TableReader) -> Table:
        del job, reader
        self.reading.set()
        await asyncio.Event().wait()
        raise AssertionError


def made(site: Site, folder: UploadFolder) -> Importing:
    """Return the service as a start of the gateway makes it."""
    hooks = Hooks(lambda _: None, lambda _: None, lambda *_: None, lambda _: None)
    store = SqlIntakeStore(site.database)
    connect = lambda _: None  # noqa: E731 - no broker here
    intake = Intake(store, connect, site.rules, site.now, hooks)  # type: ignore[arg-type]
    feed = ImportFeed(intake, site.deriver)
    return Importing(SqlImports(site.database), folder, feed, site.now, UTC)


async def looked_at(site: Site, folder: UploadFolder, importing: Importing) -> ImportJob:
    """Upload a table and return its import."""
    upload = folder.begin()
    upload.write(TEXT)
    upload.finish()
    await importing.add("t.csv", len(TEXT), lambda job: folder.keep(upload, job), "ada")
    (job,) = await SqlImports(site.database).list_jobs(None, 2)
    return job


async def test_an_import_that_ends_the_gateway_is_given_up_at_the_third_start(
    site: Site, tmp_path: Path
) -> None:
    store, folder = SqlImports(site.database), Folder(tmp_path / "imports")
    job = await looked_at(site, folder, made(site, folder))
    job.choice = Choice("house", "grid", "UTC", "time", {"p": "p"}, "ymd")
    job.state, job.rows_done = RUNNING, 1
    await store.save(job)

    async def start() -> None:
        """Start the gateway and end it while it reads."""
        folder.reading.clear()
        run = asyncio.ensure_future(made(site, folder).run())
        await asyncio.wait_for(folder.reading.wait(), 30)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    await start()
    await start()
    job = await store.get(job.no) or job
    job.rows_done = 2  # some more were stored: it is not stuck
    await store.save(job)
    await start()
    await start()
    last = asyncio.ensure_future(made(site, folder).run())
    await asyncio.to_thread(until, lambda: not list((tmp_path / "imports").iterdir()))
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)
    job = await store.get(job.no) or job
    assert job.state == FAILED
    assert "3 times in a row" in (job.error or "")


async def test_a_table_of_too_many_values_is_refused_before_it_is_read(
    site: Site, tmp_path: Path
) -> None:
    folder = UploadFolder(tmp_path / "imports")
    importing = made(site, folder)
    job = await looked_at(site, folder, importing)
    job.rows = 1_000_000  # a file of so many would take long
    await SqlImports(site.database).save(job)
    args = {"id": job.id, "meter": "house", "time": "time"}
    fields = {f"l{n}.p": "p" for n in range(1, 7)}
    with pytest.raises(BadInputError, match="at most 5 fields, or split the file"):
        await importing.start({**args, "map": fields}, "ada")
    del fields["l6.p"]
    assert (await importing.start({**args, "map": fields}, "ada"))["state"] == "waiting"


def test_rows_of_one_time_are_told_one_by_one_and_the_first_stays() -> None:
    table = Table([Target("grid", "p", Source("p"))])
    for line, (t_ms, value) in enumerate(((7, 1.0), (5, 2.0), (7, 3.0), (5, 4.0))):
        table.times.append(t_ms)
        table.lines.append(line)
        table.values[0].append(value)
    told: list[LineError] = []
    table.settle(told.append)
    assert (list(table.times), list(table.lines), list(table.values[0])) == ([5, 7], [1, 0], [2, 1])
    assert [(error.line, error.text) for error in told] == [
        (3, "has the time of line 1"), (2, "has the time of line 0"),
    ]  # fmt: skip

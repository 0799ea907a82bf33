"""Imports of tables: looked at, started, watched, undone; one runs at a time."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from gateway.domain.errors import BadInputError, NotFoundError, StorageError, TransientError
from gateway.pipeline.import_table import (
    CHANNEL,
    Table,
    TableReader,
    check_size,
    read_targets,
    usual_rating,
)
from gateway.pipeline.sniffing import time_places
from gateway.pipeline.table_times import DateOrder
from gateway.services.import_feed import ImportFeed
from gateway.services.import_jobs import (
    DONE,
    FAILED,
    JUDGING,
    PREVIEW,
    RUNNING,
    UNDOING,
    UNDONE,
    WAITING,
    Choice,
    ImportFiles,
    ImportJob,
    ImportStore,
)
from gateway.services.import_view import job_json
from gateway.services.placer import Now

log = structlog.get_logger()
Args = Mapping[str, object]
Operation = Callable[[Args, str], Awaitable[dict[str, object]]]
METER_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,31}\Z")
SAVE_S = 2.0
MOST_CUT_OFF = 3  # starts; a file that takes too much memory would end the gateway for ever
MOST_PREVIEWS = 5  # their files lie on the card
LONGEST_LABEL = 80


class Importing:
    """The service and its use cases."""

    def __init__(
        self, store: ImportStore, files: ImportFiles, feed: ImportFeed, now: Now, zone: ZoneInfo
    ) -> None:
        self._store = store
        self._files = files
        self._feed = feed
        self._now = now
        self._zone = zone
        self._running: dict[int, ImportJob] = {}  # as it is in memory, ahead of the disk
        self._changing = asyncio.Lock()  # starting takes a while: one looks and acts at a time
        self._news = asyncio.Event()
        self._register: Operation | None = None
        self._update: Operation | None = None
        self._hear_undone: Callable[[], None] | None = None

    def register_with(self, register: Operation, update: Operation) -> None:
        """Have meters registered by {id, recorded, label} and changed by {id, channels}."""
        self._register, self._update = register, update

    def when_undone(self, hear: Callable[[], None]) -> None:
        """Have it told when rows and alerts of an import are gone from the disk."""
        self._hear_undone = hear

    # -- what people ask ----------------------------------------------------------------------

    async def add(
        self, name: str, size_bytes: int, keep: Callable[[ImportJob], None], who: str
    ) -> dict[str, object]:
        """Take an uploaded file in and look at it; `keep` gives the file its place."""
        async with self._changing:
            known = await self._store.list_jobs(None, 200)
            for old in [job for job in known if job.state == PREVIEW][MOST_PREVIEWS - 1 :]:
                await self._undo(old)
        job = await self._store.add(
            ImportJob(0, name[:200], size_bytes, self._now.wall_ms(), who, FAILED)
        )
        keep(job)
        try:
            look = await self._files.look(job)
        except BadInputError as error:
            job.error = str(error)
            await self._files.remove(job)
            await self._store.save(job)
            raise
        job.form, job.preview, job.rows, job.guess = look
        job.state, job.rows_total = PREVIEW, look.rows
        await self._store.save(job)
        return job_json(job, self._zone)

    async def list_jobs(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002 - one shape
        """Return {items, next} of {before, limit}, newest first."""
        before, limit = args.get("before"), args.get("limit", 50)
        count = limit if isinstance(limit, int) else 50
        found = await self._store.list_jobs(before if isinstance(before, int) else None, count + 1)
        items = [job_json(self._running.get(job.no, job), self._zone) for job in found[:count]]
        last = str(found[count - 1].no) if len(found) > count else None
        return {"items": items, "next": last}

    async def get(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002
        """Return the import {id}; NotFoundError for an unknown one."""
        return job_json(await self._job(args), self._zone)

    async def start(self, args: Args, who: str) -> dict[str, object]:
        """Begin to import {id, meter, time, map, …}; BadInputError says what is wrong."""
        async with self._changing:
            return job_json(await self._start(args, who), self._zone)

    async def _start(self, args: Args, who: str) -> ImportJob:
        job = await self._job(args)
        if job.state != PREVIEW or job.form is None:
            msg = f"import {job.id} is {job.state}: only one that was looked at can be started"
            raise BadInputError(msg)
        choice = self._choice(args, job)
        boot = await self._files.checksum(job, choice.meter)
        await self._refuse_twice(choice.meter, boot)
        if self._register is not None:
            meter: dict[str, object] = {"id": choice.meter, "recorded": True}
            label = {"label": choice.label} if choice.label else {}
            job.is_meter_new = (await self._register(meter | label, who))["added"] is True
        job.choice, job.boot, job.state = choice, boot, WAITING
        await self._store.save(job)
        self._running[job.no] = job
        self._news.set()
        return job

    async def _refuse_twice(self, meter: str, boot: int) -> None:
        """Raise BadInputError where this file is in a meter, or on its way in or out."""
        for other in await self._store.busy():
            if other.choice is not None and (other.choice.meter, other.boot) == (meter, boot):
                msg = f"meter: import {other.id} has this file under way for {meter}; wait for it"
                raise BadInputError(msg)
        if self._feed.holds(meter, boot):
            msg = f"meter: {meter} holds this file already; undo that import first"
            raise BadInputError(msg)

    async def undo(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002
        """Take out what {id} brought; again changes nothing."""
        async with self._changing:
            job = await self._job(args)
            if job.state not in (UNDOING, UNDONE):
                why = await self._store.why_not_undo(job)
                if why:
                    msg = f"import {job.id}: {why}"
                    raise BadInputError(msg)
                await self._undo(job)
            return job_json(job, self._zone)

    async def _undo(self, job: ImportJob) -> None:
        is_fresh = job.choice is None  # it has brought nothing
        job.state = UNDONE if is_fresh else UNDOING
        await self._store.save(job)
        if is_fresh:
            await self._files.remove(job)
            return
        self._running[job.no] = job
        self._news.set()

    async def _job(self, args: Args) -> ImportJob:
        text = str(args.get("id", ""))
        number = text.removeprefix("i")
        if text.startswith("i") and number.isascii() and number.isdigit() and len(number) < 15:  # noqa: PLR2004 - of SQLite's numbers
            job = self._running.get(int(number)) or await self._store.get(int(number))
            if job is not None:
                return job
        msg = f"no import {text[:60]!r}"
        raise NotFoundError(msg)

    def _choice(self, args: Args, job: ImportJob) -> Choice:
        """Return what a person chose, checked against the file."""
        form = job.form
        meter, channel = str(args.get("meter", "")), str(args.get("channel") or "grid")
        if METER_ID.match(meter) is None:
            msg = f"meter: {meter[:80]!r} must be 2 to 32 of a-z, 0-9 and -, not beginning with -"
            raise BadInputError(msg)
        if CHANNEL.match(channel) is None:
            msg = f"channel: {channel[:40]!r} must be 1 to 16 of a-z, 0-9 and _"
            raise BadInputError(msg)
        chosen = args.get("map")
        if form is None or not isinstance(chosen, Mapping):
            msg = "map: must name the column of each field"
            raise BadInputError(msg)
        zone, order = str(args.get("timezone") or self._zone), args.get("date_order")
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = f"timezone: unknown zone {zone[:60]!r}; use an IANA name such as Europe/Lisbon"
            raise BadInputError(msg) from error
        if order is not None and order not in set(DateOrder):
            msg = f"date_order: must be one of {', '.join(DateOrder)}"
            raise BadInputError(msg)
        time, texts = str(args.get("time", "")), {str(k): str(v) for k, v in chosen.items()}
        time_places(form.columns, time)
        check_size(job.rows, len(read_targets(texts, form.columns, channel)))
        label = str(args.get("name") or "")[:LONGEST_LABEL]
        return Choice(meter, channel, zone, time, texts, str(order or form.date_order), label)

    # -- the service --------------------------------------------------------------------------

    async def run(self) -> None:
        """Work on what is to be done, one after another, until cancelled."""
        try:
            async with self._changing:
                await self._take_up()
            while True:
                self._news.clear()
                # What is to go goes first: no other import may bring alerts before that.
                for job in sorted(self._running.values(), key=lambda j: (j.state != UNDOING, j.no)):
                    await self._work(job)
                    if job.state not in (WAITING, RUNNING, JUDGING, UNDOING):
                        self._running.pop(job.no, None)
                if not self._running:
                    await self._news.wait()
        except StorageError as error:
            msg = f"an import could not be stored and will go on: {error}"
            raise TransientError(msg) from error

    async def _take_up(self) -> None:
        """Read from the disk what is to be done, and remove files that are not needed."""
        for job in await self._store.busy():
            if job.no not in self._running and await self._goes_on(job):
                self._running[job.no] = job
        looked_at = [j.no for j in await self._store.list_jobs(None, 200) if j.state == PREVIEW]
        await self._files.keep_only({*self._running, *looked_at})

    async def _goes_on(self, job: ImportJob) -> bool:
        """Give up an import that the gateway seems to end of; return whether to go on."""
        if job.state != RUNNING:
            return True
        is_further = job.rows_done > job.reached
        job.cut_off = 1 if is_further else job.cut_off + 1
        job.reached = max(job.reached, job.rows_done)
        if job.cut_off < MOST_CUT_OFF:
            await self._store.save(job)
            return True
        await self._fail(
            job,
            f"file: the gateway ended {MOST_CUT_OFF} times in a row while it read this file and had"
            " stored no more of it; split the file, or map fewer fields",
        )
        return False

    async def _fail(self, job: ImportJob, why: str) -> None:
        job.error, job.finished_ms = why, self._now.wall_ms()
        job.alerts_after = await self._store.alert_mark()
        await self._become(job, FAILED)
        await self._files.remove(job)
        log.warning("import_failed", id=job.id, why=why)

    async def _work(self, job: ImportJob) -> None:
        try:
            if job.state in (WAITING, RUNNING):
                await self._bring_in(job)
            if job.state == JUDGING:
                await self._finish(job)
        except BadInputError as error:
            await self._fail(job, str(error))
        if job.state == UNDOING:
            await self._take_out(job)

    async def _bring_in(self, job: ImportJob) -> None:
        """Read the file and have its rows stored."""
        form, choice = job.form, job.choice
        if form is None or choice is None:
            msg = "map: nothing was chosen"
            raise BadInputError(msg)
        if job.started_ms is None:  # else it goes on where a stop cut it off
            job.alerts_before = await self._store.alert_mark()
            job.started_ms = self._now.wall_ms()
        await self._become(job, RUNNING)
        targets = read_targets(choice.map, form.columns, choice.channel)
        check_size(job.rows, len(targets))  # of one that an earlier version started, too
        zone, order = ZoneInfo(choice.timezone), DateOrder(choice.date_order)
        reader = TableReader(form, targets, choice.time, order, zone)
        table = await self._files.read(job, reader)
        job.errors, job.error_count = reader.errors, reader.error_count
        job.rows_total = len(table)
        if not len(table):
            msg = "file: none of its rows can be read; see the errors"
            raise BadInputError(msg)
        job.from_ms, job.to_ms = table.times[0], table.times[-1]
        saver = asyncio.ensure_future(self._save_now_and_then(job))
        try:
            await self._feed.feed(
                job, table, lambda done: setattr(job, "rows_done", done),
                lambda: self._rate(choice.meter, table, job.created_by),
            )  # fmt: skip
        finally:
            saver.cancel()
            await asyncio.gather(saver, return_exceptions=True)
        if job.state == RUNNING:
            job.last_row = self._feed.last_row()
            await self._become(job, JUDGING)

    async def _rate(self, meter: str, table: Table, who: str) -> None:
        """Give channels that carry more than a usual clamp a rating that fits their data.

        A table does not tell what its lines may carry; without a rating they would be judged
        as a clamp of the reference design, and a transformer's currents all be alarms.
        """
        ratings = {
            target.channel: {"rating_a": rating}
            for target, column in zip(table.targets, table.values, strict=True)
            if target.field == "i" and (rating := usual_rating(column)) is not None
        }
        if ratings and self._update is not None:
            await self._update({"id": meter, "channels": ratings}, who)

    async def _finish(self, job: ImportJob) -> None:
        await self._feed.judged(job)
        if job.state == JUDGING:
            job.alerts_after = await self._store.alert_mark()
            job.alerts = await self._store.count_alerts(job)
            job.finished_ms = self._now.wall_ms()
            await self._become(job, DONE)
            await self._files.remove(job)
            log.info("import_done", id=job.id, rows=job.rows_done, errors=job.error_count)

    async def _take_out(self, job: ImportJob) -> None:
        async def step() -> bool:
            return await self._store.undo_step(job)

        async def finish() -> bool:
            job.alerts = 0
            return await self._store.finish_undo(job)

        async def mend() -> bool:
            return await self._store.mend(job)

        await self._feed.take_out(job, step, finish)
        await self._feed.count_on(mend)
        job.state, job.finished_ms = UNDONE, self._now.wall_ms()
        await self._store.save(job)
        await self._files.remove(job)
        if self._hear_undone is not None:
            self._hear_undone()
        log.info("import_undone", id=job.id)

    async def _become(self, job: ImportJob, state: str) -> None:
        if job.state != UNDOING:  # somebody wants it gone meanwhile
            job.state = state
        await self._store.save(job)

    async def _save_now_and_then(self, job: ImportJob) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            await self._store.save(job)

    def reading(self) -> dict[str, Operation]:
        """Return what changes nothing."""
        return {"imports.list": self.list_jobs, "imports.get": self.get}

    def changing(self) -> dict[str, Operation]:
        """Return what is to be audited."""
        return {"imports.start": self.start, "imports.undo": self.undo}

"""Follow the committed readings: rollups, judging and alerts, from the stored position (rule J)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from zoneinfo import ZoneInfo

import structlog

from gateway.domain.alerts import Alert, Finding
from gateway.domain.errors import StorageError, TransientError
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Stored
from gateway.pipeline.alert_book import AlertBook, Change
from gateway.pipeline.judge import MeterJudge
from gateway.pipeline.rollups import Calendar, Contribution
from gateway.services import refits
from gateway.services.alert_desk import AlertDesk, open_of
from gateway.services.deriving_ports import (
    OWN,
    DeriveStore,
    MeterRecord,
    ModelBench,
    Next,
    NoBench,
)
from gateway.services.effects import Effects, ModelRow, Position, Rebuild, RollupPart, VerdictRow
from gateway.services.fitting import FOREVER_MS, Fitted
from gateway.services.hang_guard import HangGuard
from gateway.services.tracks import SNAPSHOT_ROWS, Track, heed
from gateway.services.watch import detector_failed_finding, detector_works_finding
from gateway.settings import DetectSettings
from tinymodels.detect.contract import Options
from tinymodels.detect.minutes import Minutes

log = structlog.get_logger()
CHUNK_ROWS = 1000
TURN_ROWS = 25  # rows between which the event loop gets its turn
IDLE_LOOK_S = 5.0
# A commit of the judging costs the card as much as one of the intake; alerts can wait so long.
GATHER_S = 0.15


class Deriver:
    """The service. Positions start at the least stored one; rows already judged are skipped."""

    def __init__(
        self, store: DeriveStore, settings: DetectSettings, zone: ZoneInfo,
        fit: refits.Fit = refits.fit_in_thread,
    ) -> None:  # fmt: skip
        self._store = store
        self._refits = refits.Refits(store, fit, self.notify)
        self._settings = settings
        self._zone = zone
        self.desk = AlertDesk(AlertBook(()))
        self.bench: ModelBench = NoBench()
        self.tracks: dict[int, Track] = {}
        self.latest: dict[str, Stored] = {}
        self.row = 0
        self._channel_nos: dict[int, dict[str, int]] = {}
        self._news = asyncio.Event()
        self._lock = asyncio.Lock()  # the book and the disk change together
        self.loaded = asyncio.Event()
        self._placed = False
        self._stale = False  # a commit failed: memory is ahead of the disk
        self.guard = HangGuard()

    def notify(self) -> None:
        """Tell that readings were committed."""
        self._news.set()

    async def run(self) -> None:
        """Judge until cancelled; raise TransientError when the disk fails, to start again."""
        self.guard.arm()
        try:
            async with self._lock:
                await self.load()
            while True:
                self._news.clear()
                if await self.step() < CHUNK_ROWS:
                    await self._wait()
        except StorageError as error:
            msg = f"judging could not be stored and will be repeated: {error}"
            raise TransientError(msg) from error
        finally:
            self.guard.disarm()

    async def drain(self) -> None:
        """Judge what is committed and store the positions, for an ordered shutdown."""
        if not self.loaded.is_set():
            return
        await self.settle()
        await self._refits.close()
        async with self._lock:
            await self._commit(Effects(), everyone=True)

    async def settle(self) -> None:
        """Judge all that is committed, what waits for a model included."""
        while await self.step() or (
            any(track.awaits for track in self.tracks.values()) and await self._refits.settled()
        ):
            pass

    @property
    def judged_row(self) -> int:
        """Return the row up to which every meter is judged but for what waits for the clock."""
        waiting = [t.held_from - 1 for t in self.tracks.values() if t.held_from and t.awaits]
        return min([self.row, *waiting])

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(IDLE_LOOK_S):
                await self._news.wait()
                await asyncio.sleep(GATHER_S)
        except TimeoutError:
            pass

    async def load(self) -> None:
        """Read positions, states, models and alerts."""
        await self.bench.load()
        unresolved, resolved = await self._store.load_alerts()
        self.desk.renew(unresolved, resolved)
        self.tracks.clear()
        for record in await self._store.load_meters():
            self._enter(record, open_of(unresolved, record.info.id))
        for track in self.tracks.values():  # fits that a stop or a crash has cut off
            for channel in track.asked.keys() - self.bench.chosen(track.info.id).keys():
                self._ask(track, channel)
        repeat = [track.unjudged_from - 1 for track in self.tracks.values() if track.repeats]
        self.row = min([await self._store.looked_at(), *repeat])
        self._stale = False
        self.loaded.set()

    def _enter(self, record: MeterRecord, alerts: Sequence[Alert]) -> Track:
        judge = MeterJudge(record.info, self._settings, self._zone)
        track = Track(record.no, record.info, judge, Calendar(self._zone))
        if record.state is not None:
            track.restore(record.row, record.at_ms, record.state)
        track.guard = self.guard
        track.on_failure = partial(self.bench.failed, record.info.id)
        self._set_models(track, record)
        judge.adopt(list(alerts))
        self.tracks[record.no] = track
        self._channel_nos[record.no] = dict(record.channel_nos)
        return track

    def _set_models(self, track: Track, record: MeterRecord) -> None:
        for channel, model in refits.fitted_before(record):
            track.judge.set_model(channel, model)
        for channel, chosen in list(self.bench.chosen(track.info.id).items()):
            memory = self.bench.memory(track.info.id, channel)
            try:
                track.judge.set_model(channel, chosen, memory)
            except Exception as error:  # noqa: BLE001 - as above: another one will judge
                self.bench.failed(track.info.id, channel, f"{type(error).__name__}: {error}")

    async def step(self) -> int:
        """Judge the next chunk of committed readings; return how many rows were looked at."""
        async with self._lock:
            if self._stale:
                await self.load()
            effects = Effects()
            touched: set[int] = set()
            await self._adopt(effects, touched)
            self._release()
            rows = await self._store.rows_after(self.row, CHUNK_ROWS)
            if any(row.meter_no not in self.tracks for row in rows):
                await self._meet()
            for count, row in enumerate(rows, 1):
                track = self.tracks[row.meter_no]
                if self._is_due(track, row):
                    await self._take(track, row.reading, effects, touched)
                self.row = row.reading.row
                if count % TURN_ROWS == 0:
                    await asyncio.sleep(0)
            self._finish_repeating(effects, touched)
            await self._rebuild(effects, touched)
            await self._commit(effects, touched)
            self._refits.begin()
        return len(rows)

    def _is_due(self, track: Track, row: Next) -> bool:
        if track.held_from is not None:
            return False
        if row.reading.row <= track.row:
            return track.repeats and row.reading.row >= track.unjudged_from
        if not row.placed:
            track.held_from = row.reading.row
            return False
        return True

    def release(self) -> None:
        """Tell that readings which waited for the clock have been placed."""
        self._placed = True
        self._news.set()

    def _release(self) -> None:
        """Go back to readings that waited, for the clock or a model, and need not any more."""
        placed, self._placed = self._placed, False
        for track in self.tracks.values():
            waited = bool(track.awaits)
            track.awaits = {name for name in track.awaits if self._refits.has(track.no, name)}
            if track.held_from is not None and not track.awaits and (waited or placed):
                self.row = min(self.row, track.held_from - 1)
                track.held_from = None

    async def _meet(self) -> None:
        for record in await self._store.load_meters():
            if record.no not in self.tracks:
                self._enter(record, ())

    async def _take(
        self, track: Track, reading: Stored, effects: Effects, touched: set[int]
    ) -> None:
        contributions: list[Contribution] = []
        if reading.row <= track.row:
            findings = track.repeat(reading)
        else:
            findings = track.take(reading, contributions)
        if track.at_ms == reading.at_ms:
            self.latest[track.info.id] = reading  # the newest by its own time
        if contributions:
            await self._add_parts(track, contributions, effects)
            touched.add(track.no)
            for part in contributions:
                if part.resolution == "1m":
                    self.bench.minute(track, part.channel, part.bucket)
            for channel in track.judge.wants_fit():
                self._want(track, channel, reading)
        if findings:
            self._report(findings, effects, historic=track.is_historic(reading))
            touched.add(track.no)

    def _report(self, findings: list[Finding], effects: Effects, *, historic: bool) -> None:
        for finding in findings:
            change = self.desk.report(finding, now_ms=finding.at_ms, historic=historic)
            if change is not None:
                effects.changes.append(change)

    def _finish_repeating(self, effects: Effects, touched: set[int]) -> None:
        """End repetitions whose last row has been passed; it may exist no more."""
        for track in self.tracks.values():
            if track.repeats and self.row >= track.row:
                self._report(track.finish_repeating(track.at_ms), effects, historic=False)
                touched.add(track.no)

    async def _add_parts(
        self, track: Track, contributions: list[Contribution], effects: Effects
    ) -> None:
        numbers = self._channel_nos[track.no]
        if any(part.channel not in numbers for part in contributions):
            for record in await self._store.load_meters():
                self._channel_nos[record.no] = dict(record.channel_nos)
                self.update_meter(record.no, record.info)
            numbers = self._channel_nos[track.no]
        effects.rollups.extend(
            RollupPart(numbers[part.channel], part.resolution, part.bucket)
            for part in contributions
        )

    def _want(self, track: Track, channel: str, reading: Stored) -> None:
        """Have a channel's model fitted beside the judging; history waits for its own model."""
        known = channel in self._channel_nos[track.no]
        if known and channel not in self.bench.chosen(track.info.id):
            track.ask(channel, reading)
            self._ask(track, channel)

    def _ask(self, track: Track, channel: str) -> None:
        budget = self._settings.false_alarms_per_month / refits.sharing(track, self.tracks.values())
        options = Options(self._zone, budget, voltage=track.judge.watches_voltage(channel))
        self._refits.ask_for(track, channel, self._channel_nos[track.no][channel], options)

    async def _adopt(self, effects: Effects, touched: set[int]) -> None:
        """Judge by the models that have been made since; go on with what waited for them."""
        for made in self._refits.take():
            wanted = made.wanted
            if (track := self.tracks.get(wanted.meter_no)) is None:
                continue
            touched.add(track.no)
            track.asked.pop(wanted.channel, None)
            if wanted.channel in self.bench.chosen(wanted.meter):
                continue
            if made.error:
                told = (wanted.meter, "pattern (fit)", made.error, wanted.at_ms)
                failed = detector_failed_finding(*told, channel=wanted.channel)
                self._report([failed], effects, historic=False)
            elif made.fitted is not None:
                await self._set_fitted(track, made, made.fitted, effects)

    async def _set_fitted(
        self, track: Track, made: refits.Made, fitted: Fitted, effects: Effects
    ) -> None:  # fmt: skip
        """Have a fitted model judge from the minute on that is open now."""
        wanted, channel = made.wanted, made.wanted.channel
        open_ms = track.judge.open_minute(channel)
        memory = await self._refits.caught_up(wanted, fitted, open_ms)
        track.judge.set_model(channel, fitted.model, memory)
        at_ms = track.at_ms
        effects.models.append(ModelRow(track.no, channel, OWN, at_ms, fitted.model.to_bytes()))
        works = detector_works_finding(wanted.meter, at_ms, channel=channel)
        self._report([works], effects, historic=False)
        log.info(
            "model_fitted", meter=wanted.meter, channel=channel, at_ms=at_ms, why=fitted.why,
            judges_from_ms=open_ms, seconds=round(made.seconds, 2), peak_mb=fitted.peak_mb,
        )  # fmt: skip

    async def _rebuild(self, effects: Effects, touched: set[int]) -> None:
        """Have intervals computed again whose readings moved or were replaced."""
        for no, meter_no, from_ms, to_ms in await self._store.dirty():
            track = self.tracks.get(meter_no)
            if track is None or track.held_from is not None:
                continue
            # What is open goes to disk as a part, so that the rebuild sees all of it.
            parts: list[Contribution] = []
            track.roll.flush(parts)
            await self._add_parts(track, parts, effects)
            effects.rebuilds.append(Rebuild(no, meter_no, from_ms, to_ms, track.row))
            touched.add(meter_no)

    async def _commit(
        self, effects: Effects, touched: set[int] | None = None, *, everyone: bool = False
    ) -> None:
        for track in self.tracks.values():
            # One that fell silent in the middle of a minute must not hold back the rest.
            behind = everyone or self.row - track.snapshot_row >= SNAPSHOT_ROWS
            if track.no in (touched or ()) or (behind and track.rows_since_snapshot > 0):
                effects.positions.append(
                    Position(track.no, track.row, track.at_ms, track.snapshot())
                )
        if effects.is_empty():
            return
        effects.looked_at = self._looked_at()
        try:
            await self._store.commit(effects)
        except BaseException:
            self._stale = True
            with contextlib.suppress(StorageError):  # then the next step tries again
                await self.load()
            raise
        self.desk.tell(effects.changes)

    def _looked_at(self) -> int:
        """Return the row up to which nothing is left to do for any meter, silent ones included."""
        waiting = [t.snapshot_row for t in self.tracks.values() if t.rows_since_snapshot]
        held = [t.held_from - 1 for t in self.tracks.values() if t.held_from is not None]
        return min([self.row, *waiting, *held])

    async def recent(self, meter: str, channel: str, span_ms: int) -> Minutes:
        """Return a channel's last minutes, all that has been judged of them."""
        async with self._lock:
            track = next(one for one in self.tracks.values() if one.info.id == meter)
            number = self._channel_nos[track.no].get(channel, 0)  # 0: none
            span = (track.at_ms - span_ms, FOREVER_MS)
            return (await self._store.history(number, meter, channel, *span)).minutes()

    # -- what no reading causes ---------------------------------------------------------------

    async def report(self, findings: list[Finding], *, historic: bool = False) -> None:
        """Enter findings of timers and watches, and store what changes."""
        if not findings or not self.loaded.is_set():
            return
        async with self._lock:
            told = [self.desk.report(f, now_ms=f.at_ms, historic=historic) for f in findings]
            await self._commit(Effects(changes=[change for change in told if change]))

    async def change_alert(
        self, change: Callable[[AlertBook], Change], verdicts: Sequence[VerdictRow] = ()
    ) -> Change:
        """Do what a person asked of an alert, or said of it, and store it."""
        async with self._lock:
            done = change(self.desk.book)
            touched = heed(self.tracks.values(), done.alert, verdicts)
            await self._commit(Effects(changes=[done], verdicts=list(verdicts)), touched)
            return done

    async def change_alerts(self, change: Callable[[AlertBook], list[Change]]) -> None:
        """Do what changes several alerts at once, and store it."""
        async with self._lock:
            await self._commit(Effects(changes=change(self.desk.book)))

    async def rewrite(self, work: Callable[[], Awaitable[None]]) -> None:
        """Let `work` change what is stored or set beneath the judging, then read all anew."""
        await self.loaded.wait()
        async with self._lock:
            await self._commit(Effects(), everyone=True)
            try:
                await work()
            finally:
                await self.load()

    def use(self, settings: DetectSettings) -> None:
        """Judge by other settings from the next `load` on; to be called within `rewrite`."""
        self._settings = settings

    def update_meter(self, meter_no: int, info: MeterInfo) -> None:
        """Take over a meter's changed roles and ratings."""
        if (track := self.tracks.get(meter_no)) is not None:
            track.info = info
            track.judge.update_meter(info)

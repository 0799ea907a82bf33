"""Follow the committed readings: rollups, judging and alerts, from the stored position (rule J)."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

import structlog

from gateway.domain.alerts import Alert, Finding
from gateway.domain.errors import StorageError, TransientError
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Stored
from gateway.pipeline.alert_book import AlertBook, Change
from gateway.pipeline.judge import MeterJudge
from gateway.pipeline.rollups import Calendar, Contribution
from gateway.services.alert_desk import AlertDesk, open_of
from gateway.services.effects import Effects, ModelRow, Position, Rebuild, RollupPart, VerdictRow
from gateway.services.fitting import History, fit_channel
from gateway.services.hang_guard import HangGuard
from gateway.services.tracks import SNAPSHOT_ROWS, Track
from gateway.services.watch import detector_failed_finding, detector_works_finding
from gateway.settings import DetectSettings
from tinymodels.detect.gaussian import GaussianModel

log = structlog.get_logger()
CHUNK_ROWS = 1000
TURN_ROWS = 25  # rows between which the event loop gets its turn
IDLE_LOOK_S = 5.0
LONGEST_FIT_S = 120.0
# A commit of the judging costs the card as much as one of the intake; alerts can wait so long.
GATHER_S = 0.25
GAUSSIAN = "gaussian"


class MeterRecord(NamedTuple):
    """One meter as the store knows it, with its stored position (row 0 = none)."""

    no: int
    info: MeterInfo
    channel_nos: dict[str, int]
    row: int
    at_ms: int
    state: bytes | None
    models: dict[str, bytes]  # channel -> Gaussian


class Next(NamedTuple):
    """One committed reading; `placed` False while it waits for a trusted clock."""

    meter_no: int
    placed: bool
    reading: Stored


class DeriveStore(Protocol):
    """What judging needs from storage."""

    async def load_meters(self) -> list[MeterRecord]:
        """Read every meter with its position."""

    async def load_alerts(self) -> tuple[list[Alert], list[Alert]]:
        """Read the alerts that are not resolved, and those resolved in the last day."""

    async def looked_at(self) -> int:
        """Read the row up to which nothing is left to do."""

    async def rows_after(self, row: int, limit: int) -> list[Next]:
        """Read committed readings in the order of their rows."""

    async def dirty(self) -> list[tuple[int, int, int, int]]:
        """Read (no, meter_no, from_ms, to_ms) of intervals that must be computed again."""

    async def history(self, channel_no: int, meter: str, channel: str, until_ms: int) -> History:
        """Read what a channel's model is fitted on."""

    async def commit(self, effects: Effects) -> None:
        """Write everything in one transaction, or raise StorageError."""


class Deriver:
    """The service. Positions start at the least stored one; rows already judged are skipped."""

    def __init__(self, store: DeriveStore, settings: DetectSettings, zone: ZoneInfo) -> None:
        self._store = store
        self._settings = settings
        self._zone = zone
        self.desk = AlertDesk(AlertBook(()))
        self.tracks: dict[int, Track] = {}
        self.latest: dict[str, Stored] = {}
        self.row = 0
        self._channel_nos: dict[int, dict[str, int]] = {}
        self._news = asyncio.Event()
        self._lock = asyncio.Lock()  # the book and the disk change together
        self.loaded = asyncio.Event()
        self._placed = False
        self._stale = False  # a commit failed: memory is ahead of the disk
        self._guard = HangGuard()

    def notify(self) -> None:
        """Tell that readings were committed."""
        self._news.set()

    async def run(self) -> None:
        """Judge until cancelled; raise TransientError when the disk fails, to start again."""
        self._guard.arm()
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
            self._guard.disarm()

    async def drain(self) -> None:
        """Judge what is committed and store the positions, for an ordered shutdown."""
        if not self.loaded.is_set():
            return
        while await self.step() > 0:
            pass
        async with self._lock:
            await self._commit(Effects(), everyone=True)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(IDLE_LOOK_S):
                await self._news.wait()
                await asyncio.sleep(GATHER_S)
        except TimeoutError:
            pass

    async def load(self) -> None:
        """Read positions, states, models and alerts."""
        unresolved, resolved = await self._store.load_alerts()
        self.desk.book = AlertBook(unresolved, resolved)
        self.tracks.clear()
        for record in await self._store.load_meters():
            self._enter(record, open_of(unresolved, record.info.id))
        repeat = [track.unjudged_from - 1 for track in self.tracks.values() if track.repeats]
        self.row = min([await self._store.looked_at(), *repeat])
        self._stale = False
        self.loaded.set()

    def _enter(self, record: MeterRecord, alerts: Sequence[Alert]) -> Track:
        judge = MeterJudge(record.info, self._settings, self._zone)
        track = Track(record.no, record.info, judge, Calendar(self._zone))
        if record.state is not None:
            track.restore(record.row, record.at_ms, record.state)
        track.guard = self._guard
        self._set_models(track, record)
        judge.adopt(list(alerts))
        self.tracks[record.no] = track
        self._channel_nos[record.no] = dict(record.channel_nos)
        return track

    def _set_models(self, track: Track, record: MeterRecord) -> None:
        for channel, body in record.models.items():
            try:
                model = GaussianModel.from_bytes(body)
            except Exception as error:  # noqa: BLE001 - a model is data; the next fit mends it
                log.warning(
                    "model_unusable", meter=track.info.id, channel=channel, error=str(error)
                )
            else:
                track.judge.set_model(channel, model)

    async def step(self) -> int:
        """Judge the next chunk of committed readings; return how many rows were looked at."""
        async with self._lock:
            if self._stale:
                await self.load()
            self._release()
            rows = await self._store.rows_after(self.row, CHUNK_ROWS)
            if any(row.meter_no not in self.tracks for row in rows):
                await self._meet()
            effects = Effects()
            touched: set[int] = set()
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
        """Go back to readings that waited and have been placed by now."""
        if not self._placed:
            return
        self._placed = False
        for track in self.tracks.values():
            if track.held_from is not None:
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
            if wanted := track.judge.wants_fit():
                await self._fit(track, wanted, reading.at_ms, effects)
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

    async def _fit(self, track: Track, channels: list[str], at_ms: int, effects: Effects) -> None:
        """Fit the models that are due on the channel's own history, this chunk's part included."""
        for channel in channels:
            number = self._channel_nos[track.no].get(channel)
            if number is None:
                continue
            history = await self._store.history(number, track.info.id, channel, at_ms)
            own = [
                c.bucket
                for c in effects.rollups
                if c.channel_no == number and c.resolution == "15m"
            ]
            history.add(own)
            pending = [change.alert for change in effects.changes]
            history.add_alerts(pending, track.info.id, channel)
            history.add(
                part.bucket for part in track.roll.open_parts()
                if part.channel == channel and part.resolution == "15m"
            )  # fmt: skip
            started_s = time.monotonic()
            try:
                model = await self._fit_one(track, channel, history)
            except Exception as error:  # a model's defect must not stop judging
                told = f"{type(error).__name__}: {error}"
                log.exception("fit_failed", meter=track.info.id, channel=channel)
                failed = detector_failed_finding(
                    track.info.id, "pattern (fit)", told, at_ms, channel=channel
                )
                self._report([failed], effects, historic=False)
                continue
            if model is None:
                continue
            track.judge.set_model(channel, model)
            effects.models.append(ModelRow(track.no, channel, GAUSSIAN, at_ms, model.to_bytes()))
            works = detector_works_finding(track.info.id, at_ms, channel=channel)
            self._report([works], effects, historic=False)
            log.info(
                "model_fitted", meter=track.info.id, channel=channel, quarters=model.quarters,
                seconds=round(time.monotonic() - started_s, 2),
            )  # fmt: skip

    async def _fit_one(self, track: Track, channel: str, history: History) -> GaussianModel | None:
        """Fit in a thread. TimeoutError where it takes for ever; the thread is then given up."""
        budget = self._settings.false_alarms_per_month / self._sharing(track)
        voltage = track.judge.watches_voltage(channel)
        fit = partial(fit_channel, history, self._zone, budget, voltage=voltage)
        async with asyncio.timeout(LONGEST_FIT_S):
            return await asyncio.to_thread(fit)

    def _sharing(self, track: Track) -> int:
        """Return how many channels share the house's budget of false alarms."""
        if track.info.recorded:  # a recording is a house of its own
            return max(1, len(track.roll.channels))
        live = [other for other in self.tracks.values() if not other.info.recorded]
        return max(1, sum(len(other.roll.channels) for other in live))

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

    # -- what no reading causes ---------------------------------------------------------------

    async def report(self, findings: list[Finding]) -> None:
        """Enter findings of timers and watches, and store what changes."""
        if not findings or not self.loaded.is_set():
            return
        async with self._lock:
            changes = [self.desk.report(finding, now_ms=finding.at_ms) for finding in findings]
            await self._commit(Effects(changes=[change for change in changes if change]))

    async def change_alert(
        self, change: Callable[[AlertBook], Change], verdict: VerdictRow | None = None
    ) -> Change:
        """Do what a person asked of an alert, and store it."""
        async with self._lock:
            done = change(self.desk.book)
            verdicts = [] if verdict is None else [verdict]
            await self._commit(Effects(changes=[done], verdicts=verdicts))
            return done

    def update_meter(self, meter_no: int, info: MeterInfo) -> None:
        """Take over a meter's changed roles and ratings."""
        if (track := self.tracks.get(meter_no)) is not None:
            track.info = info
            track.judge.update_meter(info)

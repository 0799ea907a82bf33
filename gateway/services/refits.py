"""Fits that run beside the judging, one at a time: judging never waits for one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import NamedTuple, Self

import structlog

from gateway.domain.errors import StorageError
from gateway.services.deriving_ports import DeriveStore, MeterRecord
from gateway.services.fitting import FOREVER_MS, WEEKS_8_MS, Fitted, History, fit_channel
from gateway.services.snapshots import Asked
from gateway.services.tracks import Track
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.contract import Options

log = structlog.get_logger()
# On a card that does much else, at the lowest priority; a second or two is usual.
LONGEST_FIT_S = 600.0
Fit = Callable[[History, Options, CombinedModel | None, int], Awaitable[Fitted | None]]


class Wanted(NamedTuple):
    """A channel's model that is due; `before_ms` is where the minute began that is open."""

    meter_no: int
    meter: str
    channel: str
    channel_no: int
    at_ms: int
    before_ms: int
    options: Options
    champion: CombinedModel | None

    @classmethod
    def of(
        cls, track: Track, channel: str, channel_no: int, asked: Asked, options: Options
    ) -> Self:
        """Return what a track's channel wants, or wanted before a start."""
        champion = track.judge.models.get(channel)
        return cls(
            track.no, track.info.id, channel, channel_no, asked.at_ms, asked.before_ms, options,
            champion if isinstance(champion, CombinedModel) else None,
        )  # fmt: skip


class Made(NamedTuple):
    """What came of it: a model, or why there is none ("" where the old one is as good)."""

    wanted: Wanted
    fitted: Fitted | None
    error: str
    seconds: float


def sharing(track: Track, every: Iterable[Track]) -> int:
    """Return how many channels share the house's budget of false alarms."""
    if track.info.recorded:  # a recording is a house of its own
        return max(1, len(track.roll.channels))
    live = [other for other in every if not other.info.recorded]
    return max(1, sum(len(other.roll.channels) for other in live))


def fitted_before(record: MeterRecord) -> Iterator[tuple[str, CombinedModel]]:
    """Yield a meter's stored models by channel; without those that this version cannot use."""
    for channel, body in record.models.items():
        try:
            model = CombinedModel.from_bytes(body)
        except Exception as error:  # noqa: BLE001 - a model is data; the next fit mends it
            log.warning("model_unusable", meter=record.info.id, channel=channel, error=str(error))
        else:
            yield channel, model


async def fit_in_thread(
    history: History, options: Options, champion: CombinedModel | None, before_ms: int
) -> Fitted | None:
    """Fit in this process; for tests and small tools."""
    return await asyncio.to_thread(fit_channel, history, options, champion, before_ms)


class Refits:
    """What waits to be fitted and what has been; `done` is called when there is news."""

    def __init__(self, store: DeriveStore, fit: Fit, done: Callable[[], None]) -> None:
        self._store = store
        self._fit = fit
        self._done = done
        self._queue: list[Wanted] = []
        self._now: Wanted | None = None
        self._made: list[Made] = []
        self._task: asyncio.Task[None] | None = None

    def ask(self, wanted: Wanted) -> None:
        """Have a model fitted once `begin` is called; one channel waits at most once."""
        same = wanted[0], wanted.channel
        self._queue = [one for one in self._queue if (one[0], one.channel) != same]
        self._queue.append(wanted)

    def ask_for(self, track: Track, channel: str, channel_no: int, options: Options) -> None:
        """Have fitted what a track asks for; it is at the row that asked.

        What is live goes on with the model it has. What is history waits, so that each model
        judges from its own time on; other meters go on.
        """
        asked = track.asked[channel]
        if not self.has(track.no, channel):
            self.ask(Wanted.of(track, channel, channel_no, asked, options))
        if asked.is_historic:
            track.awaits.add(channel)
            track.held_from = track.row + 1

    def has(self, meter_no: int, channel: str) -> bool:
        """Tell whether a channel's model waits, is being made, or has not been taken."""
        every = [*self._queue, *(one.wanted for one in self._made)]
        if self._now is not None:
            every.append(self._now)
        return any((one.meter_no, one.channel) == (meter_no, channel) for one in every)

    def begin(self) -> None:
        """Work on what waits; to be called when what led to it is on the disk."""
        if self._queue and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._work(), name="fits")

    def take(self) -> list[Made]:
        """Return what has been made since the last time."""
        made, self._made = self._made, []
        return made

    async def caught_up(self, wanted: Wanted, fitted: Fitted, open_ms: int) -> bytes:
        """Return a model's state after the minutes that came while it was made."""
        since = await self._store.history(
            wanted.channel_no, wanted.meter, wanted.channel, wanted.before_ms, FOREVER_MS
        )
        return fitted.caught_up(since.minutes(open_ms).rows())

    async def settled(self) -> bool:
        """Wait for what is under way; return whether there is anything to take."""
        if self._task is not None:
            await asyncio.wait({self._task})
        return bool(self._made)

    async def close(self) -> None:
        """Give up what is under way; it is asked for again after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while self._queue:
            self._now = self._queue.pop(0)
            try:
                made = await self._one(self._now)
                self._made.append(made)  # `take` may have put another list there meanwhile
            finally:
                self._now = None
            self._done()

    async def _one(self, wanted: Wanted) -> Made:
        began_s = time.monotonic()
        fitted, error = None, ""
        try:
            history = await self._store.history(
                wanted.channel_no, wanted.meter, wanted.channel,
                wanted.at_ms - WEEKS_8_MS, wanted.at_ms,
            )  # fmt: skip
            async with asyncio.timeout(LONGEST_FIT_S):
                fitted = await self._fit(
                    history, wanted.options, wanted.champion, wanted.before_ms
                )  # fmt: skip
        except StorageError as failed:  # the disk's trouble is told elsewhere
            log.warning("fit_without_history", meter=wanted.meter, error=str(failed))
        except Exception as failed:  # a model's defect must not stop judging
            log.exception("fit_failed", meter=wanted.meter, channel=wanted.channel)
            error = f"{type(failed).__name__}: {failed}"
        return Made(wanted, fitted, error, time.monotonic() - began_s)

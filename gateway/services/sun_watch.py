"""Judges solar panels once a day: each roof by what it used to give, and by its neighbours.

A day is judged in the next morning, by the data's own time, from the quarter hours on the disk:
nothing is held in memory but the day that was judged last, which is on the disk too. What was
measured late, or while the gateway was down, is thus judged as well; a clock that steps repeats
no day and leaves none out.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from gateway.domain.alerts import Alert, AlertKind, Finding
from gateway.domain.errors import StorageError, TransientError
from gateway.domain.meters import Role
from gateway.pipeline.sun import news, not_judged, shift_ms, spans_ms
from gateway.services.deriving import Deriver
from gateway.services.ledger import Ledger
from gateway.services.placer import Now
from tinymodels.detect.contract import Options
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes
from tinymodels.detect.roofs import MEMORY_DAYS, TRAILING_DAYS, DayJudged, judge_days
from tinymodels.detect.solar import Yields, sun_like, yields

log = structlog.get_logger()
LOOK_S = 15.0
HOUR_MS = 60 * MINUTE_MS
# At breakfast, not at midnight: late readings have the night to come in, and people sleep.
MORNING_MS = 8 * HOUR_MS
NEWS_MS = 36 * HOUR_MS  # what is older is judged for the history
REACH_DAYS = TRAILING_DAYS + MEMORY_DAYS + 31  # before a day: its month's model, and its envelope


class Roof(NamedTuple):
    """A channel of the role solar, and the day up to which its data reaches (not counted in)."""

    channel_no: int
    meter: str
    channel: str
    recorded: bool
    until_day: int

    @property
    def key(self) -> tuple[str, str]:
        """Meter and channel."""
        return self.meter, self.channel


class SunStore(Protocol):
    """What the watch needs from storage."""

    async def quarters(self, channel_no: int, from_ms: int, until_ms: int) -> Minutes:
        """Return mean power of a channel's quarter hours that begin in [from, until)."""

    async def reached_ms(self) -> Mapping[int, int]:
        """Return the time up to which rollups are on the disk, by number of the meter."""

    async def first_ms(self, channel_no: int) -> int | None:
        """Return when a channel's first quarter hour begins."""

    async def judged_days(self) -> Mapping[int, int]:
        """Return the day that was judged last, by number of the channel."""

    async def note_judged(self, channel_no: int, day: int) -> None:
        """Keep the day that was judged last."""

    async def alerts(self, meter: str, channel: str) -> list[tuple[int, int | None]]:
        """Return when the alerts about a channel's panels opened and were resolved."""


class SunWatch:
    """The service."""

    def __init__(
        self, store: SunStore, deriver: Deriver, ledger: Callable[[], Ledger], now: Now,
        options: Options,
    ) -> None:  # fmt: skip
        """`options` say the site's zone, and the house's budget, which its roofs share."""
        self._store = store
        self._deriver = deriver
        self._ledger = ledger
        self._now = now
        self._zone = options.zone
        self._options = options
        self._judged: dict[int, int] | None = None

    async def run(self) -> None:
        """Look every quarter of a minute, until cancelled; the work is done once a day."""
        await self._deriver.loaded.wait()
        try:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_S)
        except StorageError as error:
            msg = f"solar panels could not be judged: {error}"
            raise TransientError(msg) from error

    async def look(self) -> None:
        """Judge the days that are over and have not been judged."""
        if self._judged is None:
            self._judged = dict(await self._store.judged_days())
        roofs = self._roofs(await self._store.reached_ms())
        await self._end_others(roofs)
        due = [roof for roof in roofs if self._is_due(roof, self._judged)]
        if not due:
            return
        live = [roof for roof in roofs if not roof.recorded]
        known = await self._yields(live) if any(not roof.recorded for roof in due) else {}
        for roof in due:
            alike = sum(other.recorded == roof.recorded for other in roofs)
            share = self._options.alarms_per_month / alike
            options = self._options._replace(alarms_per_month=share)
            await self._judge(roof, _beside(roof, live, known), options)

    def _is_due(self, roof: Roof, judged: dict[int, int]) -> bool:
        """Return whether days are over that have not been judged."""
        if not roof.recorded and not self._now.trusted():
            return False
        last = judged.get(roof.channel_no)
        if last is not None and last >= roof.until_day:  # the clock was ahead, and is not any more
            judged[roof.channel_no] = roof.until_day - 1
        return roof.until_day > 0 and (last is None or last < roof.until_day - 1)

    def _roofs(self, reached: Mapping[int, int]) -> list[Roof]:
        """Return all channels of the role solar; `reached` is how far each meter is judged."""
        found = []
        for meter in self._ledger().meters.values():
            recorded, at_ms = meter.info.recorded, reached.get(meter.no, 0)
            if meter.removed:
                continue
            if not recorded:
                at_ms = min(at_ms, self._now.wall_ms())
            until_day = max(0, at_ms + shift_ms(self._zone, at_ms) - MORNING_MS) // DAY_MS
            for name, info in meter.info.channels.items():
                if info.role is Role.SOLAR and name in meter.channel_nos:
                    number = meter.channel_nos[name]
                    found.append(Roof(number, meter.info.id, name, recorded, until_day))
        return found

    async def _end_others(self, roofs: Sequence[Roof]) -> None:
        """End alerts about channels that measure no panels any more."""
        keys = {roof.key for roof in roofs}
        over = [
            not_judged(alert.key[:2], max(alert.updated_ms, self._now.wall_ms()))
            for alert in self._open().values()
            if alert.key[:2] not in keys
        ]
        await self._deriver.report(over)

    def _open(self) -> dict[tuple[str, str], Alert]:
        """Return the open alerts about panels."""
        return {
            alert.key[:2]: alert
            for alert in self._deriver.desk.book.open_alerts
            if alert.key[2] is AlertKind.PV_UNDERPERFORMANCE
        }

    async def _yields(self, roofs: Sequence[Roof]) -> dict[int, Yields]:
        """Return the yields of each roof, by number of its channel."""
        if len({roof.meter for roof in roofs}) < 3:  # noqa: PLR2004 - one, and two neighbours
            return {}
        found: dict[int, Yields] = {}
        for roof in roofs:
            minutes = await self._minutes(roof, roof.until_day - REACH_DAYS)
            found[roof.channel_no] = await asyncio.to_thread(yields, minutes)
        return found

    async def _minutes(self, roof: Roof, from_day: int) -> Minutes:
        """Return a roof's quarter hours from a day on, in its own time."""
        shifted_ms = self._shift_ms(roof)
        span_ms = from_day * DAY_MS - shifted_ms, roof.until_day * DAY_MS - shifted_ms
        found = await self._store.quarters(roof.channel_no, *span_ms)
        return Minutes(found.start_ms + shifted_ms, found.values)

    def _shift_ms(self, roof: Roof) -> int:
        return shift_ms(self._zone, roof.until_day * DAY_MS)

    async def _judge(self, roof: Roof, peers: Yields, options: Options) -> None:
        """Judge a roof's days since the last one that was judged, and tell what they change."""
        from_day = await self._first_day(roof)
        minutes = await self._minutes(roof, from_day - REACH_DAYS)
        shifted_ms = self._shift_ms(roof)
        spans = spans_ms(await self._store.alerts(*roof.key), shifted_ms)
        days = await asyncio.to_thread(
            lambda: list(judge_days(minutes, (from_day, roof.until_day), options, peers, spans))
        )
        for judged in days:
            await self._tell(roof, judged, shifted_ms)
        await self._note(roof, roof.until_day - 1)
        if days and days[-1].score > 0:
            log.info(
                "panels_judged", meter=roof.meter, channel=roof.channel, day=days[-1].day,
                score=round(days[-1].score, 2), days=len(days),
            )  # fmt: skip

    async def _first_day(self, roof: Roof) -> int:
        """Return the first day to judge: the one after the last; of a new home yesterday."""
        judged = (self._judged or {}).get(roof.channel_no)
        if judged is not None:
            return judged + 1
        if not roof.recorded:
            return roof.until_day - 1
        first_ms = await self._store.first_ms(roof.channel_no)
        return roof.until_day - 1 if first_ms is None else first_ms // DAY_MS

    async def _tell(self, roof: Roof, judged: DayJudged, shifted_ms: int) -> None:
        found: Finding | None = news(roof.key, judged, self._open().get(roof.key), shifted_ms)
        if found is not None:
            old = self._now.wall_ms() - found.at_ms > NEWS_MS
            await self._deriver.report([found], historic=roof.recorded or old)
            await self._note(roof, judged.day)  # a crash repeats one day at most

    async def _note(self, roof: Roof, day: int) -> None:
        await self._store.note_judged(roof.channel_no, day)
        if self._judged is not None:
            self._judged[roof.channel_no] = day


def _beside(roof: Roof, live: Sequence[Roof], known: Mapping[int, Yields]) -> Yields:
    """Return what neighbours gave: roofs of other meters, since one inverter may serve a meter."""
    if roof.recorded:
        return {}
    return sun_like([known[o.channel_no] for o in live if o.meter != roof.meter and known])

"""A site that takes models from a repository: real judging, real store, minutes fed by the test."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from gateway.adapters.store.deriving import SqlDeriveStore
from gateway.adapters.store.models import SqlModels
from gateway.domain.alerts import AlertKind
from gateway.pipeline.rollups import Bucket
from gateway.services.deriving_ports import OWN
from gateway.services.effects import Effects, ModelRow, RollupPart
from gateway.services.models.care import ModelCare
from gateway.services.models.forms import MODEL, Happening, Pulled, PulledState, Trial
from gateway.services.models.ports import Registry, Tried
from gateway.services.models.pulling import Outcome, Pulling
from gateway.services.models.rules import Limits
from gateway.services.tracks import Track
from tests.gateway.services.site_rig import FakeNow, Site, window
from tests.support.bad_models import CHANNEL, METER, usual_minutes
from tests.support.small_home import small_home
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.combined_fit import FITTER
from tinymodels.detect.contract import Options
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes
from tinymodels.detect.package import Package, pack

UTC = ZoneInfo("UTC")
LATER_MS: Final = 1_780_272_000_000 + 28 * DAY_MS  # when what the tests feed begins
DAYS_BEFORE: Final = small_home(5, seed=3, from_ms=LATER_MS - 5 * DAY_MS)


@functools.cache
def champion() -> CombinedModel:
    """Return what the gateway has fitted of the same home."""
    return FITTER.fit(usual_minutes(), Options(UTC, 4.0))


def memory_of(before: Minutes) -> bytes:
    """Return what the champion remembers once it has judged these minutes, as it is kept."""
    model = champion().without_rule()
    state = model.new_state()
    for row in before.rows():
        model.step(state, row)
    return model.dump_state(state)


@functools.cache
def usual_memory() -> bytes:
    """Return the memory of the days that most tests have before them; they take seconds."""
    return memory_of(DAYS_BEFORE)


async def quick_tryout(content: bytes) -> Tried:
    """Stand in where a test is not about trying: nothing is wrong, and it is quick."""
    return Tried(50.0)


class ModelSite:
    """One meter with one channel, judged by a good champion, on a database file.

    `before` are the minutes that are stored of the time before the first trial.
    """

    def __init__(
        self, path: Path, limits: Limits | None = None, *, before: Minutes = DAYS_BEFORE
    ) -> None:
        self.path = path
        self.before = before
        self.limits = limits or Limits()
        self.now = FakeNow()
        self.start()

    @property
    def champion_judges(self) -> bool:
        """Tell whether what was fitted here judges."""
        return self.track.judge.models[CHANNEL].to_bytes() == champion().without_rule().to_bytes()

    def start(self) -> None:
        """Start the process: everything comes from the disk."""
        self.site = Site(self.path)
        self.store = SqlModels(self.site.database)
        self.deriver = self.site.deriver
        self.care = ModelCare(self.store, self.deriver, self.now, lambda: self.limits)

    def stop(self) -> None:
        """End it at once, as a power cut does."""
        self.site.database.close()

    async def load(self) -> None:
        """Begin judging; the first time the meter comes, with a model that was fitted here."""
        await self.deriver.load()
        if not self.deriver.tracks:
            self.site.send(window(0), METER)
            await self.site.derive()
            row = ModelRow(1, CHANNEL, OWN, 0, champion().to_bytes())
            parts = [RollupPart(1, "1m", bucket_of(one)) for one in self.before.rows()]
            effects = Effects(models=[row], rollups=parts)
            await SqlDeriveStore(self.site.database, UTC).commit(effects)
            await self.deriver.load()
            self._remember()

    def _remember(self) -> None:
        """Have the champion remember the days before, as one that has judged them."""
        memory = usual_memory() if self.before is DAYS_BEFORE else memory_of(self.before)
        self.track.judge.set_model(CHANNEL, self.track.judge.models[CHANNEL], memory)

    @property
    def track(self) -> Track:
        """The meter's."""
        return self.deriver.tracks[1]

    async def add(self, package: Package, *, unproven_ms: int | None = None) -> Pulled:
        """Store a package as if it had been pulled and tried."""
        body = pack(package)
        pulled = Pulled(
            0, f"stable/{package.name}", f"{len(body):064x}", MODEL, package.kind, package.meter,
            package.channel, package.version, {}, self.now.wall_ms(), unproven_ms,
            PulledState.COMPATIBLE,
        )  # fmt: skip
        told = Happening(self.now.wall_ms(), "verified", pulled.path)
        no = await self.store.add(pulled, body, told)
        self.care.pulled[no] = replace(pulled, no=no)
        return self.care.pulled[no]

    def feed(self, minutes: Minutes) -> None:
        """Let minutes pass, without a look between."""
        for row in minutes.rows():
            self.care.minute(self.track, CHANNEL, bucket_of(row))

    async def live(self, minutes: Minutes, *, look_each: int = 720) -> None:
        """Let minutes pass, and look now and then."""
        rows = list(minutes.rows())
        for first in range(0, len(rows), look_each):
            for row in rows[first : first + look_each]:
                self.care.minute(self.track, CHANNEL, bucket_of(row))
            self.now.pass_s(look_each * 60)
            await self.care.look()

    def trials(self) -> dict[str, Trial]:
        """Return every trial by its path's version."""
        every = {**self.care.past, **self.care.bench.trials}
        return {self.care.pulled[no].path: one for (no, _, _), one in every.items()}

    def state(self, pulled: Pulled) -> str:
        """Return the state of a file's trial."""
        return self.trials()[pulled.path].state.value

    def rejections(self) -> list[str]:
        """Return what open alerts say of models."""
        book = self.deriver.desk.book.open_alerts
        return [alert.detail for alert in book if alert.key[2] is AlertKind.MODEL_REJECTED]

    async def told(self) -> list[tuple[str, str]]:
        """Return what happened, oldest first: (what, why)."""
        found = await self.store.happenings(1000)
        return [(one.what, one.detail) for one in reversed(found)]

    def pulling(self, registry: Registry, *, every_s: float = 3600.0) -> Pulling:
        """Return what pulls from a repository; bundles go nowhere."""

        async def nowhere(_: Pulled, __: bytes) -> str:
            return ""

        return Pulling(
            self.store, self.care, self.deriver, self.now, quick_tryout,
            registry=lambda: registry, hand_out=nowhere, every_s=every_s, built_ms=1,
        )  # fmt: skip

    async def pull(self, registry: Registry) -> Outcome:
        """Pull once."""
        return await self.pulling(registry).pull()


def bucket_of(row: Sequence[float]) -> Bucket:
    """Return a rolled-up minute with these means."""
    start_ms, power, low, high, volts, most_v, var, amps = row
    known_v = MINUTE_MS if volts == volts else 0  # noqa: PLR0124 - NaN
    return Bucket(
        int(start_ms), 60, MINUTE_MS, p_sum=power * MINUTE_MS, p_dt=MINUTE_MS, p_min=low,
        p_max=high, q_sum=var * MINUTE_MS, q_dt=MINUTE_MS, v_sum=volts * known_v, v_dt=known_v,
        v_min=volts, v_max=most_v, i_sum=amps * MINUTE_MS, i_dt=MINUTE_MS,
    )  # fmt: skip

"""Bundles from the repository go out to meters in waves: one first, then a quarter, then all."""

import asyncio
import math
from collections.abc import Callable

import msgspec
import structlog

from gateway.domain.alerts import AlertKind
from gateway.domain.errors import BadInputError, StorageError, TransientError
from gateway.services.bundle_forms import EVERY_METER, from_base64
from gateway.services.deriving import Deriver
from gateway.services.ledger import Ledger
from gateway.services.models.forms import Happening, ModelStore, Pulled
from gateway.services.models.telling import bundle_failed, repository_believed
from gateway.services.placer import Now
from gateway.services.rollout import REFUSED, RUNNING, Rollout

log = structlog.get_logger()
LOOK_S = 30.0
SHARES = (0.0, 0.25, 1.0)  # of the meters; one at least
NOTE = "wave "
KEEP_S = 900.0  # how much healthy time a restart may forget
BAD_SIGNS = (AlertKind.METER_SILENT, AlertKind.DEVICE_ANOMALY)
ROLLING, DONE, FAILED = "rolling", "done", "failed"


class Wave(msgspec.Struct):
    """How far a bundle is; `healthy_s` is how long this wave's meters have run it and been well."""

    path: str
    kind: str
    version: int
    stage: int = 0
    meters: list[str] = msgspec.field(default_factory=list)
    healthy_s: float = 0.0
    state: str = ROLLING
    why: str = ""


class Waves:
    """The service. `healthy_s` is how long a wave must be well before the next one."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self, store: ModelStore, rollout: Rollout, deriver: Deriver, now: Now, *,
        ledger: Callable[[], Ledger], online: Callable[[str], bool], healthy_s: float,
    ) -> None:  # fmt: skip
        self._store = store
        self._rollout = rollout
        self._deriver = deriver
        self._now = now
        self._ledger = ledger
        self._online = online
        self._healthy_s = healthy_s
        self.waves: dict[str, Wave] = {}  # by kind
        self._looked_s: float | None = None
        self._kept: dict[str, float] = {}
        self._loaded = False

    async def load(self) -> None:
        """Go on with what was on its way; does nothing the second time."""
        if self._loaded:
            return
        await self._rollout.load()
        for key, text in (await self._store.noted()).items():
            if key.startswith(NOTE):
                wave = msgspec.json.decode(text, type=Wave)
                self.waves[wave.kind] = wave
                if wave.state == ROLLING:
                    self._rollout.stage(wave.kind, wave.version, wave.meters)
        self._loaded = True

    async def hand_out(self, pulled: Pulled, body: bytes) -> str:
        """Begin to give a bundle to meters; return why not, "" when it is on its way.

        One for a single meter goes there at once.
        """
        await self.load()
        kind = pulled.kind
        try:
            sig = from_base64(pulled.custom.get("sig"), "sig")
            alone = pulled.meter != EVERY_METER
            await self._rollout.publish(
                kind, pulled.meter, pulled.version, body, sig, by="repository", want=alone
            )
        except BadInputError as error:
            return str(error)
        if not alone:
            wave = Wave(pulled.path, kind, pulled.version)
            self.waves[kind] = wave
            await self._enter(wave, 0)
        return ""

    async def run(self) -> None:
        """Look every half minute, until cancelled."""
        try:
            await self._deriver.loaded.wait()
            await self.load()
            while True:
                await self.look()
                await asyncio.sleep(LOOK_S)
        except StorageError as error:
            msg = f"waves of bundles: {error}"
            raise TransientError(msg) from error

    async def look(self) -> None:
        """See how the meters of each wave are; go on, or give up."""
        now_s = self._now.mono_s()
        passed_s = 0.0 if self._looked_s is None else now_s - self._looked_s
        self._looked_s = now_s
        for wave in list(self.waves.values()):
            if wave.state == ROLLING:
                await self._judge(wave, passed_s)

    async def _judge(self, wave: Wave, passed_s: float) -> None:
        states = {meter: self._state(meter, wave) for meter in wave.meters}
        refused = [meter for meter, (state, _) in states.items() if state == REFUSED]
        if refused:
            why = f"{refused[0]} refused it: {states[refused[0]][1]}"
            await self._fail(wave, why)
            return
        if not wave.meters:  # nobody was there
            await self._enter(wave, wave.stage)
            return
        waited_for = [one for one in wave.meters if self._online(one)] or wave.meters
        if not all(states[one][0] == RUNNING for one in waited_for) or self._is_unwell(wave):
            return
        wave.healthy_s += passed_s
        if wave.healthy_s >= self._healthy_s:
            await self._advance(wave)
        elif wave.healthy_s - self._kept.get(wave.kind, 0.0) >= KEEP_S:
            await self._keep(wave)

    def _state(self, meter: str, wave: Wave) -> tuple[str, str]:
        for one in self._rollout.progress(meter):
            if (one.kind, one.version) == (wave.kind, wave.version):
                return one.state, f"{one.why} {one.detail}".strip()
        return "", ""

    def _is_unwell(self, wave: Wave) -> bool:
        """Tell whether a meter of the wave is silent, or finds itself unusual."""
        return any(
            alert.key[2] in BAD_SIGNS and alert.key[0] in wave.meters
            for alert in self._deriver.desk.book.open_alerts
        )

    async def _advance(self, wave: Wave) -> None:
        """Go on with more meters; after the last wave the bundle is for all."""
        before = set(wave.meters)
        stage = wave.stage + 1
        while stage < len(SHARES) and before >= set(self._chosen(wave, stage)):
            stage += 1
        if stage < len(SHARES):
            await self._enter(wave, stage)
            return
        await self._rollout.want(wave.kind, EVERY_METER, wave.version)
        self._rollout.stage(wave.kind, wave.version, ())
        wave.state = DONE
        await self._tell(wave, "bundle_for_all", f"{len(before)} meters run it and are well")
        await self._deriver.report([repository_believed(self._now.wall_ms())])

    async def _enter(self, wave: Wave, stage: int) -> None:
        wave.stage, wave.healthy_s = stage, 0.0
        wave.meters = self._chosen(wave, stage)
        if not wave.meters:
            await self._keep(wave)
            return
        await self._tell(wave, "bundle_wave", f"wave {stage + 1}: {', '.join(wave.meters)}"[:300])
        self._rollout.stage(wave.kind, wave.version, wave.meters)

    def _chosen(self, wave: Wave, stage: int) -> list[str]:
        """Return the meters of a wave: those of the one before stay, online ones come first."""
        live = [
            meter.info.id for meter in self._ledger().meters.values()
            if not meter.removed and not meter.info.recorded
        ]  # fmt: skip
        count = max(1, math.ceil(SHARES[stage] * len(live)))
        known = [one for one in wave.meters if one in live]
        others = sorted(set(live) - set(known), key=lambda one: (not self._online(one), one))
        if stage < len(SHARES) - 1:
            others = [one for one in others if self._online(one)]
        return [*known, *others][: max(count, len(known))]

    async def _fail(self, wave: Wave, why: str) -> None:
        """Take it back: its meters get what was wanted before."""
        wave.state, wave.why = FAILED, why
        await self._tell(wave, "bundle_taken_back", why)
        self._rollout.stage(wave.kind, wave.version, ())
        now_ms = self._now.wall_ms()
        await self._deriver.report([bundle_failed(wave.path, wave.kind, wave.version, why, now_ms)])

    async def _tell(self, wave: Wave, what: str, detail: str) -> None:
        await self._keep(wave)
        await self._store.change([Happening(self._now.wall_ms(), what, wave.path, detail=detail)])
        log.info(what, kind=wave.kind, version=wave.version, detail=detail)

    async def _keep(self, wave: Wave) -> None:
        self._kept[wave.kind] = wave.healthy_s
        await self._store.note(NOTE + wave.kind, msgspec.json.encode(wave).decode())

"""Looks into the repository on a timer and on demand; takes what is new, and tries it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from gateway.domain.errors import BadInputError, ConfigError, StorageError, TransientError
from gateway.services.deriving import Deriver
from gateway.services.models.care import ModelCare
from gateway.services.models.forms import (
    EVERY_METER,
    LONGEST_WHY,
    MODEL,
    Happening,
    ModelStore,
    Pulled,
    PulledState,
)
from gateway.services.models.ports import Offer, Registry, RegistryRefusedError, Tryout
from gateway.services.models.rules import MOST_STEP_US
from gateway.services.models.telling import rejected, repository_believed, repository_refused
from gateway.services.placer import Now

log = structlog.get_logger()
WHATS = ("model", "device", "firmware")
FIRST_S = 60.0  # after the start: others have more to do then
AGAIN_S = 900.0  # what was out of reach is tried again
LONGEST_PULL_S = 1200.0
FLOOR = "trusted_ms"  # the latest time a trusted clock has told
LAST = "last_pull"
FLOOR_STEP_MS = 3_600_000  # written so often
TROUBLES = (
    (TransientError, "offline"), (TimeoutError, "offline"), (StorageError, "storage"),
    (ConfigError, "settings"),
)  # fmt: skip
Hand = Callable[[Pulled, bytes], Awaitable[str]]  # a meter's bundle goes out; why not, "" = well


class Outcome(NamedTuple):
    """What a pull came to.

    `word`: "pulled", "nothing new", "offline", "refused", "storage", "settings" or "failed".
    """

    word: str
    detail: str
    new: tuple[str, ...] = ()


class Pulling:
    """The service. `built_ms`: no time before this program was made can be the true one."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self, store: ModelStore, care: ModelCare, deriver: Deriver, now: Now, tryout: Tryout,
        *, registry: Callable[[], Registry] | None, hand_out: Hand, every_s: float, built_ms: int,
    ) -> None:  # fmt: skip
        self._store = store
        self._care = care
        self._deriver = deriver
        self._now = now
        self._tryout = tryout
        self._open = registry
        self._registry: Registry | None = None
        self._hand_out = hand_out
        self._every_s = every_s
        self._built_ms = built_ms
        self._lock = asyncio.Lock()
        self.last: Outcome | None = None

    async def run(self) -> None:
        """Pull now and then, until cancelled; without a repository do nothing."""
        await self._deriver.loaded.wait()
        await asyncio.sleep(FIRST_S if self._open is not None else float("inf"))
        while True:
            try:
                outcome = await self.pull()
            except StorageError as error:
                msg = f"models: {error}"
                raise TransientError(msg) from error
            soon = outcome.word == "offline"
            await asyncio.sleep(min(self._every_s, AGAIN_S) if soon else self._every_s)

    async def pull(self) -> Outcome:
        """Look what there is and take what is new; BadInputError without a repository."""
        if self._open is None:
            msg = "models.repository: not set, so there is nowhere to pull from"
            raise BadInputError(msg)
        async with self._lock:
            await self._care.load()
            await self._retry()
            outcome = await self._pull(self._open)
            self.last = outcome
            await self._store.note(LAST, f"{self._now.wall_ms()} {outcome.word}: {outcome.detail}")
            log.info("models_pulled", outcome=outcome.word, detail=outcome.detail)
            return outcome

    async def _pull(self, opening: Callable[[], Registry]) -> Outcome:
        try:
            return await self._take_new(opening)
        except RegistryRefusedError as error:
            return await self._refuse(error)
        except (TransientError, TimeoutError, StorageError, ConfigError) as error:
            word = next(word for kind, word in TROUBLES if isinstance(error, kind))
            return Outcome(word, str(error) or f"not done within {LONGEST_PULL_S:.0f} s")
        except Exception as error:  # what comes from elsewhere must never stop the intake
            log.exception("pull_failed")
            return Outcome("failed", f"{type(error).__name__}: {error}"[:LONGEST_WHY])

    async def _take_new(self, opening: Callable[[], Registry]) -> Outcome:
        at_ms, certain = await self._reference()
        if self._registry is None:
            self._registry = await asyncio.to_thread(opening)
        registry = self._registry
        async with asyncio.timeout(LONGEST_PULL_S):
            offers = await asyncio.to_thread(registry.offers, at_ms)
            wanted = self._wanted(offers)
            new = [await self._take(registry, one, certain=certain) for one in wanted]
        if certain:
            await self._settle(offers)
        await self._deriver.report([repository_believed(self._now.wall_ms())])
        said = f"{len(new)} new of {len(offers)} offered"
        if not certain:
            said += "; the clock is not trusted, so whether this is the newest cannot be said"
        return Outcome("pulled" if new else "nothing new", said, tuple(new))

    async def _reference(self) -> tuple[int, bool]:
        """Return the time to judge expiry by, and whether it is sure (docs/adr/0021).

        An untrusted clock is not asked at all, be it behind or ahead: then only the latest time
        that is known to have passed counts. A trusted clock says what it says.
        """
        known = int((await self._store.noted()).get(FLOOR, "0"))
        if not self._now.trusted():
            return max(known, self._built_ms), False
        now_ms = self._now.wall_ms()
        if now_ms - known > FLOOR_STEP_MS or now_ms < known:
            await self._store.note(FLOOR, str(now_ms))
        return now_ms, True

    async def _refuse(self, error: RegistryRefusedError) -> Outcome:
        now_ms = self._now.wall_ms()
        told = Happening(now_ms, "repository_refused", "", detail=f"{error.why}: {error.detail}")
        await self._store.change([told])
        await self._deriver.report([repository_refused(error.why, error.detail, now_ms)])
        return Outcome("refused", f"{error.why}: {error.detail}")

    def _wanted(self, offers: Sequence[Offer]) -> list[Pulled]:
        """Return what is new and for us: of each family only the newest, and only if it rises."""
        known = {(one.path, one.sha256) for one in self._care.pulled.values()}
        highest: dict[tuple[str, str, str, str], int] = {}
        for one in self._care.pulled.values():
            highest[one.family] = max(highest.get(one.family, 0), one.version)
        meters = {track.info.id for track in self._deriver.tracks.values()}
        best: dict[tuple[str, str, str, str], Pulled] = {}
        for offer in offers:
            new = _pulled(offer)
            if new is None or (new.path, new.sha256) in known:
                continue
            chosen = best.get(new.family)
            floor = max(highest.get(new.family, 0), chosen.version if chosen else 0)
            if new.version > floor and (new.meter == EVERY_METER or new.meter in meters):
                best[new.family] = new
        return list(best.values())

    async def _take(self, registry: Registry, new: Pulled, *, certain: bool) -> str:
        """Fetch a file, store it, and see whether it may go on."""
        offer = Offer(new.path, new.custom["length"], new.sha256, {}, 0)
        body = await asyncio.to_thread(registry.fetch, offer)
        now_ms = self._now.wall_ms()
        new = replace(
            new, pulled_ms=now_ms, unproven_ms=None if certain else new.custom["expires_ms"]
        )
        told = Happening(now_ms, "verified", new.path, detail=f"sha256 {new.sha256[:16]}")
        new = replace(new, no=await self._store.add(new, body, told))
        self._care.pulled[new.no] = new
        await self._try(new, body)
        return new.path

    async def _try(self, new: Pulled, body: bytes) -> None:
        """Decide by what it is: a model is tried here, a bundle goes out to meters."""
        step_us: float | None = None
        if new.what == MODEL:
            tried = await self._tryout(body)
            step_us, why = tried
            if step_us is not None and step_us > MOST_STEP_US:
                why = f"too slow: {step_us:.0f} µs for a minute of data, {MOST_STEP_US:.0f} allowed"
            good = PulledState.COMPATIBLE
        else:
            why, good = await self._hand_out(new, body), PulledState.ROLLING_OUT
        state = PulledState.REJECTED if why else good
        new = replace(new, state=state, why=why, step_us=step_us)
        now_ms = self._now.wall_ms()
        detail = why or (f"{step_us:.0f} µs a minute" if step_us is not None else "")
        told = Happening(now_ms, state.value, new.path, detail=detail)
        await self._store.change([told], pulled=new)
        self._care.pulled[new.no] = new
        if why:
            await self._deriver.report([rejected(new, why, now_ms)])

    async def _retry(self) -> None:
        """Try what was stored and not tried, since the power went in between."""
        for new in list(self._care.pulled.values()):
            if new.state is PulledState.VERIFIED:
                await self._try(new, await self._store.body(new.no))

    async def _settle(self, offers: Sequence[Offer]) -> None:
        """Note of what came with a wrong clock that it is vouched for today too."""
        there = {(one.path, one.sha256) for one in offers}
        for one in list(self._care.pulled.values()):
            if one.unproven_ms is not None and (one.path, one.sha256) in there:
                proven = replace(one, unproven_ms=None)
                await self._store.change([], pulled=proven)
                self._care.pulled[one.no] = proven


def _pulled(offer: Offer) -> Pulled | None:
    """Return what an offer says it is; None for what this version knows nothing of."""
    told: Mapping[str, object] = offer.custom
    what, kind, meter = told.get("what"), told.get("kind"), told.get("meter")
    channel, version = told.get("channel", ""), told.get("version")
    texts = all(isinstance(one, str) for one in (what, kind, meter, channel))
    if not texts or what not in WHATS or type(version) is not int:
        log.warning("offer_unknown", path=offer.path)
        return None
    more = {**offer.custom, "length": offer.length, "expires_ms": offer.expires_ms}
    return Pulled(
        0, offer.path, offer.sha256, str(what), str(kind), str(meter), str(channel), version,
        more, 0, None, PulledState.VERIFIED,
    )  # fmt: skip

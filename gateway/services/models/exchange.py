"""Who judges changes: what is written, what the judging begins with, what people hear."""

import asyncio
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from gateway.domain.errors import BadInputError
from gateway.services.deriving import Deriver
from gateway.services.models.bench import Bench, Key
from gateway.services.models.forms import (
    AT_FIRST_MINUTE,
    LONGEST_WHY,
    Happening,
    ModelStore,
    Pulled,
    Trial,
    TrialState,
)
from gateway.services.models.telling import accepted, rejected
from gateway.services.placer import Now
from gateway.services.watch import detector_works_finding
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.contract import Model
from tinymodels.detect.kinds import open_package
from tinymodels.detect.package import unpack

log = structlog.get_logger()


class Exchange:
    """Changes of who judges, each one commit, after which memory follows.

    `pulled` are all files by number, `past` the trials that neither run nor judge.
    """

    def __init__(self, store: ModelStore, deriver: Deriver, now: Now) -> None:
        self._store = store
        self._deriver = deriver
        self._now = now
        self.bench = Bench()
        self.pulled: dict[int, Pulled] = {}
        self.past: dict[Key, Trial] = {}

    async def model(self, no: int) -> Model:
        """Return a file's model; BadInputError where it cannot be used."""
        body = await self._store.body(no)
        # In a thread: an autoencoder loads LiteRT with its network.
        model = await asyncio.to_thread(lambda: open_package(unpack(body)))
        # The voltage rule judges every reading already (gateway.pipeline.judge).
        return model.without_rule() if isinstance(model, CombinedModel) else model

    async def tell(self, trial: Trial, what: str, why: str) -> None:
        """Note what happened to a trial, and how far it is."""
        path = self.pulled[trial.pulled_no].path
        told = Happening(self._now.wall_ms(), what, path, *trial.key[1:], why[:LONGEST_WHY])
        await self._store.change([told], trials=self.bench.remembered([trial.key]))

    async def activate(self, trial: Trial, why: str) -> None:
        """Have a model judge in place of whatever does; one commit, then memory follows."""
        model = await self.model(trial.pulled_no)
        if trial.key in self.bench.trials:
            self.bench.remembered([trial.key])
        now_ms = self._now.wall_ms()
        from_ms = trial.facts.last_ms or AT_FIRST_MINUTE
        facts = replace(trial.facts, active_from_ms=from_ms, healthy=False, unclean_starts=0)
        new = replace(trial, state=TrialState.ACTIVE, since_ms=now_ms, why=why, facts=facts)
        over = self._active(trial.key[1:])
        retired = [replace(over, state=TrialState.RETIRED, since_ms=now_ms)] if over else []
        await self._exchange(new, model, retired, "activated")
        await self._deriver.report([
            accepted(new, now_ms), detector_works_finding(new.meter, now_ms, channel=new.channel)
        ])  # fmt: skip

    async def _exchange(
        self, new: Trial | None, model: Model | None, over: Sequence[Trial], what: str
    ) -> None:
        """Write who judges from now on, then have the judging begin with it."""
        trials = [*over, *([new] if new else [])]
        main = over[0] if new is None or what == "rolled_back" else new
        path = self.pulled[main.pulled_no].path
        told = [Happening(self._now.wall_ms(), what, path, *main.key[1:], main.why)]
        if new is not None and main is not new:
            back = self.pulled[new.pulled_no].path
            told.append(Happening(self._now.wall_ms(), "activated", back, *new.key[1:], new.why))

        async def work() -> None:
            await self._store.change(told, trials=trials)
            for one in over:
                self.bench.leave(one.key)
                self.past[one.key] = one
            if new is not None:
                self.past.pop(new.key, None)
                self.bench.enter(new, model)
                self.bench.begin_warm(new)

        await self._deriver.rewrite(work)
        log.info("model_changed", what=what, path=path, meter=main.meter, channel=main.channel)

    def _active(self, where: tuple[str, str]) -> Trial | None:
        return next(
            (one for one in self.bench.trials.values()
             if one.state is TrialState.ACTIVE and one.key[1:] == where), None,
        )  # fmt: skip

    async def end(self, trial: Trial, why: str) -> None:
        """End a trial that failed: in shadow it is rejected, as the judge it is rolled back."""
        now_ms = self._now.wall_ms()
        if trial.state is TrialState.ACTIVE:
            await self.step_down(trial, why)
        else:
            over = replace(trial, state=TrialState.REJECTED, since_ms=now_ms, why=why[:LONGEST_WHY])
            path = self.pulled[trial.pulled_no].path
            told = Happening(now_ms, "rejected", path, *trial.key[1:], over.why)
            await self._store.change([told], trials=[over])
            self.bench.leave(trial.key)
            self.past[trial.key] = over
        pulled = self.pulled[trial.pulled_no]
        await self._deriver.report([rejected(pulled, why, now_ms, trial.meter, trial.channel)])

    async def step_down(self, trial: Trial, why: str) -> Trial | None:
        """Give the judging back to the model before, or to what is fitted here; return which."""
        now_ms = self._now.wall_ms()
        bad = replace(trial, state=TrialState.ROLLED_BACK, since_ms=now_ms, why=why[:LONGEST_WHY])
        before: Trial | None = None
        model: Model | None = None
        for one in sorted(self.past.values(), key=lambda one: -one.since_ms):
            was_judge = one.state is TrialState.RETIRED and one.facts.active_from_ms
            if one.key[1:] != trial.key[1:] or not was_judge:
                continue
            try:
                model = await self.model(one.pulled_no)
            except BadInputError as error:
                log.warning("model_before_unusable", path=one.pulled_no, error=str(error))
                continue
            facts = replace(one.facts, healthy=True)
            before = replace(
                one, state=TrialState.ACTIVE, since_ms=now_ms, why="took over again", facts=facts
            )
            break
        await self._exchange(before, model, [bad], "rolled_back")
        works = detector_works_finding(bad.meter, now_ms, channel=bad.channel)
        await self._deriver.report([works])
        return before

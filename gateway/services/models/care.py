"""From shadow to judge and back: each decision is on the disk before it takes effect."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from msgspec.structs import replace

from gateway.domain.errors import BadInputError, NotFoundError, StorageError, TransientError
from gateway.pipeline.rollups import Bucket
from gateway.services.deriving import Deriver
from gateway.services.fitting import WARM_UP_MS
from gateway.services.models import rules
from gateway.services.models.bench import Key
from gateway.services.models.exchange import Exchange
from gateway.services.models.forms import (
    EVERY_METER,
    LONGEST_WHY,
    MODEL,
    Facts,
    Happening,
    ModelStore,
    Pulled,
    PulledState,
    Trial,
    TrialState,
)
from gateway.services.models.telling import accepted, rejected
from gateway.services.placer import Now
from gateway.services.tracks import Track

log = structlog.get_logger()
LOOK_S = 2.0
KEEP_S = 60.0  # scores wait so long for company: a commit costs the card
MOST_WAITING = 5000
AGAIN_MS = 600_000
MOST_SHADOWS = 3  # on one channel at a time


class ModelCare:
    """The service. Satisfies `ModelBench` too, which it hands to the judging."""

    def __init__(
        self, store: ModelStore, deriver: Deriver, now: Now, limits: Callable[[], rules.Limits],
        *, automatic: bool = True,
    ) -> None:  # fmt: skip
        self._store = store
        self._deriver = deriver
        self._now = now
        self._limits = limits
        self._automatic = automatic
        self._exchange = Exchange(store, deriver, now)
        self.bench = self._exchange.bench
        self.pulled = self._exchange.pulled
        self.past = self._exchange.past
        self._lock = asyncio.Lock()
        self._judged: dict[Key, int] = {}  # up to which minute
        self._ready: set[Key] = set()  # wait for a person
        self._loaded = False
        self._loading = asyncio.Lock()
        self._kept_s = now.mono_s()
        deriver.bench = self

    # -- for the judging --------------------------------------------------------------------------

    def chosen(self, meter: str) -> Mapping[str, Any]:
        """Return the models that shall judge a meter, by channel, in place of its own ones."""
        return self.bench.chosen(meter)

    def memory(self, meter: str, channel: str) -> bytes | None:
        """Return what a chosen model remembers that begins to judge now, once; else None."""
        return self.bench.memory(meter, channel)

    def minute(self, track: Track, channel: str, bucket: Bucket) -> None:
        """Take a minute that is over."""
        self.bench.minute(track, channel, bucket)

    def failed(self, meter: str, channel: str, error: str) -> None:
        """Hear that a channel's model, or the whole judge (channel ""), failed."""
        self.bench.failed(meter, channel, error)

    async def load(self) -> None:
        """Read what there is; does nothing the second time. Called before judging begins."""
        async with self._loading:
            if not self._loaded:
                await self._load()
                self._loaded = True

    async def _load(self) -> None:
        shelf = await self._store.load()
        self.pulled.update({one.no: one for one in shelf.pulled})
        for trial in shelf.trials:
            if trial.state not in (TrialState.SHADOW, TrialState.ACTIVE):
                self.past[trial.key] = trial
                continue
            await self._resume(trial)

    async def _resume(self, trial: Trial) -> None:
        try:
            model = await self._exchange.model(trial.pulled_no)
        except BadInputError as error:  # ModelRefusedError is one: of another version, say
            self.bench.enter(trial, None)
            self.bench.failures[trial.key] = str(error)[:LONGEST_WHY]
        else:
            self.bench.enter(trial, model)

    def counts(self) -> dict[str, int]:
        """Return how many trials are in each state."""
        every = (*self.bench.trials.values(), *self.past.values())
        states = Counter(one.state for one in every)
        return {state.value: states[state] for state in TrialState}

    # -- the service ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look every two seconds, until cancelled."""
        try:
            await self.load()
            await self._count_start()
            await self._deriver.loaded.wait()
            while True:
                await self.look()
                await asyncio.sleep(LOOK_S)
        except StorageError as error:
            msg = f"models: {error}"
            raise TransientError(msg) from error

    async def _count_start(self) -> None:
        """Count a start against every new judge, before it judges; an orderly end takes it back."""
        new = [
            one for one in self.bench.trials.values()
            if one.state is TrialState.ACTIVE and not one.facts.healthy
        ]  # fmt: skip
        for trial in new:
            trial.facts.unclean_starts += 1
        if new:
            await self._store.keep_scores((), new)

    async def close(self) -> None:
        """Put all on the disk; this end was an orderly one."""
        if not self._loaded:
            return
        for trial in self.bench.trials.values():
            trial.facts.unclean_starts = 0
        await self._keep(list(self.bench.trials))

    async def look(self) -> None:
        """Begin trials that are due, keep scores, and decide what can be decided."""
        async with self._lock:
            await self.load()
            await self._begin_trials()
            moved = list(self.bench.moved)
            waiting = len(self.bench.pending) >= MOST_WAITING
            if waiting or self._now.mono_s() - self._kept_s >= KEEP_S:
                await self._keep(moved)
            for key, why in list(self.bench.failures.items()):
                await self._exchange.end(self.bench.trials[key], why)
            for key in moved:
                if key in self.bench.trials:
                    await self._judge(self.bench.trials[key])

    async def _keep(self, keys: Sequence[Key]) -> None:
        self._kept_s = self._now.mono_s()
        trials = self.bench.remembered(keys)
        scores = self.bench.take_scores()
        if trials or scores:
            try:
                await self._store.keep_scores(scores, trials)
            except StorageError:
                self.bench.pending[:0] = scores
                raise
        self.bench.moved.difference_update(keys)

    async def _begin_trials(self) -> None:
        """Put every compatible model into shadow where it belongs."""
        for pulled in self.pulled.values():
            if pulled.what != MODEL or pulled.state is not PulledState.COMPATIBLE:
                continue
            for meter in self._meters(pulled):
                key = (pulled.no, meter, pulled.channel)
                if key not in self.past and key not in self.bench.trials:
                    await self._begin(pulled, key)
        for key in self.bench.cold():
            await self._warm_up(key)

    async def _warm_up(self, key: Key) -> None:
        """Let a model see the last days, so that it knows what a day has been like.

        Its trial was entered before: what comes while this lasts waits for it.
        """
        _, meter, channel = key
        minutes = await self._deriver.recent(meter, channel, WARM_UP_MS)
        await self.bench.warm_up(key, minutes.rows(), self._deriver.guard)

    def _meters(self, pulled: Pulled) -> list[str]:
        """Return the meters that have the channel and are meant."""
        return [
            track.info.id
            for track in self._deriver.tracks.values()
            if pulled.meter in (EVERY_METER, track.info.id)
            and (pulled.channel in track.info.channels or pulled.channel in track.roll.channels)
        ]

    async def _begin(self, pulled: Pulled, key: Key) -> None:
        """Begin one trial; older versions of the same family go out of its way."""
        now_ms = self._now.wall_ms()
        here = [one for one in self.bench.trials.values() if one.key[1:] == key[1:]]
        newer = [o for o in here if self._version(o) >= pulled.version and self._same(o, pulled)]
        shadows = [one for one in here if one.state is TrialState.SHADOW]
        older = [one for one in shadows if self._same(one, pulled) and one not in newer]
        trial = Trial(*key, TrialState.SHADOW, now_ms, "", Facts())
        if newer:
            why = f"version {self._version(newer[0])} is here already"
            trial = replace(trial, state=TrialState.RETIRED, why=why)
        elif len(shadows) - len(older) >= MOST_SHADOWS:
            return  # when one of them has ended
        over = [replace(o, state=TrialState.RETIRED, why="a newer version came") for o in older]
        try:
            model = await self._exchange.model(pulled.no)
        except BadInputError as error:
            trial = replace(trial, state=TrialState.REJECTED, why=str(error)[:LONGEST_WHY])
            over = []
        told = Happening(now_ms, trial.state.value, pulled.path, *key[1:], trial.why)
        await self._store.change([told], trials=[trial, *over])
        for one in over:
            self.bench.leave(one.key)
            self.past[one.key] = one
        if trial.state is TrialState.REJECTED:
            said = rejected(pulled, trial.why, now_ms, trial.meter, trial.channel)
            await self._deriver.report([said])
        if trial.state is not TrialState.SHADOW:
            self.past[key] = trial
        else:
            self.bench.enter(trial, model)
            await self._deriver.report([accepted(trial, now_ms)])

    def _version(self, trial: Trial) -> int:
        return self.pulled[trial.pulled_no].version

    def _same(self, trial: Trial, pulled: Pulled) -> bool:
        return self.pulled[trial.pulled_no].family == pulled.family

    # -- deciding ---------------------------------------------------------------------------------

    async def _judge(self, trial: Trial) -> None:
        limits = self._limits()
        if trial.state is TrialState.ACTIVE:
            verdict = rules.health(trial.facts, limits)
            if verdict.passed:
                trial.facts.healthy = True
                await self._exchange.tell(trial, "healthy", verdict.why)
        else:
            verdict = rules.at_once(trial.facts, limits)
            if verdict.passed is None and rules.is_due(trial.facts, limits):
                verdict = await self._judge_shadow(trial, limits)
        if verdict.passed is False:
            await self._exchange.end(trial, verdict.why)

    async def _judge_shadow(self, trial: Trial, limits: rules.Limits) -> rules.Verdict:
        """Judge a trial that is due, and activate it; again only after some more minutes."""
        if trial.facts.last_ms - self._judged.get(trial.key, 0) < AGAIN_MS:
            return rules.WAIT
        self._judged[trial.key] = trial.facts.last_ms
        await self._keep([trial.key])
        pairs = await self._store.scores(trial)
        verdict = rules.after_shadow(trial.facts, pairs, limits)
        if verdict.passed and self._automatic:
            return await self._if_fresh(trial, verdict)
        if verdict.passed and trial.key not in self._ready:
            self._ready.add(trial.key)
            await self._exchange.tell(trial, "ready", f"{verdict.why}; a person must activate it")
        return verdict

    async def _if_fresh(self, trial: Trial, verdict: rules.Verdict) -> rules.Verdict:
        """Activate, if it is sure that what vouched for the model was good when it came."""
        pulled = self.pulled[trial.pulled_no]
        if pulled.unproven_ms is not None:
            if not self._now.trusted():
                return rules.WAIT
            if self._now.wall_ms() > pulled.unproven_ms:
                why = "it came while the clock was wrong, and what vouched for it has expired since"
                return rules.Verdict(passed=False, why=f"{why}; pull again")
        await self._exchange.activate(trial, verdict.why)
        return verdict

    # -- by hand ----------------------------------------------------------------------------------

    async def activate_by_hand(
        self, path: str, meter: str, *, who: str, force: bool
    ) -> list[Trial]:
        """Have a model judge now, on every channel it was tried on, or one meter's.

        BadInputError for one that was rejected, unless forced; NotFoundError.
        """
        async with self._lock:
            await self.load()
            await self._begin_trials()
            known = [*self.bench.trials.values(), *self.past.values()]
            found = [
                one for one in known
                if self.pulled[one.pulled_no].path == path and meter in ("", one.meter)
            ]  # fmt: skip
            if not found:
                msg = f"no model {path[:100]!r} is here for that; see: wattwarden models list"
                raise NotFoundError(msg)
            bad = [o for o in found if o.state in (TrialState.REJECTED, TrialState.ROLLED_BACK)]
            if bad and not force:
                msg = f"{path} was {bad[0].state} on {bad[0].meter}: {bad[0].why}; add --force"
                raise BadInputError(msg)
            for trial in found:
                if trial.state is not TrialState.ACTIVE:
                    await self._exchange.activate(trial, f"by {who}")
            return found

    async def roll_back_by_hand(self, meter: str, channel: str, *, who: str) -> list[str]:
        """Give the judging back to the model before; return per channel what judges now.

        "" for meter or channel means all. NotFoundError where no model from elsewhere judges.
        """
        async with self._lock:
            await self.load()
            found = [
                one for one in self.bench.trials.values()
                if one.state is TrialState.ACTIVE
                and meter in ("", one.meter) and channel in ("", one.channel)
            ]  # fmt: skip
            if not found:
                msg = "no model from elsewhere judges there; see: wattwarden models list"
                raise NotFoundError(msg)
            told = []
            for trial in found:
                before = await self._exchange.step_down(trial, f"by {who}")
                now = self.pulled[before.pulled_no].path if before else "what is fitted here"
                told.append(f"{trial.meter} {trial.channel}: {now}")
            return told

"""Models from elsewhere beside those that judge: fed the same minutes, and what they made of them.

All in memory and on the event loop; `care` puts it on disk and decides.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from gateway.pipeline.rollups import Bucket
from gateway.services.hang_guard import HangGuard
from gateway.services.models.forms import Score, Trial, TrialState
from gateway.services.models.running import Heard, Runner, TrialFailedError, row_of
from gateway.services.tracks import Track
from tinymodels.detect.contract import Model
from tinymodels.detect.minutes import Row

log = structlog.get_logger()
TURN_MINUTES = 25  # minutes of a warm-up between which the event loop gets its turn
MOST_SCORES = 50_000  # that wait for the disk; what is beyond is not stored, and still counted
Key = tuple[int, str, str]  # Trial.key


class Bench:
    """Satisfies `ModelBench`."""

    def __init__(self) -> None:
        self.trials: dict[Key, Trial] = {}
        self.pending: list[Score] = []
        self.moved: set[Key] = set()  # trials whose facts are ahead of the disk
        self.failures: dict[Key, str] = {}
        self._runners: dict[Key, Runner] = {}
        self._by_channel: dict[tuple[str, str], list[Key]] = {}
        self._chosen: dict[str, dict[str, Model]] = {}
        self._memories: dict[tuple[str, str], bytes] = {}

    # -- what the judging asks --------------------------------------------------------------------

    def chosen(self, meter: str) -> Mapping[str, Any]:
        """Return the models that shall judge a meter, by channel, in place of its own ones."""
        return self._chosen.get(meter, {})

    def memory(self, meter: str, channel: str) -> bytes | None:
        """Return what a chosen model remembers that begins to judge now, once; else None."""
        return self._memories.pop((meter, channel), None)

    def minute(self, track: Track, channel: str, bucket: Bucket) -> None:
        """Take a minute that is over, in commit order; a part of one may come again."""
        keys = self._by_channel.get((track.info.id, channel))
        if not keys:
            return
        row = row_of(bucket)
        if row is None:
            return
        for key in list(keys):
            trial = self.trials[key]
            shadow = trial.state is TrialState.SHADOW
            champion = champion_of(track, channel) if shadow else None
            try:
                step = self._runners[key].take(row, champion, track.guard)
            except TrialFailedError as error:
                self._fail(key, str(error))
                continue
            self.moved.add(key)
            if step is not None and shadow and len(self.pending) < MOST_SCORES:
                self.pending.append(Score(*key, *step))

    def failed(self, meter: str, channel: str, error: str) -> None:
        """Hear that a channel's model failed; channel "": the judge did, whoever's fault it is.

        Then every model of the meter that has not been well for its first hours is suspected.
        """
        for key, trial in self.trials.items():
            if trial.state is not TrialState.ACTIVE or trial.meter != meter:
                continue
            if trial.channel == channel or (not channel and not trial.facts.healthy):
                self._fail(key, error)

    def _fail(self, key: Key, why: str) -> None:
        log.warning("model_trial_failed", meter=key[1], channel=key[2], why=why)
        self.failures.setdefault(key, why)
        self._drop(key)

    # -- what care does ---------------------------------------------------------------------------

    def enter(self, trial: Trial, model: Model | None) -> None:
        """Run a trial, or go on with one: in shadow beside the champion, or as the judge.

        Without a model, since that cannot be opened, it is only known.
        """
        self.leave(trial.key)
        self.trials[trial.key] = trial
        if model is None:
            return
        try:
            self._runners[trial.key] = Runner(model, trial.facts)
        except Exception as error:  # noqa: BLE001 - a model is data, and any of it may be wrong
            self._fail(trial.key, f"{type(error).__name__}: {error}")
            return
        self._by_channel.setdefault(trial.key[1:], []).append(trial.key)
        if trial.state is TrialState.ACTIVE:
            self._chosen.setdefault(trial.meter, {})[trial.channel] = model

    def cold(self) -> list[Key]:
        """Return the trials that must be warmed up before anything is heard of them."""
        return [key for key, runner in self._runners.items() if runner.cold]

    async def warm_up(self, key: Key, rows: Iterable[Row], guard: HangGuard) -> None:
        """Have a trial's model see the minutes before, in turns with everything else."""
        try:
            for number, _ in enumerate(self._runners[key].warm_up(rows, guard)):
                if number % TURN_MINUTES == 0:
                    await asyncio.sleep(0)
        except TrialFailedError as error:
            self._fail(key, str(error))
        self.moved.add(key)

    def begin_warm(self, trial: Trial) -> None:
        """Have the judge go on with what a trial's model has learnt of the last days."""
        if trial.facts.memory:
            self._memories[trial.key[1:]] = trial.facts.memory

    def leave(self, key: Key) -> None:
        """End a trial: it neither runs nor judges any more."""
        trial = self.trials.pop(key, None)
        self._drop(key)
        self.failures.pop(key, None)
        self.moved.discard(key)
        if trial is not None and trial.state is TrialState.ACTIVE:
            self._chosen.get(trial.meter, {}).pop(trial.channel, None)

    def _drop(self, key: Key) -> None:
        if self._runners.pop(key, None) is not None:
            self._by_channel[key[1:]].remove(key)

    def remembered(self, keys: Iterable[Key]) -> list[Trial]:
        """Return trials with what their models remember now, for the disk."""
        known = [key for key in keys if key in self.trials]
        for key in known:
            if key not in self._runners:
                continue
            try:
                self._runners[key].remember()
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(key, f"{type(error).__name__}: {error}")
        return [self.trials[key] for key in known]

    def take_scores(self) -> list[Score]:
        """Return the scores that wait for the disk, once."""
        scores, self.pending = self.pending, []
        return scores


def champion_of(track: Track, channel: str) -> Heard | None:
    """Return what judges a channel now, None for nothing that could be heard."""
    model = track.judge.models.get(channel)
    if model is None or not hasattr(model, "new_state"):
        return None
    return Heard(
        model,
        lambda: track.judge.memory(channel),
        alarmed=track.judge.is_unusual(channel),
        pace=track.judge.pace(channel),
    )

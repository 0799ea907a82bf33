"""What people and programs may do with models from elsewhere, by name."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway.domain.errors import BadInputError
from gateway.services.models.care import ModelCare
from gateway.services.models.forms import MODEL, ModelStore, Pulled, PulledState, Trial, TrialState
from gateway.services.models.pulling import Outcome, Pulling
from gateway.services.models.waves import Waves

Args = Mapping[str, object]
Operation = Callable[[Args, str], Awaitable[dict[str, object]]]
ANSWER_S = 40.0  # the control socket waits a minute
MOST_PAST = 50
MOST_HAPPENINGS = 1000


class ModelOperations:
    """`models.pull`, `.activate`, `.rollback`, which change something; `.history`, `.waves`."""

    def __init__(
        self, care: ModelCare, pulling: Pulling, waves: Waves, store: ModelStore
    ) -> None:  # fmt: skip
        self._care = care
        self._pulling = pulling
        self._waves = waves
        self._store = store
        self._task: asyncio.Task[Outcome] | None = None

    def changing(self) -> dict[str, Operation]:
        """Return what changes something; the caller notes it in the audit."""
        return {
            "models.pull": self._pull,
            "models.activate": self._activate,
            "models.rollback": self._roll_back,
        }

    def reading(self) -> dict[str, Operation]:
        """Return what changes nothing."""
        return {"models.history": self._history, "models.waves": self._list_waves}

    async def _pull(self, _: Args, __: str) -> dict[str, object]:
        """Look into the repository now; gives {outcome, detail, new}, "running" while it lasts."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._pulling.pull())
        done, _pending = await asyncio.wait({self._task}, timeout=ANSWER_S)
        if not done:
            return {"outcome": "running", "detail": "still fetching; ask again", "new": []}
        task, self._task = self._task, None
        outcome = task.result()
        await self._care.look()
        return {"outcome": outcome.word, "detail": outcome.detail, "new": list(outcome.new)}

    async def _activate(self, args: Args, who: str) -> dict[str, object]:
        """Have {path, meter?, force?} judge now, whatever its time in shadow."""
        path, meter, force = _text(args, "path"), _text(args, "meter", ""), args.get("force", False)
        if not isinstance(force, bool):
            msg = "force: must be true or false"
            raise BadInputError(msg)
        found = await self._care.activate_by_hand(path, meter, who=who, force=force)
        return {"activated": [{"meter": one.meter, "channel": one.channel} for one in found]}

    async def _roll_back(self, args: Args, who: str) -> dict[str, object]:
        """Give {meter?, channel?} back to the model before; gives what judges now."""
        meter, channel = _text(args, "meter", ""), _text(args, "channel", "")
        return {"now": await self._care.roll_back_by_hand(meter, channel, who=who)}

    async def _history(self, args: Args, _: str) -> dict[str, object]:
        """Return what happened last, the newest first ({limit?})."""
        limit = args.get("limit", 100)
        if type(limit) is not int or not 0 < limit <= MOST_HAPPENINGS:
            msg = f"limit: a whole number from 1 to {MOST_HAPPENINGS}"
            raise BadInputError(msg)
        found = await self._store.happenings(limit)
        return {"items": [one._asdict() for one in found], "next": None}

    async def _list_waves(self, _: Args, __: str) -> dict[str, object]:
        """Return how far bundles are that go out in waves."""
        await self._waves.load()
        items = [
            {
                "path": one.path, "kind": one.kind, "version": one.version, "wave": one.stage + 1,
                "meters": one.meters, "healthy_s": round(one.healthy_s), "state": one.state,
                "why": one.why,
            }
            for one in self._waves.waves.values()
        ]  # fmt: skip
        return {"items": items, "next": None}


def listed(care: ModelCare) -> list[dict[str, object]]:
    """Return every model from elsewhere: its trials, and what was refused before any."""
    trials = list(care.bench.trials.values())
    past = sorted(care.past.values(), key=lambda one: -one.since_ms)[:MOST_PAST]
    found = [_trial(one, care.pulled[one.pulled_no]) for one in (*trials, *past)]
    tried = {one.pulled_no for one in (*trials, *past)}
    waiting = [one for one in care.pulled.values() if one.no not in tried and one.what == MODEL]
    return found + [_untried(one) for one in waiting[-MOST_PAST:]]


def _trial(trial: Trial, pulled: Pulled) -> dict[str, object]:
    facts = trial.facts
    slot = "champion" if trial.state is TrialState.ACTIVE else trial.state.value
    return {
        "meter": trial.meter, "channel": trial.channel, "kind": pulled.kind, "slot": slot,
        "version": str(pulled.version), "fitted_ms": None, "where": "gateway",
        "path": pulled.path, "state": trial.state.value, "since_ms": trial.since_ms,
        "why": trial.why, "minutes": facts.minutes, "alarms": len(facts.events),
        "champion_alarms": len(facts.champion_events), "step_us": facts.step_us or pulled.step_us,
        "healthy": facts.healthy if trial.state is TrialState.ACTIVE else None,
    }  # fmt: skip


def _untried(pulled: Pulled) -> dict[str, object]:
    slot = "rejected" if pulled.state is PulledState.REJECTED else "waiting"
    return {
        "meter": pulled.meter, "channel": pulled.channel, "kind": pulled.kind, "slot": slot,
        "version": str(pulled.version), "fitted_ms": None, "where": "gateway",
        "path": pulled.path, "state": pulled.state.value, "since_ms": pulled.pulled_ms,
        "why": pulled.why, "minutes": 0, "alarms": 0, "champion_alarms": 0,
        "step_us": pulled.step_us, "healthy": None,
    }  # fmt: skip


def _text(args: Args, key: str, default: str | None = None) -> str:
    value = args.get(key, default)
    if not isinstance(value, str):
        msg = f"{key}: must be given, as text"
        raise BadInputError(msg)
    return value

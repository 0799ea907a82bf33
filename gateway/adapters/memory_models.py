"""Models from elsewhere in memory: the twin of the SQLite store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.domain.errors import NotFoundError, StorageError
from gateway.services.models.forms import (
    Facts,
    Happening,
    Pulled,
    Score,
    Shelf,
    Trial,
    TrialState,
)

OVER = (TrialState.REJECTED, TrialState.RETIRED, TrialState.ROLLED_BACK)


@dataclass
class MemoryModels:
    """Satisfies `ModelStore`; what it returns is the caller's own, as from a disk."""

    files: dict[int, tuple[Pulled, bytes]] = field(default_factory=dict)
    trials: dict[tuple[int, str, str], Trial] = field(default_factory=dict)
    points: dict[tuple[int, str, str, int], Score] = field(default_factory=dict)
    told: list[Happening] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    async def load(self) -> Shelf:
        """Read what there is."""
        pulled = [pulled for pulled, _ in self.files.values()]
        return Shelf(pulled, [_own(trial) for _, trial in sorted(self.trials.items())])

    async def body(self, no: int) -> bytes:
        """Return a file's bytes; NotFoundError."""
        if no not in self.files:
            msg = f"the model file {no} is kept no more; pull it again"
            raise NotFoundError(msg)
        return self.files[no][1]

    async def add(self, pulled: Pulled, body: bytes, told: Happening) -> int:
        """Store a new file and what is told of it; return its number."""
        if any((o.path, o.sha256) == (pulled.path, pulled.sha256) for o, _ in self.files.values()):
            msg = f"{pulled.path} is there already"
            raise StorageError(msg)
        no = max(self.files, default=0) + 1
        self.files[no] = (msgspec.structs.replace(pulled, no=no), body)
        self.told.append(told)
        return no

    async def change(
        self, told: Sequence[Happening], *, pulled: Pulled | None = None,
        trials: Sequence[Trial] = (),
    ) -> None:  # fmt: skip
        """Write what is told, a file's new state, and trials' new states, all or nothing."""
        new = self.trials | {trial.key: _own(trial) for trial in trials}
        active = [one.key[1:] for one in new.values() if one.state is TrialState.ACTIVE]
        if len(active) != len(set(active)):
            msg = "a channel has one active model at any moment"
            raise StorageError(msg)
        self.trials = new
        for trial in trials:
            if trial.state in OVER:
                self.points = {k: s for k, s in self.points.items() if k[:3] != trial.key}
        if pulled is not None:
            self.files[pulled.no] = (pulled, self.files[pulled.no][1])
        self.told.extend(told)

    async def keep_scores(self, scores: Sequence[Score], trials: Sequence[Trial]) -> None:
        """Add scores, and how far their trials are."""
        self.points |= {score[:4]: score for score in scores}
        for trial in trials:
            if trial.key in self.trials:
                facts = _own(trial).facts
                self.trials[trial.key] = msgspec.structs.replace(
                    self.trials[trial.key], facts=facts
                )

    async def scores(self, trial: Trial) -> Sequence[tuple[int, float, float]]:
        """Return a trial's (start_ms, score, champion's score) in time order."""
        found = sorted(
            (key[3], score) for key, score in self.points.items() if key[:3] == trial.key
        )
        return [(start_ms, score.score, score.champion) for start_ms, score in found]

    async def happenings(self, limit: int) -> Sequence[Happening]:
        """Return what happened last, the newest first."""
        return self.told[: -limit - 1 : -1]

    async def note(self, key: str, value: str) -> None:
        """Keep a small text under a name."""
        self.notes[key] = value

    async def noted(self) -> Mapping[str, str]:
        """Return all small texts."""
        return dict(self.notes)


def _own(trial: Trial) -> Trial:
    facts = msgspec.msgpack.decode(msgspec.msgpack.encode(trial.facts), type=Facts)
    return msgspec.structs.replace(trial, facts=facts)

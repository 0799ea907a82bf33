"""Does a roof give what it used to? Each day against the site's own clear-sky envelope.

The envelope of a half hour of the day is what the site gave there at its best in the last six
weeks, the last one left out, so that what is judged does not judge itself. A day's yield is how
near the day came to the envelope in its brighter half hours; clouds make single days poor, a lost
string makes the best of a week poor. Beside sun-like neighbours a day's clouds are known, and
the yield relative to theirs says it sooner. Days are UTC: no clock change moves an envelope.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Self

import msgspec
import numpy as np
from msgspec import Struct, field

from tinymodels.detect.contract import (
    Explanation,
    FitRefusedError,
    ModelRefusedError,
    Options,
    Verdict,
)
from tinymodels.detect.fitted import FittedModel
from tinymodels.detect.limits import choose_limit
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Floats, Minutes, Row, Times

VERSION: Final = 1
SLOT_MS: Final = 30 * MINUTE_MS
SLOTS: Final = DAY_MS // SLOT_MS
LATELY_DAYS: Final = 7
ENVELOPE_DAYS: Final = 42
ENVELOPE_SHARE: Final = 0.9  # best but for one day in ten: gusts of light at cloud edges
LEAST_DAYS: Final = 21  # of envelope
BRIGHT: Final = 0.5  # of the envelope's highest half hour: low sun says little
BRIGHT_KNOWN: Final = 0.6
YIELD_SHARE: Final = 0.8  # a day is as good as the best fifth of its bright half hours
LATELY_LEAST: Final = 4  # days with a yield in the last week
PEERS_DAYS: Final = 5
# Neighbours under thick clouds tell little of one another.
PEERS_LEAST: Final = 0.35
# No loss below this is told: dirt, heat and the season do as much.
LEAST_LOSS: Final = 0.18
LEAST_FIT_DAYS: Final = 60
Yields = Mapping[int, float]  # day number (UTC) -> yield


class SolarState(Struct, array_like=True):
    """The open half hour and day, the days of the envelope, and the last yields."""

    slot: int = -1
    total: float = 0.0
    count: int = 0
    day: int = -1
    today: list[float] = field(default_factory=lambda: [math.nan] * SLOTS)
    days: list[tuple[int, list[float]]] = field(default_factory=list)
    yields: list[tuple[int, float]] = field(default_factory=list)
    score: float = 0.0
    since_ms: int = 0


class SolarModel(FittedModel, frozen=True):
    """The limit on the loss of the best of a week; `peers` are neighbours' yields, by day.

    A score is 1 where nothing but the limit's loss is missing: the larger of loss / `loss` and
    relative loss / `peer_loss`.
    """

    kind: ClassVar[str] = "solar"
    clear_part: ClassVar[float] = 0.8

    loss: float
    peer_loss: float
    limit: float
    from_ms: int
    to_ms: int
    peers: dict[int, float] = field(default_factory=dict)
    version: int = VERSION

    @property
    def step_ms(self) -> int:
        """A day."""
        return DAY_MS

    @property
    def memory_ms(self) -> int:
        """How far back a score looks: to the envelope of the first day of the last week."""
        return (ENVELOPE_DAYS + 2 * LATELY_DAYS + 1) * DAY_MS

    @property
    def trained(self) -> tuple[int, int]:
        """Return the span of the data."""
        return self.from_ms, self.to_ms

    def with_peers(self, peers: Yields) -> Self:
        """Return the same model beside these neighbours."""
        return msgspec.structs.replace(self, peers=dict(peers))

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Return the model, or raise ModelRefusedError."""
        try:
            model = msgspec.msgpack.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            msg = f"no model of a roof: {error}; it must be fitted anew"
            raise ModelRefusedError(msg) from error
        if model.version != VERSION or not (model.loss > 0 and model.peer_loss > 0):
            msg = f"a model of a roof of version {model.version}: it must be fitted anew"
            raise ModelRefusedError(msg)
        return model

    def new_state(self) -> SolarState:
        """Return a state that has seen nothing."""
        return SolarState()

    def load_state(self, body: bytes) -> SolarState:
        """Return a dumped state, a new one where it does not fit."""
        try:
            return msgspec.msgpack.decode(body, type=SolarState)
        except msgspec.MsgspecError:
            return SolarState()

    def step(self, state: SolarState, row: Row) -> Verdict | None:
        """Take in one minute; return the verdict on the day it shows to be over."""
        if math.isnan(row.p_mean_w):
            return None
        day, slot = row.start_ms // DAY_MS, row.start_ms // SLOT_MS
        if slot != state.slot:
            _close_slot(state)
            state.slot = slot
        verdict = None
        if day != state.day:
            if state.day >= 0:
                verdict = self.close_day(state)
            state.day, state.today = day, [math.nan] * SLOTS
        state.total += row.p_mean_w
        state.count += 1
        return verdict

    def close_day(self, state: SolarState) -> Verdict:
        """Judge the open day, and keep it."""
        keep_day(state)
        score = self._score(state)
        if score <= self.clear_limit:
            state.since_ms = 0
        elif not state.since_ms:
            state.since_ms = state.day * DAY_MS
        state.score = score
        return Verdict(score, score > self.limit)

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return the starts and scores of all days that are over."""
        state, starts, scores = SolarState(), [], []
        for day, slots in daily(minutes)[:-1]:
            state.day, state.today = day, slots
            starts.append(day * DAY_MS)
            scores.append(self.close_day(state).score)
        return np.array(starts, dtype=np.int64), np.array(scores, dtype=np.float64)

    def explain(self, state: SolarState) -> Explanation:
        """Say what part of the envelope the best of the last week reached."""
        lately = lately_yields(state)
        best = max(lately) if lately else math.nan
        return Explanation(
            "yield", best, 1.0, "", state.since_ms or state.day * DAY_MS, state.score
        )

    def _score(self, state: SolarState) -> float:
        own = own_loss(state, self.peers) / self.loss
        beside = peer_loss(state, self.peers) / self.peer_loss if self.peers else 0.0
        return max(own, beside, 0.0)


def _close_slot(state: SolarState) -> None:
    """Write the open half hour's mean into the day."""
    if state.count:
        state.today[state.slot % SLOTS] = state.total / state.count
    state.total, state.count = 0.0, 0


def keep_day(state: SolarState) -> None:
    """Take the open day in: its yield against the envelope so far, and then its half hours."""
    found = day_yield(state.today, envelope(state))
    if not math.isnan(found):
        state.yields.append((state.day, found))
    oldest = state.day - ENVELOPE_DAYS - LATELY_DAYS
    state.yields = [item for item in state.yields if item[0] > state.day - ENVELOPE_DAYS]
    state.days = [item for item in state.days if item[0] > oldest]
    state.days.append((state.day, state.today))


def envelope(state: SolarState) -> Floats:
    """Return what each half hour gave at its best, NaN where too little is known."""
    before = [slots for day, slots in state.days if day <= state.day - LATELY_DAYS]
    if len(before) < LEAST_DAYS:
        return np.full(SLOTS, np.nan)
    table = np.sort(np.array(before), axis=0)  # NaN last
    known = np.isfinite(table).sum(axis=0)
    rank = np.maximum((ENVELOPE_SHARE * (known - 1)).astype(int), 0)
    best: Floats = table[rank, np.arange(SLOTS)]
    best[known < LEAST_DAYS] = np.nan
    return best


def day_yield(slots: Sequence[float], best: Floats) -> float:
    """Return how near a day came to the envelope, NaN where it was dark or unknown."""
    if not np.isfinite(best).any() or float(np.nanmax(best)) <= 0:
        return math.nan
    bright = np.nan_to_num(best) >= BRIGHT * float(np.nanmax(best))
    ratio = np.asarray(slots)[bright] / best[bright]
    ratio = np.sort(ratio[np.isfinite(ratio)])
    if len(ratio) < BRIGHT_KNOWN * int(bright.sum()):
        return math.nan
    return float(ratio[int(YIELD_SHARE * (len(ratio) - 1))])


def lately_yields(state: SolarState) -> list[float]:
    """Return the yields of the last week."""
    return [found for day, found in state.yields if day > state.day - LATELY_DAYS]


def own_loss(state: SolarState, peers: Yields) -> float:
    """Return what the best of the last week lacks of the envelope, 0 where too little is known.

    A week that was no better for the neighbours is a week of clouds: it is judged by theirs.
    """
    lately = lately_yields(state)
    if len(lately) < LATELY_LEAST:
        return 0.0
    days = range(state.day - LATELY_DAYS + 1, state.day + 1)
    theirs = max((peers[day] for day in days if day in peers), default=1.0)
    return 1 - max(lately) / min(max(theirs, PEERS_LEAST), 1.0)


def peer_loss(state: SolarState, peers: Yields) -> float:
    """Return what the last days lack of what the neighbours' yields promise, 0 if unknown."""
    both = [
        found / peers[day]
        for day, found in state.yields
        if day > state.day - LATELY_DAYS and peers.get(day, 0.0) >= PEERS_LEAST
    ][-PEERS_DAYS:]
    if len(both) < LATELY_LEAST - 1:
        return 0.0
    return 1 - float(np.median(both))


def daily(minutes: Minutes) -> list[tuple[int, list[float]]]:
    """Return the means of the half hours of each day with data, by day number."""
    known = np.isfinite(minutes["p_mean_w"])
    starts, power = minutes.start_ms[known], minutes["p_mean_w"][known]
    if not len(starts):
        return []
    slots, edges = np.unique(starts // SLOT_MS, return_index=True)
    means = np.add.reduceat(power, edges) / np.diff(np.append(edges, len(starts)))
    found: dict[int, list[float]] = {}
    for slot, mean in zip(slots.tolist(), means.tolist(), strict=True):
        found.setdefault(slot // SLOTS, [math.nan] * SLOTS)[slot % SLOTS] = mean
    return sorted(found.items())


def yields(minutes: Minutes) -> dict[int, float]:
    """Return the yield of each day that has one: what neighbours are told by."""
    state, found = SolarState(), {}
    for day, slots in daily(minutes):
        state.day, state.today = day, slots
        keep_day(state)
        if state.yields and state.yields[-1][0] == day:
            found[day] = state.yields[-1][1]
    return found


def sun_like(many: Sequence[Yields]) -> dict[int, float]:
    """Return the median yield of neighbours by day, where at least two are known."""
    days = sorted({day for one in many for day in one})
    found = {}
    for day in days:
        known = [one[day] for one in many if day in one]
        if len(known) >= 2:  # noqa: PLR2004 - one may be broken itself
            found[day] = float(np.median(known))
    return found


class SolarFitter:
    """Chooses the losses that a site shows by itself; `peers` are its neighbours' yields."""

    def __init__(self, peers: Yields | None = None, *, own: bool = True) -> None:
        """Judge by the own envelope, unless `own` is False, and beside neighbours if any."""
        self.peers = dict(peers or {})
        self.own = own

    def fit(self, minutes: Minutes, options: Options) -> SolarModel:
        """Choose limits from at least 60 days; FitRefusedError with fewer or without sun."""
        days = daily(minutes)
        if len(days) < LEAST_FIT_DAYS:
            msg = f"{len(days)} days of generation; a fit takes {LEAST_FIT_DAYS}"
            raise FitRefusedError(msg)
        if not yields(minutes):
            msg = "no day has a yield: there was no sun, or too little is known"
            raise FitRefusedError(msg)
        span = (int(minutes.start_ms[0]), int(minutes.start_ms[-1]) + MINUTE_MS)
        never = 1e9
        loss = self._alone(minutes, options, (1.0, never), span) if self.own else never
        beside = self._alone(minutes, options, (never, 1.0), span) if self.peers else never
        return SolarModel(loss, beside, 1.0, *span, self.peers)

    def _alone(
        self, minutes: Minutes, options: Options, losses: tuple[float, float], span: tuple[int, int]
    ) -> float:
        """Return the loss that one of both ways may be given within its half of the budget."""
        ways = int(self.own) + bool(self.peers)
        probe = SolarModel(*losses, 1.0, *span, self.peers)
        starts, scores = probe.score(minutes)
        found = choose_limit(probe, starts, scores, options.alarms_per_month / ways)
        return max(found, LEAST_LOSS)


FITTER: Final = SolarFitter()

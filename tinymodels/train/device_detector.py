"""The Gaussian that a meter judges by, as a detector of minutes: judged like any other."""

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Self

import msgspec
import numpy as np

from tinymodels.detect.contract import Explanation, ModelRefusedError, Options, Verdict
from tinymodels.detect.device_features import NAMES, Averages, featurise_table
from tinymodels.detect.device_model import DeviceGaussian, classify, hour_classes
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Floats, Minutes, Row, Times
from tinymodels.train.card import fault_table
from tinymodels.train.figures import Report
from tinymodels.train.fitting import (
    Order,
    device_gaussian,
    device_row,
    device_table,
    utc_offset_min,
)
from tinymodels.train.gate import Checks

CLEAR_D2_PART: Final = 0.7  # docs/firmware/model.md: the event is over below this part of d² at ε
TIMED_MS: Final = DAY_MS
POWER: Final = NAMES.index("power")  # known wherever the meter learns anything


@dataclass
class DeviceState:
    """What the meter remembers, and the last score."""

    averages: Averages = field(default_factory=Averages)
    score: float = 0.0


@dataclass(frozen=True)
class DeviceDetector:
    """Scores are d as a part of what it is at ε: above 1 the meter tells an anomaly."""

    kind: ClassVar[str] = "device"

    gaussian: DeviceGaussian
    zone_offset_min: int
    trained: tuple[int, int]
    limit: float = 1.0
    step_ms: int = MINUTE_MS

    @property
    def clear_limit(self) -> float:
        """Return the score below which the meter takes an anomaly for over."""
        return self.limit * math.sqrt(CLEAR_D2_PART)

    def with_limit(self, limit: float) -> Self:
        """Return the same with another limit."""
        return replace(self, limit=limit)

    def new_state(self) -> DeviceState:
        """Return a state that has seen nothing."""
        return DeviceState()

    def step(self, state: DeviceState, row: Row) -> Verdict | None:
        """Take in one minute; None where the meter judges nothing (no power, an outage)."""
        if not math.isfinite(row.p_mean_w):
            return None
        x = state.averages.add(device_row(row))
        if x is None:
            return None
        state.score = float(self._parts(np.array([row.start_ms]), np.array([x]))[0])
        return Verdict(state.score, state.score > self.limit)

    def score(self, minutes: Minutes) -> tuple[Times, Floats]:
        """Return the minutes that the meter would judge, and their scores."""
        x = featurise_table(device_table(minutes))
        judged = np.isfinite(x[:, POWER])
        at_ms = minutes.start_ms[judged]
        return at_ms, self._parts(at_ms, x[judged])

    def _parts(self, at_ms: Times, x: Floats) -> Floats:
        classes = classify(at_ms, hour_classes(), self.zone_offset_min)
        at_eps = 2 * (self.gaussian.peak() - self.gaussian.log_eps)[classes]
        result: Floats = np.sqrt(self.gaussian.d2(x, classes) / at_eps)
        return result

    def explain(self, state: DeviceState) -> Explanation:
        """Say how far away all is together; the meter's own event names the feature."""
        return Explanation("all", state.score, 0.0, "", 0, state.score)

    def dump_state(self, state: DeviceState) -> bytes:
        """Return the state as msgpack."""
        return msgspec.msgpack.encode((vars(state.averages), state.score))

    def load_state(self, body: bytes) -> DeviceState:
        """Return a dumped state, a new one where it is none."""
        state = DeviceState()
        try:
            kept, state.score = msgspec.msgpack.decode(body, type=tuple[dict[str, float], float])
        except msgspec.MsgspecError:
            return state
        vars(state.averages).update(kept)
        return state

    def to_bytes(self) -> bytes:
        """Return nothing: a meter takes the body of its bundle (tinymodels.detect.device_file)."""
        return b""

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Refuse: this detector is fitted anew wherever it is judged."""
        msg = f"{len(body)} bytes: a meter's model is judged where it was fitted"
        raise ModelRefusedError(msg)


class DeviceFitter:
    """Fits what a meter gets, for one channel with voltage."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def fit(self, minutes: Minutes, options: Options) -> DeviceDetector:
        """Return the detector; FitRefusedError with too little history."""
        order = replace(self._order, alarms_per_month=options.alarms_per_month)
        gaussian = device_gaussian(minutes, order, voltage=options.voltage)
        last_ms = int(minutes.start_ms[-1])
        offset_min = utc_offset_min(order.zone, last_ms)
        return DeviceDetector(gaussian, offset_min, (int(minutes.start_ms[0]), last_ms))


def device_checks(
    body: bytes, card: Mapping[str, Any], detector: DeviceDetector, sample: Minutes, report: Report
) -> Checks:
    """Return what the gate must know of a bundle; `detector` is what is in it, on the gateway."""
    problems = []
    day = sample.between(int(sample.start_ms[0]), int(sample.start_ms[0]) + TIMED_MS)
    began_s = time.process_time()
    _, scores = detector.score(day)
    step_us = 1e6 * (time.process_time() - began_s) / max(len(day), 1)
    if not len(scores) or not np.isfinite(scores).all():
        problems.append("usual minutes give scores that are no numbers")
    if not card["vectors"]:
        problems.append("the bundle has no self-test")
    whole = {
        **card,
        "schema": 1,
        "channel": "*",
        "features": sorted({name for names in card["channels"].values() for name in names}),
        "limits": {"at_epsilon": 1.0},
        "faults": fault_table(report),
        "sizes": {"bundle": len(body)},
        "hashes": {"bundle": hashlib.sha256(body).hexdigest()},
    }
    return Checks(size_bytes=len(body), step_us=step_us, problems=tuple(problems), card=whole)

"""The meter judges its own readings: Gaussian P(x) < ε per channel, and its sensors' faults."""

from math import sqrt

from faults import Alarm, Faults, evidence
from micropython import const
from traits import DARK_V, NAMES, UNITS, Track, natural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from faults import Window
    from gauss import Gaussian, Model

    class WallClock(Protocol):
        """What the check asks the clock: Unix time less time since boot, None = never set."""

        offset_ms: int | None


HOLD_MS = const(30_000)
CLEAR_MS = const(60_000)
CLEAR_PART = 0.7  # of the limit: as in the gateway's models
WARM_MS = const(120_000)  # before, one window's inrush is all there is to judge
MOST_Z = 1e6
# Events leave at most this many at once, and one a minute: a meter with every clamp faulty
# still leaves the line to its readings. What must wait is told later, not lost.
BURST = const(20)
REFILL_MS = const(60_000)


class Check:
    """Judges windows; `model` may be replaced between any two of them.

    `send_event` takes one event without boot, seq and t (the link knows those). `clock` gives
    the wall time for models that know the time of day; without it they use any time's class.
    """

    def __init__(
        self,
        channels: "Sequence[str]",
        model: "Model",
        send_event: "Callable[[dict[str, Any]], object]",
        clock: "WallClock | None" = None,
    ) -> None:
        self.model = model
        self.events = 0
        self.held_back = 0
        self._channels = list(channels)
        self._send = send_event
        self._clock = clock
        self._faults = Faults(channels)
        self._tracks = [Track() for _ in channels]
        self._bound: Model | None = None
        self._gaussians: list[Gaussian | None] = []
        self._alarms: list[Alarm] = []
        self._tokens = BURST
        self._filled_ms = 0

    def window(self, w: "Window") -> "list[float]":
        """Judge one window; return z per channel: Mahalanobis distance, 0 where nothing is known.

        Events are sent on the way. During an outage z is 0: the reading itself tells it.
        """
        if self.model is not self._bound:
            self._bind()
        self._refill(w.up_ms)
        group = self._group(w.up_ms)
        z = [self._judge(at, w, group) for at in range(len(self._channels))]
        for alarm, event in self._faults.window(w):
            self._tell(alarm, event, w.up_ms)
        return z

    def _bind(self) -> None:
        """Take up a new model: nothing that the old one found unusual goes on."""
        names = self._channels
        self._gaussians = [self.model.gaussian(names[at], at == 0) for at in range(len(names))]
        self._alarms = [Alarm(HOLD_MS, CLEAR_MS) for _ in names]
        self._bound = self.model

    def _group(self, up_ms: int) -> int:
        offset_ms = None if self._clock is None else self._clock.offset_ms
        return self.model.group(None if offset_ms is None else up_ms + offset_ms)

    def _judge(self, at: int, w: "Window", group: int) -> float:
        track, gaussian = self._tracks[at], self._gaussians[at]
        said = track.add(w.dt_ms, w.v, w.f, (w.i[at], w.p[at], w.q[at]))
        if gaussian is None or not said or (w.v is not None and w.v < DARK_V):
            return 0.0
        d2 = gaussian.d2(track.x, group)
        if track.age_ms >= WARM_MS:
            alarm = self._alarms[at]
            below = gaussian.log_p(d2, group) < gaussian.log_eps[group]
            # Once unusual it stays so until it is clearly usual again.
            still = alarm.on and d2 >= CLEAR_PART * gaussian.limit(group)
            if alarm.step(below or still, w.dt_ms, w.up_ms):
                self._tell(alarm, self._unusual(at, group, d2), w.up_ms)
        return min(sqrt(d2), MOST_Z)

    def _unusual(self, at: int, group: int, d2: float) -> "dict[str, Any]":
        """Return the event: the feature that moved most, in its own unit."""
        gaussian = self._gaussians[at]
        if gaussian is None:
            return {}
        x = self._tracks[at].x
        row = gaussian.explain(x, group)
        name = gaussian.names[row]
        value, usual = x[NAMES.index(name)], gaussian.mean[group][row]
        limit = sqrt(gaussian.limit(group))
        spread = limit * gaussian.scale[group][row]
        edge = usual + spread if value > usual else usual - spread
        shown = (natural(name, usual), natural(name, value), natural(name, edge))
        event = evidence("unusual", name, UNITS.get(name, ""), shown)
        event["channel"] = self._channels[at]
        event["z"] = round(min(sqrt(d2), MOST_Z), 2)
        event["z_limit"] = round(limit, 2)
        event["model"] = self.model.version
        return event

    def _refill(self, up_ms: int) -> None:
        while self._tokens < BURST and up_ms - self._filled_ms >= REFILL_MS:
            self._filled_ms += REFILL_MS
            self._tokens += 1
        if self._tokens >= BURST:
            self._filled_ms = up_ms

    def _tell(self, alarm: Alarm, event: "dict[str, Any]", up_ms: int) -> None:
        """Send an event if the rate allows; else it stays due."""
        if self._tokens <= 0:
            self.held_back += 1
            return
        self._tokens -= 1
        alarm.told(up_ms)
        event["up"] = up_ms
        self.events += 1
        self._send(event)

"""Faults of the sensors themselves: clipping, open and reversed clamps, a frozen converter."""

from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    class Window(Protocol):
        """What of a `power.Window` is judged."""

        up_ms: int
        dt_ms: int
        v: float | None
        f: float | None
        i: list[float]
        p: list[float]
        q: list[float]
        clipped: list[int]
        frozen: bool

    Evidence = dict[str, Any]

SECOND_MS = const(1_000)
MINUTE_MS = const(60_000)
DAY_MS = const(86_400_000)
# The gateway takes an anomaly without news for over after 15 minutes.
REPEAT_MS = const(600_000)

LIVE_V = 50.0
NOISE_W = 25.0  # below it a clamp's sign is noise (METERING: errors at 5 to 20 W)
LEAST_FACTOR = 0.3  # a nearly pure reactance turns its sign by a degree of phase error

CLIPPED = const(10)  # samples in a window: spikes alone reach the dead zones two or three times
CLIP_HOLD_MS = const(3_000)
FROZEN_HOLD_MS = const(8_000)
SAME_FOR = const(10)  # windows: noise never repeats a float that often
LOAD_HOLD_MS = const(120_000)
SOLAR_HOLD_MS = const(600_000)  # a hybrid inverter's brief balancing is no fault
GRID_HOLD_MS = const(300_000)
SLACK = 1.1  # of what is generated: ratio errors of two clamps

OPEN_GRID_MS = const(600_000)
OPEN_HOLD_MS = const(60_000)
SILENT_W = 5.0  # hum on an open input; meter, gateway and their Wi-Fi alone draw more
SILENT_VA = 20.0  # noise of a clamp's input, at 240 V
LOST_W = 200.0  # what must vanish at once for a load's clamp to be suspected
LOST_SLACK_W = 10.0
LEAST_CARRIED_W = 100.0
CARRIED_PART = 0.25
LOST_PART = 0.05


class Alarm:
    """A condition that must last, and how often it is told."""

    def __init__(self, hold_ms: int, clear_ms: int = 10_000) -> None:
        self.on = False
        self._hold_ms = hold_ms
        self._clear_ms = clear_ms
        self._bad_ms = 0
        self._good_ms = 0
        self._told_ms: int | None = None

    def step(self, bad: bool, dt_ms: int, up_ms: int) -> bool:
        """Take one window; return whether there is something to tell (then call `told`)."""
        if bad:
            self._good_ms = 0
            self._bad_ms = min(self._bad_ms + dt_ms, self._hold_ms)
            self.on = self.on or self._bad_ms >= self._hold_ms
        elif self._bad_ms:
            self._good_ms += dt_ms
            if self._good_ms >= self._clear_ms:
                self._bad_ms = 0
                self.on = False
        if not self.on or not bad:
            return False
        # Also a fault that comes and goes is told no more often.
        return self._told_ms is None or up_ms - self._told_ms >= REPEAT_MS

    def told(self, up_ms: int) -> None:
        """Note that it was told."""
        self._told_ms = up_ms


def evidence(what: str, feature: str, unit: str, shown: "tuple[float, float, float]") -> "Evidence":
    """Return an `anomaly`: which value moved, from what to what, past which limit."""
    before, after, limit = shown
    return {
        "kind": "anomaly",
        "what": what,
        "feature": feature,
        "from": round(before, 2),
        "to": round(after, 2),
        "limit": round(limit, 2),
        "unit": unit,
    }


class Clamp:
    """What is remembered of one clamp, to tell its faults."""

    def __init__(self, name: str, at: int) -> None:
        self.name = name
        self.at = at
        self.one_way = name != "grid" and not name.startswith("battery")
        hold_ms = SOLAR_HOLD_MS if name == "solar" else LOAD_HOLD_MS
        self.clip = Alarm(CLIP_HOLD_MS)
        self.reversed = Alarm(GRID_HOLD_MS if name == "grid" else hold_ms)
        self.open = Alarm(OPEN_GRID_MS if name == "grid" else OPEN_HOLD_MS)
        self.usual_w = 0.0  # the last power that was more than noise
        self.forward_w = 0.0  # the same, the right way
        self.before_w = [0.0, 0.0]  # one and two windows ago
        self.suspect_w = 0.0  # what vanished from this clamp but not from the grid's

    def note(self, power_w: float, silent: bool) -> None:
        """Remember this window for the next ones."""
        self.before_w[1] = self.before_w[0]
        self.before_w[0] = power_w
        if abs(power_w) > NOISE_W:
            self.usual_w = power_w
            self.forward_w = max(power_w, 0.0) or self.forward_w
        if not silent:
            self.suspect_w = 0.0


class Faults:
    """The faults of a meter's clamps and converter."""

    def __init__(self, channels: "Sequence[str]") -> None:
        self.clamps = [Clamp(name, at) for at, name in enumerate(channels)]
        grids = [c for c in self.clamps if c.name == "grid"]
        self._grid = grids[0] if grids else None
        self._sources = [c for c in self.clamps if c.name[:5] == "solar" or c.name[:7] == "battery"]
        self.frozen = Alarm(FROZEN_HOLD_MS)
        self._last: list[float] = []
        self._same = 0
        self._export_ms = 0

    def window(self, w: "Window") -> "list[tuple[Alarm, Evidence]]":
        """Take one window; return what there is to tell of it."""
        found: list[tuple[Alarm, Evidence]] = []
        live = w.v is None or w.v >= LIVE_V
        if self.frozen.step(w.frozen or self._repeats(w), w.dt_ms, w.up_ms):
            count = float(max(self._same, 1))
            made = evidence("frozen_adc", "equal_windows", "", (0.0, count, SAME_FOR))
            found.append((self.frozen, made))
        for clamp in self.clamps:
            self._clip(clamp, w, found)
            if live and not self.frozen.on:
                self._reversed(clamp, w, found)
                self._open(clamp, w, found)
        # Only now, since a clamp is judged by what the others showed before.
        for clamp in self.clamps:
            clamp.note(w.p[clamp.at], _silent(w, clamp.at))
        return found

    def _repeats(self, w: "Window") -> bool:
        """Return whether all values have been exactly equal for long: no input is that quiet."""
        now = [w.v or 0.0] + w.i + w.p  # noqa: RUF005 - no slower on the board, and no copies
        # An outage and idle clamps do repeat: zero.
        self._same = self._same + 1 if now == self._last and now[0] else 0
        self._last = now
        return self._same >= SAME_FOR

    def _clip(self, clamp: Clamp, w: "Window", found: "list[tuple[Alarm, Evidence]]") -> None:
        count = w.clipped[clamp.at]
        if clamp.clip.step(count >= CLIPPED, w.dt_ms, w.up_ms):
            made = evidence("clip", "clipped_samples", "", (0.0, count, CLIPPED))
            made["kind"] = "clip"
            made["channel"] = clamp.name
            made["current_a"] = round(w.i[clamp.at], 2)
            found.append((clamp.clip, made))

    def _reversed(self, clamp: Clamp, w: "Window", found: "list[tuple[Alarm, Evidence]]") -> None:
        power_w = w.p[clamp.at]
        if clamp.one_way:
            bad = _flows(w, clamp.at) and power_w < 0.0
            # An idle load proves nothing; only power the right way does.
            if not bad and power_w < NOISE_W:
                return
            limit_w = -NOISE_W
        elif clamp.name == "grid":
            limit_w = self._least_w(w)
            bad = self._grid_bad(power_w, limit_w, w)
        else:
            return
        if clamp.reversed.step(bad, w.dt_ms, w.up_ms):
            made = evidence("reversed_clamp", "power", "W", (clamp.forward_w, power_w, limit_w))
            made["channel"] = clamp.name
            found.append((clamp.reversed, made))

    def _least_w(self, w: "Window") -> float:
        """Return the strongest export at the grid that what is generated here explains."""
        made_w = sum(max(w.p[c.at], 0.0) for c in self._sources)
        return -(SLACK * made_w + NOISE_W)

    def _grid_bad(self, power_w: float, limit_w: float, w: "Window") -> bool:
        """Return whether the connection exports what it cannot."""
        if self._sources:
            # A source whose own clamp is wrong says nothing of the grid's.
            wrong = any(c.reversed.on or c.open.on or c.suspect_w for c in self._sources)
            backwards = any(w.p[c.at] < -NOISE_W for c in self._sources if c.one_way)
            return power_w < limit_w and not wrong and not backwards
        # Panels without a clamp may export all day, but no home does so for a whole day
        # without importing once.
        if power_w > NOISE_W:
            self._export_ms = 0
            return False
        if power_w < -NOISE_W and _flows(w, self._at_grid()):
            self._export_ms = min(self._export_ms + w.dt_ms, DAY_MS)
        return self._export_ms >= DAY_MS and power_w < -NOISE_W

    def _at_grid(self) -> int:
        return self._grid.at if self._grid else 0

    def _open(self, clamp: Clamp, w: "Window", found: "list[tuple[Alarm, Evidence]]") -> None:
        silent = _silent(w, clamp.at)
        if clamp.name == "grid":
            bad = silent
        elif self._grid is None:
            return
        else:
            if silent and not clamp.suspect_w and self._vanished(clamp, w):
                clamp.suspect_w = clamp.before_w[1]
            bad = silent and bool(clamp.suspect_w)
        if clamp.open.step(bad, w.dt_ms, w.up_ms):
            power_w = w.p[clamp.at]
            made = evidence("open_clamp", "power", "W", (clamp.usual_w, power_w, SILENT_W))
            made["channel"] = clamp.name
            found.append((clamp.open, made))

    def _vanished(self, clamp: Clamp, w: "Window") -> bool:
        """Return whether a clamp lost its power within two windows and the grid did not.

        What is switched off behind the connection point must show there too. A battery that
        holds the connection near zero hides it, so the grid must carry something too.
        """
        grid = self._grid
        lost_w = clamp.before_w[1]
        if grid is None or abs(lost_w) < LOST_W:
            return False
        was_w, now_w = grid.before_w[1], w.p[grid.at]
        least_w = max(LEAST_CARRIED_W, CARRIED_PART * abs(lost_w))
        carried = min(abs(was_w), abs(now_w)) >= least_w
        return carried and abs(now_w - was_w) < LOST_SLACK_W + LOST_PART * abs(lost_w)


def _flows(w: "Window", at: int) -> bool:
    """Return whether a channel's power has a sign that is more than noise."""
    apparent_va = 0.0 if w.v is None else w.v * w.i[at]
    power_w = abs(w.p[at])
    return power_w > NOISE_W and power_w >= LEAST_FACTOR * apparent_va


def _silent(w: "Window", at: int) -> bool:
    """Return whether a clamp shows nothing but its noise."""
    apparent_va = (w.v or 240.0) * w.i[at]
    return abs(w.p[at]) < SILENT_W and apparent_va < SILENT_VA

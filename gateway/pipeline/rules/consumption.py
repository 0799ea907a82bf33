"""Energy and power above what the household has set itself, on local days and months."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.meters import ChannelInfo
from gateway.domain.readings import Channel
from gateway.pipeline.rules.condition import (
    BAD,
    BETWEEN,
    CLEAR,
    GOOD,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    WARNING,
    Edge,
    Hold,
    Latch,
    Moment,
    Rule,
    Words,
    place,
)
from gateway.settings import DetectSettings

WATT_MS_PER_WH = HOUR_MS
WH_PER_KWH = 1000
# The load profile that suppliers bill by: means of clock quarters of an hour.
QUARTER_MS = 15 * MINUTE_MS
# Half a quarter unknown, and its mean says too little.
ENOUGH_MS = QUARTER_MS // 2
BACK = 0.95  # contracted power has cleared below this part of it
# One quarter above is enough; two below clear it.
CONTRACT_HOLD = Hold(raise_ms=1, clear_ms=2 * QUARTER_MS)


class Period(Struct, array_like=True, gc=False):
    """Energy of the running local day or month."""

    start_ms: int = 0
    end_ms: int = 0
    wh: float = 0.0

    def add(self, energy_wh: float, from_ms: int, to_ms: int) -> None:
        """Add energy used between two times; what was used before the period is left out."""
        if from_ms < self.start_ms < to_ms:
            energy_wh *= (to_ms - self.start_ms) / (to_ms - from_ms)
        self.wh += energy_wh


class ConsumptionState(Struct, array_like=True):
    """What the consumption rule remembers of one grid channel."""

    register_wh: float | None = None
    register_ms: int = 0
    counted_wh: float = 0.0  # counted from power since that register
    day: Period = field(default_factory=Period)
    month: Period = field(default_factory=Period)
    quarter: int = -1
    watt_ms: float = 0.0
    ms: int = 0
    mean_w: float = 0.0
    contract: Latch = field(default_factory=Latch)
    edge: Edge = field(default_factory=Edge)


class ConsumptionRule(Rule):
    """Import of one grid connection against the household's own limits."""

    def __init__(
        self, meter: str, channel: ChannelInfo, settings: DetectSettings, zone: ZoneInfo
    ) -> None:
        super().__init__((meter, channel.name, AlertKind.OVER_CONSUMPTION))
        self.spot = place(channel)
        self.zone = zone
        self.contract_w = settings.contracted_power_w
        self.day_wh = _wh(settings.daily_limit_kwh)
        self.month_wh = _wh(settings.monthly_limit_kwh)
        self.state = ConsumptionState()

    @staticmethod
    def wanted(settings: DetectSettings) -> bool:
        """Return whether any limit is set."""
        return any(
            (settings.daily_limit_kwh, settings.monthly_limit_kwh, settings.contracted_power_w)
        )

    def step(self, channel: Channel, moment: Moment) -> Finding | None:
        """Judge one reading of a channel."""
        state, at_ms = self.state, moment.at_ms
        if at_ms > state.day.end_ms:
            self._open_periods(at_ms)
        energy_wh, from_ms = self._energy(channel, moment)
        if energy_wh:
            state.day.add(energy_wh, from_ms, at_ms)
            state.month.add(energy_wh, from_ms, at_ms)
        if self.contract_w is not None and channel.p is not None:
            self._add_power(max(channel.p, 0.0), moment)
        on = state.day.wh > self.day_wh or state.month.wh > self.month_wh or state.contract.on
        if not on and not state.edge.severity:
            return None
        mean_ok = self.contract_w is None or state.mean_w <= self.contract_w
        self.calm = mean_ok and state.day.wh <= self.day_wh and state.month.wh <= self.month_wh
        return self.tell(state.edge, WARNING if on else CLEAR, at_ms)

    def _energy(self, channel: Channel, moment: Moment) -> tuple[float, int]:
        """Return the import in Wh not counted yet, and since when.

        From the register where the meter has one, else ∫ P dt; a fallen register counts as zero
        (contract, rule R).
        """
        state, register_wh = self.state, channel.wh_in
        if register_wh is not None:
            before, since_ms = state.register_wh, state.register_ms
            counted_wh, state.counted_wh = state.counted_wh, 0.0
            state.register_wh, state.register_ms = register_wh, moment.at_ms
            if before is not None:
                return max(0.0, register_wh - before - counted_wh), since_ms
        if channel.p is None or channel.p <= 0:
            return 0.0, moment.at_ms
        energy_wh = channel.p * moment.span_ms / WATT_MS_PER_WH
        if register_wh is None:
            state.counted_wh += energy_wh
        return energy_wh, moment.at_ms - moment.span_ms

    def _open_periods(self, at_ms: int) -> None:
        """Begin the local day, and month, that holds the instant just before `at_ms`."""
        state = self.state
        now = datetime.fromtimestamp((at_ms - 1) / SECOND_MS, self.zone)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        # Wall-clock arithmetic: a day of 23 or 25 hours ends at the next local midnight.
        state.day = Period(_ms(midnight), _ms(midnight + timedelta(days=1)))
        if at_ms > state.month.end_ms:
            first = midnight.replace(day=1)
            after = (first + timedelta(days=32)).replace(day=1)
            state.month = Period(_ms(first), _ms(after))

    def _add_power(self, power_w: float, moment: Moment) -> None:
        """Average import over clock quarters, which are UTC quarters in every zone in use."""
        state, span_ms = self.state, moment.span_ms
        quarter = (moment.at_ms - span_ms // 2) // QUARTER_MS
        if quarter != state.quarter:
            self._close_quarter()
            state.quarter = quarter
        state.watt_ms += power_w * span_ms
        state.ms += span_ms
        if moment.at_ms >= (quarter + 1) * QUARTER_MS:
            self._close_quarter()

    def _close_quarter(self) -> None:
        """Judge the mean of the open quarter, if enough of it is known."""
        state = self.state
        if state.ms >= ENOUGH_MS and self.contract_w is not None:
            state.mean_w = state.watt_ms / state.ms
            part = state.mean_w / self.contract_w
            verdict = BAD if part > 1 else GOOD if part < BACK else BETWEEN
            state.contract.step(verdict, max(state.ms, QUARTER_MS), CONTRACT_HOLD)
        state.watt_ms, state.ms = 0.0, 0

    def words(self, edge: Edge, at_ms: int) -> Words:  # noqa: ARG002 - the base class's shape
        """Say which limit is exceeded, and by how much."""
        state = self.state
        day_kwh, month_kwh = state.day.wh / WH_PER_KWH, state.month.wh / WH_PER_KWH
        if not edge.severity:
            text = f"Consumption at {self.spot} is below its limits again."
            return Words("Consumption normal again", text, {"day_kwh": round(day_kwh, 3)})
        if state.contract.on and self.contract_w is not None:
            text = (
                f"Import at {self.spot} averaged {state.mean_w:.0f} W over 15 minutes; the "
                f"contracted power is {self.contract_w:.0f} W."
            )
            return Words(
                "Above contracted power",
                text,
                {
                    "mean_15min_w": round(state.mean_w, 1),
                    "limit_w": self.contract_w,
                },
            )
        whole, used, limit = "today", day_kwh, self.day_wh / WH_PER_KWH
        if state.day.wh <= self.day_wh:
            whole, used, limit = "this month", month_kwh, self.month_wh / WH_PER_KWH
        text = f"{used:.1f} kWh used {whole}; the limit set is {limit:g} kWh."
        key = "day_kwh" if whole == "today" else "month_kwh"
        return Words("Consumption above limit", text, {key: round(used, 3), "limit_kwh": limit})


def _wh(limit_kwh: float | None) -> float:
    """Return a limit in Wh; none is infinite."""
    return float("inf") if limit_kwh is None else limit_kwh * WH_PER_KWH


def _ms(moment: datetime) -> int:
    """Return Unix milliseconds."""
    return round(moment.timestamp() * SECOND_MS)

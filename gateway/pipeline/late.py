"""Readings that come behind the judged time: what a single one can prove, and no more."""

from collections.abc import Callable
from dataclasses import replace

from msgspec import Struct, field

from gateway.domain.alerts import AlertKey, AlertKind, Evidence, Finding, Severity
from gateway.domain.meters import LARGEST_CLAMP_A, ChannelInfo, MeterInfo, usual_role
from gateway.domain.readings import Stored
from gateway.pipeline.rules.condition import MINUTE_MS, SECOND_MS, Edge, lasting, place
from gateway.pipeline.rules.current import FAR_OVER, FAR_OVER_HOLD
from gateway.pipeline.rules.supply import (
    INTERRUPTED,
    OUTAGE_HOLD,
    WIDE_DOWN,
    WIDE_HOLD,
    WIDE_UP,
)
from gateway.pipeline.rules.voltage import SWELL, SWELL_HOLD
from gateway.settings import DetectSettings

# A backlog repeats its fault in every reading: one event of a kind per quarter of an hour.
SAME_EVENT_MS = 15 * MINUTE_MS
MOST_KEYS = 32


class LateState(Struct, array_like=True):
    """When each kind of late event was last told, in the data's time."""

    told: dict[str, int] = field(default_factory=dict)


class LateJudge:
    """Stateless rules: each event opens and clears at once, for nobody waits for its end.

    A rule that needs several readings is not tried on one, unless that one is long enough.
    """

    def __init__(
        self,
        meter: MeterInfo,
        settings: DetectSettings,
        state: LateState,
        edge: Callable[[AlertKey], Edge | None],
    ) -> None:
        self.meter = meter
        self.settings = settings
        self.state = state
        self.edge = edge

    def judge(self, reading: Stored) -> list[Finding]:
        """Return a raise and a clearing for every limit this reading alone proves broken."""
        found: list[Finding] = []
        self._judge_voltage(reading, found)
        if reading.f and reading.dt_ms >= WIDE_HOLD.raise_ms:
            self._judge_frequency(reading, reading.f, found)
        if reading.dt_ms >= FAR_OVER_HOLD.raise_ms:
            self._judge_currents(reading, found)
        return found

    def _judge_voltage(self, reading: Stored, found: list[Finding]) -> None:
        """Find no voltage, or far too much of it."""
        nominal_v, voltage_v = self.settings.nominal_voltage, reading.v
        if voltage_v is None:
            return
        if voltage_v < INTERRUPTED * nominal_v and reading.dt_ms >= OUTAGE_HOLD.raise_ms:
            finding = self._event(
                reading,
                ("", AlertKind.OUTAGE),
                f"The meter measured {voltage_v:.1f} V for {lasting(reading.dt_ms)}: the power "
                f"was out.",
                {"voltage_v": voltage_v, "limit_v": INTERRUPTED * nominal_v},
            )
            found.extend(finding)
        if voltage_v > SWELL * nominal_v and reading.dt_ms >= SWELL_HOLD.raise_ms:
            finding = self._event(
                reading,
                ("", AlertKind.OVER_VOLTAGE),
                f"Voltage at the grid connection was {voltage_v:.1f} V for "
                f"{lasting(reading.dt_ms)}; the limit is {SWELL * nominal_v:.1f} V.",
                {"voltage_v": voltage_v, "limit_v": round(SWELL * nominal_v, 2)},
            )
            found.extend(finding)

    def _judge_frequency(self, reading: Stored, frequency_hz: float, found: list[Finding]) -> None:
        """Find a frequency outside what EN 50160 ever allows."""
        nominal_hz = self.settings.nominal_frequency
        low, high = nominal_hz * (1 - WIDE_DOWN), nominal_hz * (1 + WIDE_UP)
        if low <= frequency_hz <= high:
            return
        limit = high if frequency_hz > high else low
        text = f"Mains frequency was {frequency_hz:.2f} Hz; the limit is {limit:.2f} Hz."
        numbers = {"frequency_hz": frequency_hz, "limit_hz": round(limit, 3)}
        found.extend(self._event(reading, ("", AlertKind.FREQUENCY), text, numbers))

    def _judge_currents(self, reading: Stored, found: list[Finding]) -> None:
        """Find a current far above the rating."""
        for name, channel in reading.ch.items():
            info = self.meter.channels.get(name) or ChannelInfo(name, usual_role(name))
            limit_a = FAR_OVER * (info.rating_a or LARGEST_CLAMP_A)
            if channel.i is None or channel.i <= limit_a:
                continue
            text = (
                f"Current at {place(info)} was {channel.i:.1f} A for {lasting(reading.dt_ms)}; "
                f"the limit is {limit_a:.1f} A."
            )
            numbers = {"current_a": channel.i, "limit_a": round(limit_a, 2)}
            found.extend(self._event(reading, (name, AlertKind.OVER_CURRENT), text, numbers))

    def _event(
        self, reading: Stored, what: tuple[str, AlertKind], text: str, numbers: dict[str, float]
    ) -> list[Finding]:
        """Return the two findings of one event, or none where it is known already."""
        channel, kind = what
        key = (self.meter.id, channel, kind)
        edge = self.edge(key)
        if edge is not None and edge.severity:
            return []  # the running alert must not be cleared by what is past
        told, name = self.state.told, f"{channel}/{kind}"
        last_ms = told.get(name)
        if last_ms is not None and abs(reading.at_ms - last_ms) < SAME_EVENT_MS:
            return []
        if len(told) >= MOST_KEYS and name not in told:
            del told[next(iter(told))]
        told[name] = reading.at_ms
        begin_ms = reading.at_ms - reading.dt_ms
        evidence: Evidence = {
            **numbers,
            "since_ms": begin_ms,
            "duration_s": reading.dt_ms / SECOND_MS,
            "came_late_s": round((reading.received_ms - reading.at_ms) / SECOND_MS, 1),
        }
        title = f"{str(kind).replace('_', ' ').capitalize()} (came late)"
        at_ms, bad = reading.at_ms, Severity.CRITICAL
        raised = Finding(
            key,
            active=True,
            at_ms=at_ms,
            severity=bad,
            title=title,
            detail=text,
            evidence=evidence,
            fresh=True,
        )
        return [raised, replace(raised, active=False, fresh=False)]

"""What meters report of themselves: their own anomaly check becomes an alert."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.domain.alerts import AlertKind, Evidence, Finding
from gateway.domain.errors import StorageError
from gateway.services.deriving import Deriver

log = structlog.get_logger()

# A meter tells an anomaly once; without news it is over after a quarter of an hour.
LASTS_S = 900.0
# By the event's `what`: a few words, and what was seen and what to do.
SAID: Final[Mapping[str, tuple[str, str]]] = {
    "reversed_clamp": (
        "A clamp seems to be on backwards",
        "The power at {place} flows the wrong way for it. Have the clamp turned round on its wire.",
    ),
    "open_clamp": (
        "A clamp has stopped measuring",
        (
            "There is no current at {place} where there must be some, unless the main switch is"
            " off. Have it looked at whether the clamp is closed around its wire, its plug in."
        ),
    ),
    "frozen_adc": (
        "The meter reads the same values again and again",
        (
            "The converter of {place} has stopped. Take the meter's supply away for ten seconds;"
            " if it comes back, the board must be replaced."
        ),
    ),
    "flash": (
        "The meter cannot save to its flash",
        (
            "{place} could not write its registers or readings; until it can, a power cut costs"
            " what it has not delivered. If this lasts, its flash is worn out: replace the board."
        ),
    ),
    "unusual": (
        "The meter finds its readings unusual",
        (
            "The {feature} at {place} is outside what its model has learnt. If all is well there,"
            " say in this alert that it was a false alarm: later models learn from it."
        ),
    ),
}
FEATURES: Final[Mapping[str, str]] = {
    "reactive": "reactive power",
    "power_factor": "power factor",
    "base": "base load",
    "step": "change of power",
}
OTHER: Final = (
    "The meter finds its readings unusual",
    "{place} reports that its own check found readings it has not learnt.",
)


class EventDesk:
    """Turns `anomaly` events into `device_anomaly` alerts, and ends them when they stop."""

    def __init__(self, deriver: Deriver) -> None:
        self._deriver = deriver
        self._endings: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, meter: str, event: dict[str, object], received_ms: int) -> None:
        """Take one event that has been committed to be acknowledged."""
        if event.get("kind") == "defect":
            part, detail = str(event.get("part"))[:40], str(event.get("detail"))[:120]
            log.warning("meter_defect", meter=meter, part=part, detail=detail)
        if event.get("kind") != "anomaly":
            return
        channel = event.get("channel")
        name = channel if isinstance(channel, str) and len(channel) <= 16 else ""  # noqa: PLR2004
        evidence: Evidence = {
            key[:32]: value
            for key, value in list(event.items())[:16]
            if isinstance(value, int | float | str) and len(str(value)) <= 100  # noqa: PLR2004
        }
        title, detail = _said(meter, name, evidence)
        key = (meter, name, AlertKind.DEVICE_ANOMALY)
        self._report(
            Finding(
                key, active=True, at_ms=received_ms, title=title, detail=detail, evidence=evidence
            )
        )
        if (timer := self._endings.pop((meter, name), None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        ends_ms = received_ms + int(LASTS_S * 1000)
        self._endings[meter, name] = loop.call_later(LASTS_S, self._end, meter, name, ends_ms)

    def _end(self, meter: str, channel: str, at_ms: int) -> None:
        self._endings.pop((meter, channel), None)
        key = (meter, channel, AlertKind.DEVICE_ANOMALY)
        detail = f"{meter} has reported nothing unusual for a quarter of an hour."
        self._report(Finding(key, active=False, at_ms=at_ms, detail=detail))

    async def _tell(self, finding: Finding) -> None:
        try:
            await self._deriver.report([finding])
        except StorageError as error:
            log.warning("device_anomaly_not_stored", meter=finding.key[0], error=str(error))

    def _report(self, finding: Finding) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(finding))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _said(meter: str, channel: str, evidence: Evidence) -> tuple[str, str]:
    """Return title and detail for what a meter has found."""
    title, detail = SAID.get(str(evidence.get("what")), OTHER)
    place = f"{meter}, {channel}" if channel else meter
    feature = str(evidence.get("feature", "reading"))
    return title, detail.format(place=place, feature=FEATURES.get(feature, feature))

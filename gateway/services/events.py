"""What meters report of themselves: their own anomaly check becomes an alert."""

import asyncio

import structlog

from gateway.domain.alerts import AlertKind, Evidence, Finding
from gateway.domain.errors import StorageError
from gateway.services.deriving import Deriver

log = structlog.get_logger()

# A meter tells an anomaly once; without news it is over after a quarter of an hour.
LASTS_S = 900.0


class EventDesk:
    """Turns `anomaly` events into `device_anomaly` alerts, and ends them when they stop."""

    def __init__(self, deriver: Deriver) -> None:
        self._deriver = deriver
        self._endings: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, meter: str, event: dict[str, object], received_ms: int) -> None:
        """Take one event that has been committed to be acknowledged."""
        if event.get("kind") != "anomaly":
            return
        channel = event.get("channel")
        name = channel if isinstance(channel, str) and len(channel) <= 16 else ""  # noqa: PLR2004
        evidence: Evidence = {
            key[:32]: value
            for key, value in list(event.items())[:16]
            if isinstance(value, int | float | str) and len(str(value)) <= 100  # noqa: PLR2004
        }
        self._report(
            Finding(
                (meter, name, AlertKind.DEVICE_ANOMALY),
                active=True,
                at_ms=received_ms,
                title="The meter finds its readings unusual",
                detail=f"{meter} reports that its own check found readings it has not learnt.",
                evidence=evidence,
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

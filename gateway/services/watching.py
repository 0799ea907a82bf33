"""Watch what no reading tells: silent meters, refused strangers, the clock."""

import asyncio
from collections.abc import Callable

import structlog

from gateway.domain.alerts import AlertKind, Evidence, Finding
from gateway.domain.errors import StorageError, TransientError
from gateway.services.deriving import Deriver
from gateway.services.ledger import Ledger
from gateway.services.placer import Now
from gateway.services.watch import SilenceWatch, clock_finding, security_finding

log = structlog.get_logger()
LOOK_S = 2.0
CLOCK_PATIENCE_S = 600.0  # NTP needs a while after a start
NAMES_SHOWN = 10
MAX_REFUSED = 1000
STOOD_STILL_S = 5.0  # between two looks: the process was stopped, or the machine slept
MOST_PENDING = 1000


class Watching:
    """The service; findings go to the alert desk with their own times."""

    def __init__(self, deriver: Deriver, now: Now, ledger: Callable[[], Ledger]) -> None:
        self._deriver = deriver
        self._now = now
        self._silence = SilenceWatch(now.mono_s())
        self._refused: set[str] = set()
        self._refused_told = 0
        self._untrusted_since_s: float | None = None
        self._clock_told = False
        self._pending: list[Finding] = []
        self.ledger = ledger

    def heard(self, meter: str) -> None:
        """Note a sign of life of a meter."""
        self._silence.heard(meter, self._now.mono_s())

    def refused(self, meters: set[str]) -> None:
        """Note unknown meters that were not let in (rule M)."""
        for meter in meters:
            if len(self._refused) < MAX_REFUSED:
                self._refused.add(meter)

    async def run(self) -> None:
        """Look every two seconds, until cancelled."""
        await self._deriver.loaded.wait()
        alerts = self._deriver.desk.book.open_alerts
        self._silence.adopt(alerts)
        self._clock_told = any(alert.key[2] is AlertKind.CLOCK for alert in alerts)
        while True:
            # What could not be stored is kept: it will not be found a second time.
            self._pending = (self._pending + self.look())[-MOST_PENDING:]
            try:
                await self._deriver.report(self._pending)
            except StorageError as error:
                msg = f"an alert could not be stored: {error}"
                raise TransientError(msg) from error
            self._pending = []
            await self._sleep()

    async def _sleep(self) -> None:
        """Wait for the next look; a process that was stopped meanwhile has heard nobody."""
        before_s = self._now.mono_s()
        await asyncio.sleep(LOOK_S)
        stood_s = self._now.mono_s() - before_s - LOOK_S
        if stood_s > STOOD_STILL_S:  # what the meters sent is still to be read
            log.warning("stood_still", seconds=round(stood_s, 1))
            self._silence.excuse(stood_s)

    def look(self) -> list[Finding]:
        """Return what has changed since the last look."""
        mono_s, now_ms = self._now.mono_s(), self._now.wall_ms()
        for meter in self.ledger().meters.values():
            if meter.info.recorded or meter.removed:
                self._silence.forget(meter.info.id)
            else:
                self._silence.watch(meter.info.id, mono_s)
        found = self._silence.check(mono_s, now_ms)
        return found + self._clock(mono_s, now_ms) + self._strangers(now_ms)

    def _clock(self, mono_s: float, now_ms: int) -> list[Finding]:
        if self._now.trusted():
            self._untrusted_since_s = None
            if not self._clock_told:
                return []
            self._clock_told = False
            return [clock_finding(now_ms, active=False, detail="The clock is synchronised again.")]
        if self._untrusted_since_s is None:
            self._untrusted_since_s = mono_s
        if self._clock_told or mono_s - self._untrusted_since_s < CLOCK_PATIENCE_S:
            return []
        self._clock_told = True
        detail = (
            "The gateway's clock has not been synchronised for ten minutes. Readings are stored"
            " and will be placed in time once it is; check the network or set the clock."
        )
        return [clock_finding(now_ms, active=True, detail=detail)]

    def _strangers(self, now_ms: int) -> list[Finding]:
        if len(self._refused) == self._refused_told:
            return []
        self._refused_told = len(self._refused)
        names = sorted(self._refused)
        shown = ", ".join(names[:NAMES_SHOWN])
        detail = (
            f"Readings of unknown meters are refused: {shown}. Register them with"
            " `wattwarden meters add`, or set meters.auto_register = true."
        )
        evidence: Evidence = {"unknown_meters": len(names), "first": names[0]}
        return [security_finding(now_ms, active=True, detail=detail, evidence=evidence)]

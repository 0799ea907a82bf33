"""What people are shown of meters, alerts and the gateway itself: read models and their port."""

import base64
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.domain.alerts import Alert, AlertState, HistoryEntry, Severity
from gateway.domain.errors import BadInputError
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Stored
from gateway.services.bundle_forms import Progress
from gateway.supervise import Health

LONGEST_PAGE = 200
SILENT_MS = 120_000  # as `meter_silent` has it (contract, section 5)
LONGEST_HISTORY = 200  # entries shown of one alert, the newest
LONGEST_CURSOR = 200
CURSOR = re.compile(r"(-?[0-9]{1,16}):(.+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """How a meter is, as its last `state` told; None = it did not say.

    `backlog` are the readings it still holds, `up_ms` the time since its start, and `starts`
    how often it has started (the contract's `bootn`).
    """

    rssi_dbm: int | None = None
    heap_bytes: int | None = None
    backlog: int | None = None
    up_ms: int | None = None
    starts: int | None = None


@dataclass(frozen=True, slots=True)
class MeterView:
    """One meter with what it last said; `fw`, `model`, `cal` are the versions it reports.

    `diagnostics` is None for one that never told its state, such as an imported meter.
    """

    info: MeterInfo
    online: bool = False
    state_ms: int | None = None
    fw: str | None = None
    model: int | None = None
    cal: int | None = None
    last: Stored | None = None
    rollouts: Sequence[Progress] = ()  # how far it is with bundles, one a kind
    diagnostics: Diagnostics | None = None


def is_online(view: MeterView, now_ms: int) -> bool:
    """Tell whether a meter was heard lately and has not said goodbye since.

    Simple meters send readings and never a `state`; a meter whose power failed says nothing.
    """
    state_ms = view.state_ms or 0
    reading_ms = 0 if view.last is None else view.last.received_ms
    if not view.online and state_ms >= reading_ms:
        return False
    return abs(now_ms - max(state_ms, reading_ms)) < SILENT_MS


@dataclass(frozen=True, slots=True)
class MeterPage:
    """Some meters by id, and where to go on."""

    items: list[MeterView]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert and what people and the system did about it, oldest first."""

    alert: Alert
    history: list[HistoryEntry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Some alerts, newest first, and where to go on."""

    items: list[AlertView]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts: None = any. `meter` "" stands for the gateway itself."""

    state: AlertState | None = None
    severity: Severity | None = None
    meter: str | None = None
    muted: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelView:
    """One fitted model in use on the gateway."""

    meter: str
    channel: str
    kind: str
    fitted_ms: int


@dataclass(frozen=True, slots=True)
class DiskView:
    """Bytes: what the database takes and may take, and what its file system has left."""

    used: int
    allowed: int
    free: int


@dataclass(frozen=True, slots=True)
class StatusView:
    """What the store knows of the gateway's state.

    `judge_backlog` counts committed readings not judged yet, `cloud_backlog` outbox entries.
    `offline_days` is how long the space left would take what came in lately if nothing were
    retired (so never too much); None before an hour of data.
    """

    judge_backlog: int
    cloud_backlog: int
    offline_days: float | None
    disk: DiskView
    dead_letters: Mapping[str, int]
    open_alerts: Mapping[str, int]  # by severity; acknowledged ones count as open
    models: list[ModelView]


@dataclass(frozen=True, slots=True)
class RuntimeView:
    """What only the running process knows. `ingest_backlog` counts messages not committed yet."""

    version: str
    uptime_s: float
    services: Mapping[str, Health]
    ingest_backlog: int
    clock_trusted: bool


class Views(Protocol):
    """Reads what the store holds, for people. All raise StorageError."""

    async def list_meters(self, cursor: str | None, limit: int) -> MeterPage:
        """Return registered meters by id; BadInputError for a cursor that is none."""

    async def get_meter(self, meter: str) -> MeterView:
        """Return one meter; NotFoundError when unknown or removed."""

    async def list_alerts(self, which: AlertFilter, cursor: str | None, limit: int) -> AlertPage:
        """Return alerts, newest first; BadInputError for a cursor that is none."""

    async def get_alert(self, alert_id: str) -> AlertView:
        """Return one alert; NotFoundError when unknown."""

    async def status(self) -> StatusView:
        """Return the state of the store."""


class Operations(Protocol):
    """Everything that changes the gateway, by name: one door for web, cloud and command line."""

    async def call(self, name: str, args: dict[str, object], who: str) -> dict[str, object]:
        """Do `name` (such as alerts.acknowledge) for `who`; BadInputError, NotFoundError."""


def write_cursor(opened_ms: int, alert_id: str) -> str:
    """Return the opaque cursor that stands after this alert."""
    return base64.urlsafe_b64encode(f"{opened_ms}:{alert_id}".encode()).decode("ascii").rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """Return (opened_ms, alert id) of a cursor, or raise BadInputError."""
    found = None
    if len(cursor) <= LONGEST_CURSOR:
        with contextlib.suppress(ValueError):  # neither base64 nor UTF-8
            padded = cursor + "=" * (-len(cursor) % 4)
            text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8")
            found = CURSOR.fullmatch(text)
    if found is None:
        msg = "cursor: not one that this gateway gave; start again without it"
        raise BadInputError(msg)
    return int(found[1]), found[2]

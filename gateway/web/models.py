"""The JSON that people and programs get (contract, section 5); times are Unix ms UTC."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.domain.alerts import AlertKind, AlertState, Severity
from gateway.domain.meters import Role
from gateway.domain.readings import Stored
from gateway.services.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD, Caller, UserRole
from gateway.services.views import (
    LONGEST_CURSOR,
    LONGEST_PAGE,
    AlertView,
    MeterView,
    RuntimeView,
    StatusView,
)

ChannelKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,15}$")]
Password = Annotated[
    str, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD, repr=False)
]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]  # tab and newline may be


class Body(BaseModel):
    """What callers send: unknown keys are refused, so that a slip of the pen is noticed."""

    model_config = ConfigDict(extra="forbid")


class Login(Body):
    """Who wants in."""

    username: str = Field(max_length=256)
    password: str = Field(max_length=4096, repr=False)


class OwnPassword(Body):
    """A new password, and the one before as a proof."""

    old: str = Field(max_length=LONGEST_PASSWORD, repr=False)
    new: Password


class Me(BaseModel):
    """Who is logged in."""

    username: str
    role: UserRole

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """Show a caller."""
        return cls(username=caller.name, role=caller.role)


class Snooze(Body):
    """For how long nobody wants to hear of an alert."""

    minutes: int = Field(ge=1, le=43_200, strict=True)


class Verdict(Body):
    """Whether an alert was right; a label for training."""

    right: bool = Field(strict=True)
    note: Text = Field(default="", max_length=1000)


class ChannelPatch(Body):
    """What changes of a channel; `rating_a` null = unknown."""

    role: Role | None = None
    rating_a: float | None = Field(default=None, gt=0, le=1000, allow_inf_nan=False)

    @model_validator(mode="after")
    def _role_is_never_null(self) -> Self:
        if "role" in self.model_fields_set and self.role is None:
            msg = "role may be left out but not null"
            raise ValueError(msg)
        return self


class MeterPatch(Body):
    """What changes of a meter."""

    label: Text = Field(default="", max_length=80)
    channels: dict[ChannelKey, ChannelPatch] = Field(default_factory=dict, max_length=6)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            msg = "give a label or channels"
            raise ValueError(msg)
        return self


class ChannelOut(BaseModel):
    """One channel; `rating_a` null = unknown."""

    role: Role
    rating_a: float | None


class ValuesOut(BaseModel):
    """One channel's last values: A, W, var, V, Wh."""

    i: float | None
    p: float | None
    q: float | None
    v: float | None
    wh_in: float | None
    wh_out: float | None


class LastReading(BaseModel):
    """The newest reading: placed time of its window's end, length in ms, V, Hz, channels."""

    t: int
    dt: int
    v: float | None
    f: float | None
    ch: dict[str, ValuesOut]
    flags: list[str]


class Versions(BaseModel):
    """What the meter says it runs."""

    fw: str | None
    model: int | None
    cal: int | None


class RolloutOut(BaseModel):
    """How far a meter is with a model, calibration or firmware; `why` it was refused."""

    kind: str
    version: int
    state: str
    why: str
    detail: str
    updated: int


class DiagnosticsOut(BaseModel):
    """How a meter is, as it last told; null = it did not say. `starts`: how often it booted."""

    model_config = ConfigDict(from_attributes=True)

    rssi_dbm: int | None
    heap_bytes: int | None
    backlog: int | None
    up_ms: int | None
    starts: int | None


class MeterOut(BaseModel):
    """One meter; `state_at` is when it last reported its state."""

    id: str
    label: str
    recorded: bool
    registered: int
    online: bool
    state_at: int | None
    versions: Versions
    channels: dict[str, ChannelOut]
    last: LastReading | None
    rollouts: list[RolloutOut] = Field(default_factory=list)
    diagnostics: DiagnosticsOut | None = None

    @classmethod
    def of(cls, view: MeterView) -> Self:
        """Show a meter."""
        return cls(
            id=view.info.id,
            label=view.info.label,
            recorded=view.info.recorded,
            registered=view.info.registered_ms,
            online=view.online,
            state_at=view.state_ms,
            versions=Versions(fw=view.fw, model=view.model, cal=view.cal),
            channels={
                name: ChannelOut(role=channel.role, rating_a=channel.rating_a)
                for name, channel in view.info.channels.items()
            },
            last=_last(view),
            rollouts=[
                RolloutOut(
                    kind=one.kind, version=one.version, state=one.state, why=one.why,
                    detail=one.detail, updated=one.updated_ms,
                )
                for one in view.rollouts
            ],
            diagnostics=view.diagnostics and DiagnosticsOut.model_validate(view.diagnostics),
        )  # fmt: skip


class MeterList(BaseModel):
    """Some meters by id; `next` is the cursor of the following page."""

    items: list[MeterOut]
    next: str | None


class Happened(BaseModel):
    """Who did what to an alert, and when."""

    at: int
    who: str
    what: str


class AlertOut(BaseModel):
    """One alert; `meter` null = the gateway itself, `channel` null = the whole meter."""

    id: str
    meter: str | None
    channel: str | None
    kind: AlertKind
    severity: Severity
    state: AlertState
    opened: int
    updated: int
    resolved: int | None
    count: int
    title: str
    detail: str
    evidence: dict[str, float | int | str | None]
    snoozed_until: int | None
    muted: bool
    history: list[Happened]

    @classmethod
    def of(cls, view: AlertView) -> Self:
        """Show an alert."""
        alert = view.alert
        meter, channel, kind = alert.key
        return cls(
            id=alert.id,
            meter=meter or None,
            channel=channel or None,
            kind=kind,
            severity=alert.severity,
            state=alert.state,
            opened=alert.opened_ms,
            updated=alert.updated_ms,
            resolved=alert.resolved_ms,
            count=alert.count,
            title=alert.title,
            detail=alert.detail,
            evidence=alert.evidence,
            snoozed_until=alert.snoozed_until_ms,
            muted=alert.muted,
            history=[Happened(at=e.at_ms, who=e.who, what=e.what) for e in view.history],
        )


class AlertQuery(BaseModel):
    """Which alerts, and which page of them."""

    state: Literal["open", "acknowledged", "resolved", "all"] = "all"
    severity: Severity | None = None
    meter: str | None = Field(default=None, max_length=32)
    muted: bool | None = None
    cursor: str | None = Field(default=None, max_length=LONGEST_CURSOR)
    limit: int = Field(default=50, ge=1, le=LONGEST_PAGE)

    @property
    def wanted(self) -> AlertState | None:
        """Return the state asked for, None = any."""
        return None if self.state == "all" else AlertState(self.state)


class AlertList(BaseModel):
    """Some alerts, newest first; `next` is the cursor of the following page."""

    items: list[AlertOut]
    next: str | None


class ServiceOut(BaseModel):
    """How one service is doing."""

    state: str
    error: str
    retries: int


class Backlog(BaseModel):
    """What waits: messages not committed, readings not judged, entries not uploaded."""

    ingest: int
    judge: int
    cloud: int


class Disk(BaseModel):
    """What the database takes and may take, and what its file system has left."""

    used_bytes: int
    allowed_bytes: int
    free_bytes: int


class Clock(BaseModel):
    """Whether the gateway believes its own clock."""

    trusted: bool


class ModelOut(BaseModel):
    """One fitted model in use."""

    meter: str
    channel: str
    kind: str
    fitted: int


class StatusOut(BaseModel):
    """The gateway's state: `uptime` in ms, days null = too little data, `alerts` not resolved."""

    version: str
    uptime: int
    services: dict[str, ServiceOut]
    backlog: Backlog
    offline_days_left: float | None
    disk: Disk
    clock: Clock
    models: list[ModelOut]
    dead_letters: dict[str, int]
    alerts: dict[str, int]

    @classmethod
    def of(cls, store: StatusView, runtime: RuntimeView) -> Self:
        """Show what the store and the process know."""
        return cls(
            version=runtime.version,
            uptime=round(runtime.uptime_s * 1000),
            services={
                name: ServiceOut(state=health.state, error=health.error, retries=health.retries)
                for name, health in runtime.services.items()
            },
            backlog=Backlog(
                ingest=runtime.ingest_backlog,
                judge=store.judge_backlog,
                cloud=store.cloud_backlog,
            ),
            offline_days_left=store.offline_days,
            disk=Disk(
                used_bytes=store.disk.used,
                allowed_bytes=store.disk.allowed,
                free_bytes=store.disk.free,
            ),
            clock=Clock(trusted=runtime.clock_trusted),
            models=[
                ModelOut(meter=m.meter, channel=m.channel, kind=m.kind, fitted=m.fitted_ms)
                for m in store.models
            ],
            dead_letters=dict(store.dead_letters),
            alerts=dict(store.open_alerts),
        )


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


def _last(view: MeterView) -> LastReading | None:
    return None if view.last is None else LastReading.model_validate(values_of(view.last))


def values_of(reading: Stored) -> dict[str, object]:
    """Return what people see of a reading."""
    channels = {
        name: {"i": c.i, "p": c.p, "q": c.q, "v": c.v, "wh_in": c.wh_in, "wh_out": c.wh_out}
        for name, c in reading.ch.items()
    }
    head: dict[str, object] = {"t": reading.at_ms, "dt": reading.dt_ms}
    tail: dict[str, object] = {"ch": channels, "flags": list(reading.flags)}
    return {**head, "v": reading.v, "f": reading.f, **tail}

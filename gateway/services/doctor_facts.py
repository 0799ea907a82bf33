"""What the doctor looks at, and what it says: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.services.clamp_facts import ClampFacts

Figure = float | int | str | bool | None


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # works, but somebody should look
    ERROR = "error"  # the main job is not done


@dataclass(frozen=True, slots=True)
class Check:
    """One answer: what was found, what it means, and who must do what (`todo`)."""

    name: str
    level: Level
    said: str
    todo: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """A secret's file; `of_service`: one that only exists for the running service."""

    key: str
    path: str
    problem: str = ""
    of_service: bool = False


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """Bytes: what the database takes and may take, and what its file system has left."""

    folder: str
    used: int
    allowed: int
    free: int


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """One meter: when it was last heard of, windows missing, and its clock.

    `kept_time` False: its newest reading's own time was not believed; `skew_ms` is then how far
    it was from the gateway's (None where it sent none).
    """

    id: str
    recorded: bool
    heard_ms: int | None
    provisional: int = 0
    final: int = 0
    kept_time: bool = True
    skew_ms: int | None = None
    # As its newest `state` says; None or "" where it says nothing.
    rssi_dbm: float | None = None
    firmware: str = ""
    calibration: int | None = None
    nominal: bool = False  # that calibration is nominal parts: the first was taken back
    model: int | None = None
    clamps: Sequence[ClampFacts] = ()
    windows: int = 0  # newest ones looked at, and how many of them were clipped
    clipped: int = 0
    wanted: Mapping[str, int] = field(default_factory=dict)  # kind -> version it was given to load
    refused: Mapping[str, str] = field(default_factory=dict)  # kind -> why it does not take it


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What the database tells; `damage` None = the check did not end in time."""

    schema: int
    damage: str | None
    full_check: bool
    marked_open: bool
    mode: int
    offline_days: float | None = None
    unjudged: int = 0
    unplaced_boots: int = 0
    waiting: int = 0  # documents for cloud and archive
    waiting_since_ms: int | None = None
    dead: Mapping[str, int] = field(default_factory=dict)
    last_dead_ms: int | None = None
    meters: Sequence[MeterFacts] = ()


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """Whether a daemon holds the database, answers, and says that it is ready.

    `ready` None: not asked, since the web server is off. `problem` is what went wrong.
    """

    holds: bool
    answers: bool
    ready: bool | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What a short connection to the broker gave; `problem` "" = it let us in.

    `tried` False: no password at hand to try with. `ca_days` is how long the authority's
    certificate is still valid.
    """

    where: str
    problem: str = ""
    tried: bool = True
    tls: bool = False
    local: bool = True
    embedded: bool = False
    ca_days: float | None = None


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """The machine's clock; `service` "" = no time service found."""

    trust: str
    trusted: bool
    service: str
    now: str  # in the site's zone, for people
    zone: str
    zone_given: bool


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What can be read of the machine; None where it cannot."""

    memory_total: int | None
    memory_free: int | None
    temperature_c: float | None
    load: float
    cores: int


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """A certificate in use; `days` left, or `problem` where it cannot be read."""

    name: str  # web, broker, authority
    path: str
    days: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CloudFacts:
    """The way to the cloud; `reach` is "" when it can be reached, else why not."""

    project: str
    account: bool  # whether there is anything to log in with
    reach: str = ""
    word: str = ""  # what the daemon says of its connection
    detail: str = ""
    kept_home: bool = False  # the unit lets the daemon talk to the home's network only


@dataclass(frozen=True, slots=True)
class HardeningFacts:
    """How the installed service is fenced in.

    `exposure` 0 to 10 as systemd-analyze rates it, None where that cannot be asked; `open_files`
    are secrets that others may read; `upgrading` tells of an upgrade that was interrupted.
    """

    exposure: float | None
    open_files: Sequence[str] = ()
    looked_at: int = 0
    upgrading: bool = False

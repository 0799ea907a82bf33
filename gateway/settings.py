"""Everything an operator can set, validated before anything starts."""

import os
import re
import ssl
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gateway.domain.errors import ConfigError

DEFAULT_CONFIG = Path("/etc/wattwarden/config.toml")
GIGABYTE = 1_000_000_000
CREDENTIALS = "/run/credentials"
# Plain http is for a server on this very machine.
REPOSITORY = r"(https|gs)://[^/]|http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])([:/]|$)"
CLOCK_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"unknown time zone {name!r}; use an IANA name such as Europe/Lisbon"
        raise ValueError(msg) from error
    return name


class Section(BaseModel):
    """Immutable settings that reject unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SiteSettings(Section):
    """Which house this is."""

    id: str = Field(default="home", pattern=r"^[a-z0-9-]{1,32}$")
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    key_file: Path | None = None  # signs calibrations; site_key.pem beside the database

    @property
    def zone(self) -> ZoneInfo:
        """Return the site's time zone, which decides where a day begins."""
        return ZoneInfo(self.timezone)


class MqttSettings(Section):
    """How to reach the broker."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=1883, gt=0, lt=65536)
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    embedded: bool = False


class StorageSettings(Section):
    """Where readings live and for how long."""

    path: Path = Path("/var/lib/wattwarden/wattwarden.db")
    raw_days: int = Field(default=30, ge=1, le=36_500)
    max_bytes: int = Field(default=8 * GIGABYTE, ge=10_000_000)
    look_every_s: int = Field(default=600, ge=1, le=3600)  # for what is too old or too much


class WebSettings(Section):
    """The local web server."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, lt=65536)
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            msg = "cert_file and key_file belong together: give both, or none for plain HTTP"
            raise ValueError(msg)
        return self


class MeterSettings(Section):
    """How meters join."""

    auto_register: bool = True


class DetectSettings(Section):
    """What counts as wrong. Limits that are None are off."""

    nominal_voltage: float = Field(default=230, ge=50, le=450)
    nominal_frequency: float = Field(default=50, ge=40, le=70)
    false_alarms_per_month: float = Field(default=4, gt=0, le=1000)
    daily_limit_kwh: float | None = Field(default=None, gt=0)
    monthly_limit_kwh: float | None = Field(default=None, gt=0)
    contracted_power_w: float | None = Field(default=None, gt=0)
    gaussian: bool = True


class CloudSettings(Section):
    """Firebase; the gateway works whole without it."""

    enabled: bool = False
    project: str = ""
    # A service account's key; without one, the identity that `wattwarden cloud login` gets.
    credentials_file: Path | None = None
    identity_file: Path | None = None  # default: beside the database
    api_key: str = ""  # the project's web key: no secret, it only names the project
    functions_url: str = ""  # where functions/ is deployed
    development: bool = False  # emulators instead of Google are allowed then, and only then
    # Hard limits of a UTC day; Google's free quota is 20,000 writes.
    daily_writes: int = Field(default=18_000, ge=100)
    daily_megabytes: int = Field(default=200, ge=1)
    backfill_days: int = Field(default=30, ge=0)  # what is sent of the time before the cloud was on
    late_wait_s: int = Field(default=60, ge=0, le=3600)  # late readings are waited for so long
    # For pushes to browsers, as the console shows them: the web app's id, the Web Push key pair's
    # public half (a P-256 point). No secrets.
    web_app_id: str = Field(default="", pattern=r"^([0-9]+:[0-9]+:web:[0-9a-f]+)?$")
    web_push_key: str = Field(default="", pattern=r"^(B[A-Za-z0-9_-]{86})?$")

    @property
    def pushes_to_browsers(self) -> bool:
        """Tell whether browsers can be registered for pushes."""
        needed = (self.project, self.api_key, self.web_app_id, self.web_push_key)
        return self.enabled and all(needed)


class ArchiveSettings(Section):
    """Hourly Parquet files of what was measured, for training and for people's own tools."""

    enabled: bool = False
    directory: Path | None = None  # default: `archive` beside the database
    bucket: str = ""  # Cloud Storage instead of a directory; needs [cloud]
    readings: Literal["raw", "1m"] = "raw"
    late_wait_s: int = Field(default=300, ge=0, le=86_400)


class NotifySettings(Section):
    """How people learn of alerts that nobody is looking at."""

    enabled: bool = True
    urls_file: Path | None = None  # apprise's addresses: e-mail, ntfy, Telegram, webhooks
    language: Literal["en", "de", "es", "fr", "pt"] = "en"  # a device may ask for its own
    quiet_from: str | None = Field(default=None, pattern=CLOCK_TIME)
    quiet_to: str | None = Field(default=None, pattern=CLOCK_TIME)
    quiet_critical: bool = False  # true: critical alerts wait for the morning too
    escalate_after_min: int = Field(default=15, ge=0, le=1440)  # 0: never
    escalate_times: int = Field(default=3, ge=0, le=20)
    resolved: bool = False  # tell also that an alert is over

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.quiet_from is None) != (self.quiet_to is None):
            msg = "quiet_from and quiet_to belong together: give both, or none"
            raise ValueError(msg)
        return self


class ModelSettings(Section):
    """Where retrained models, device bundles and firmware come from, and when they are used."""

    repository: str = ""  # https://…, gs://bucket/folder, or a directory; "" = none
    root_file: Path = Path("/etc/wattwarden/models-root.json")  # pinned: what it says is believed
    channel: Literal["stable", "canary"] = "stable"
    pull_hours: float = Field(default=6, gt=0, le=8760)
    automatic: bool = True  # false: people activate by hand what has passed its time in shadow
    shadow_days: float = Field(default=7, gt=0, le=365)  # of the data's own time
    health_hours: float = Field(default=24, gt=0, le=8760)  # ... after an activation
    wave_hours: float = Field(default=24, ge=0, le=8760)  # between waves of meters' bundles

    @field_validator("repository")
    @classmethod
    def _known_place(cls, place: str) -> str:
        if "://" in place and not re.match(REPOSITORY, place):
            msg = "must be https://…, gs://bucket/folder, or a directory"
            raise ValueError(msg)
        return place


class HomeAssistantSettings(Section):
    """MQTT discovery; `host` None = on the gateway's own broker, with `[mqtt]`'s login."""

    enabled: bool = False
    host: str | None = Field(default=None, min_length=1)
    port: int = Field(default=1883, gt=0, lt=65536)
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    discovery_prefix: str = Field(default="homeassistant", pattern=r"^[A-Za-z0-9_/-]{1,64}$")


class MdnsSettings(Section):
    """Telling the network `<name>.local`; `mqtt_port` 0 = the broker is not announced."""

    enabled: bool = False
    name: str = Field(default="wattwarden", pattern=r"^[a-z0-9-]{1,63}$")
    mqtt_port: int = Field(default=8883, ge=0, lt=65536)


class KitSettings(Section):
    """What `meters provision` and `meters remove` work with, on the broker's machine."""

    broker_passwords: Path = Path("/etc/mosquitto/wattwarden.passwd")
    broker_pid: Path = Path("/run/mosquitto/mosquitto.pid")
    broker_host: str | None = Field(default=None, min_length=1)  # <this machine's name>.local
    broker_port: int = Field(default=8883, gt=0, lt=65536)
    ca_file: Path = Path("/etc/wattwarden/ca.crt")
    release_keys: Path | None = None


class ClockSettings(Section):
    """Whether this machine's clock may be believed."""

    trust: Literal["auto", "always", "never"] = "auto"


class LogSettings(Section):
    """How much to tell."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """The whole settings file."""

    site: SiteSettings = SiteSettings()
    mqtt: MqttSettings = MqttSettings()
    storage: StorageSettings = StorageSettings()
    web: WebSettings = WebSettings()
    meters: MeterSettings = MeterSettings()
    detect: DetectSettings = DetectSettings()
    cloud: CloudSettings = CloudSettings()
    archive: ArchiveSettings = ArchiveSettings()
    notify: NotifySettings = NotifySettings()
    models: ModelSettings = ModelSettings()
    kit: KitSettings = KitSettings()
    clock: ClockSettings = ClockSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    mdns: MdnsSettings = MdnsSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file, or raise ConfigError in one line that names each bad key."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            msg = f"{path}: no such file; give one with --config"
            raise ConfigError(msg) from error
        except PermissionError as error:
            msg = f"{path}: cannot be read by this user; run the command with sudo"
            raise ConfigError(msg) from error
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{path}: cannot be read: {error}"
            raise ConfigError(msg) from error
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            msg = f"{path}: not valid TOML: {error}"
            raise ConfigError(msg) from error
        except ValidationError as error:
            msg = f"{path}: " + "; ".join(explain(error))
            raise ConfigError(msg) from error


def check_files(settings: Settings, *, of_service: bool = True) -> None:
    """Raise ConfigError naming the first file that the settings name and that cannot be used.

    `of_service` False: credentials that systemd hands to the running service alone may be absent.
    """

    def asked(path: Path | None) -> bool:
        return path is not None and (
            of_service or not path.is_relative_to(CREDENTIALS) or path.exists()
        )

    for key, path in (
        ("mqtt.password_file", settings.mqtt.password_file),
        ("cloud.credentials_file", settings.cloud.credentials_file),
        ("homeassistant.password_file", settings.homeassistant.password_file),
        ("notify.urls_file", settings.notify.urls_file),
    ):
        if path is not None and asked(path):
            read_secret(path, key=key)
    tls_context(settings.mqtt)
    if asked(settings.web.key_file):
        web_tls_context(settings.web)


def tls_context(mqtt: MqttSettings) -> ssl.SSLContext | None:
    """Return a context that trusts the site's CA, None without TLS; or raise ConfigError."""
    if mqtt.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(mqtt.ca_file))
    except (OSError, ssl.SSLError) as error:
        msg = f"mqtt.ca_file: {mqtt.ca_file} cannot be used: {error}"
        raise ConfigError(msg) from error


def web_tls_context(web: WebSettings) -> ssl.SSLContext | None:
    """Return what serves HTTPS, None without a certificate; or raise ConfigError."""
    if web.cert_file is None or web.key_file is None:
        return None
    read_secret(web.key_file, key="web.key_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(web.cert_file, web.key_file, password=_no_password)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        msg = f"web.cert_file, web.key_file: {web.cert_file} cannot be used: {error}"
        raise ConfigError(msg) from error
    return context


def _no_password() -> str:
    msg = "the key is encrypted; write it without a password, readable by its owner alone"
    raise ValueError(msg)


def explain(error: ValidationError) -> list[str]:
    """Name each bad key, what is wrong with it, and what was found."""
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key")
        else:
            said = item["msg"].removeprefix("Value error, ")
            lines.append(f"{key}: {said} (found {item['input']!r:.80})")
    return lines


def read_private(path: Path, *, key: str) -> str:
    """Return a file that only its owner may read.

    Raise ConfigError naming `key` when the file is missing or open to others.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        msg = f"{key}: {path} cannot be read: {said}"
        raise ConfigError(msg) from error
    # systemd hands credentials out through an ACL, which shows as group-readable.
    handed_out = (CREDENTIALS, os.environ.get("CREDENTIALS_DIRECTORY", CREDENTIALS))
    group = 0 if any(path.is_relative_to(folder) for folder in handed_out) else stat.S_IRWXG
    if mode & (group | stat.S_IRWXO):
        msg = f"{key}: {path} can be read by others; run: chmod 600 {path}"
        raise ConfigError(msg)
    return text


def read_secret(path: Path, *, key: str) -> str:
    """Return the first line of a secret's file, which only its owner may read.

    Raise ConfigError naming `key` when the file is missing, empty, or open to others.
    """
    text = read_private(path, key=key)
    secret = text.split("\n", 1)[0].strip("\r")
    if not secret:
        msg = f"{key}: {path} is empty"
        raise ConfigError(msg)
    return secret

"""Everything an operator can set, validated before anything starts."""

import os
import ssl
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.domain.errors import ConfigError

DEFAULT_CONFIG = Path("/etc/wattwarden/config.toml")
GIGABYTE = 1_000_000_000
CREDENTIALS = "/run/credentials"


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
    credentials_file: Path | None = None


class ModelSettings(Section):
    """Where retrained models come from."""

    repository: str = ""


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
    models: ModelSettings = ModelSettings()
    clock: ClockSettings = ClockSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file, or raise ConfigError in one line that names each bad key."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            msg = f"{path}: no such file; give one with --config"
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
            msg = f"{path}: " + "; ".join(_explain(error))
            raise ConfigError(msg) from error


def check_files(settings: Settings) -> None:
    """Raise ConfigError naming the first file that the settings name and that cannot be used."""
    for key, path in (
        ("mqtt.password_file", settings.mqtt.password_file),
        ("cloud.credentials_file", settings.cloud.credentials_file),
    ):
        if path is not None:
            read_secret(path, key=key)
    tls_context(settings.mqtt)
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


def _explain(error: ValidationError) -> list[str]:
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

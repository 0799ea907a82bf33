"""The doctor's eyes: files, sockets, the clock and the machine itself."""

import asyncio
import os
import secrets
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

import aiomqtt

from gateway.adapters import clock as clocks
from gateway.adapters import doctor_system
from gateway.adapters.control import call_daemon
from gateway.adapters.doctor_system import CREDENTIALS
from gateway.adapters.installer.layout import Layout
from gateway.adapters.readiness import readyz
from gateway.adapters.store.checkup import read_facts
from gateway.adapters.store.database import lock_path
from gateway.domain.errors import ConfigError, GatewayError, NotFoundError
from gateway.services.doctor_facts import (
    BrokerFacts,
    CertificateFacts,
    ClockFacts,
    CloudFacts,
    DaemonFacts,
    DatabaseFacts,
    DiskFacts,
    HardeningFacts,
    MachineFacts,
    SecretFacts,
)
from gateway.settings import MqttSettings, Settings, read_secret

PATIENCE_S = 5.0
START_S = 10.0  # after a start the web server comes last
PROC_LOCKS = Path("/proc/locks")
THERMAL = Path("/sys/class/thermal")
DAY_S = 86_400.0


class RealSurroundings:
    """Satisfies `Surroundings` on this machine."""

    def __init__(
        self, settings: Settings, *, full: bool = False, layout: Layout | None = None
    ) -> None:
        """`full`: check the whole database however long it takes; `layout`: not below `/`."""
        self._settings = settings
        self._layout = layout or Layout()
        self._full = full

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def secrets(self) -> Sequence[SecretFacts]:
        """Look at the files that hold passwords."""
        wanted = [("mqtt.password_file", self._settings.mqtt.password_file)]
        if self._settings.cloud.enabled:
            wanted.append(("cloud.credentials_file", self._settings.cloud.credentials_file))
        found = []
        for key, path in wanted:
            if path is not None:
                source = doctor_system.behind_credential(path, self._layout)
                _, problem = _secret(source, key)
                of_service = source.is_relative_to(CREDENTIALS)
                found.append(SecretFacts(key, str(source), problem, of_service))
        return found

    def disk(self) -> DiskFacts:
        """Measure the room; ConfigError when the folder is missing."""
        storage = self._settings.storage
        try:
            free = shutil.disk_usage(storage.path.parent).free
            names = (storage.path.name, storage.path.name + "-wal")
            files = [storage.path.with_name(name) for name in names]
            used = sum(file.stat().st_size for file in files if file.exists())
        except OSError as error:
            msg = f"storage.path: {storage.path.parent} cannot be used: {error.strerror}"
            raise ConfigError(msg) from error
        return DiskFacts(str(storage.path.parent), used, storage.max_bytes, free)

    def database(self) -> DatabaseFacts:
        """Read the database; GatewayError when it cannot be opened."""
        path, most = self._settings.storage.path, self._settings.storage.max_bytes
        zone = self._settings.site.zone
        return read_facts(path, max_bytes=most, now_ms=self.now_ms(), full=self._full, zone=zone)

    def daemon(self) -> DaemonFacts:
        """Ask the daemon for something harmless, and its web server whether it is ready."""
        path = self._settings.storage.path
        holds = is_held(lock_path(path))
        answers, problem = _within(PATIENCE_S, lambda: _asks(path))
        if not answers or not self._settings.web.enabled or not self._settings.web.port:
            return DaemonFacts(holds or answers, answers, None, problem)
        ready, problem = readyz(self._settings.web, start_s=START_S)
        return DaemonFacts(holds=True, answers=True, ready=ready, problem=problem)

    def broker(self) -> BrokerFacts:
        """Connect to the broker for a moment, under another name than the daemon's."""
        mqtt = self._settings.mqtt
        if mqtt.password_file is not None:
            source = doctor_system.behind_credential(mqtt.password_file, self._layout)
            mqtt = mqtt.model_copy(update={"password_file": source})
        return asyncio.run(_try_broker(mqtt))

    def clock(self) -> ClockFacts:
        """Look at the clock."""
        site = self._settings.site
        return ClockFacts(
            trust=self._settings.clock.trust,
            trusted=clocks.SystemClock(self._settings.clock).trusted(),
            service=_time_service(),
            now=datetime.now(site.zone).isoformat(timespec="minutes"),
            zone=site.timezone,
            zone_given="timezone" in site.model_fields_set,
        )

    def machine(self) -> MachineFacts:
        """Look at the machine."""
        memory = _memory()
        return MachineFacts(
            memory.get("MemTotal"),
            memory.get("MemAvailable"),
            _temperature_c(),
            os.getloadavg()[1],
            os.cpu_count() or 1,
        )

    def certificates(self) -> Sequence[CertificateFacts]:
        """Read the certificates in use."""
        return doctor_system.certificates(self._settings, self._layout)

    def cloud(self) -> CloudFacts | None:
        """Try the way to the cloud; None where it is off."""
        return doctor_system.cloud(self._settings, self._layout)

    def hardening(self) -> HardeningFacts | None:
        """Look at the installed service's fences; None where none is installed."""
        return doctor_system.hardening(self._layout)


def is_held(lock: Path) -> bool:
    """Tell whether a process holds a lock file, without touching the lock (proc(5)).

    To try the lock would keep a daemon out that starts at that very moment.
    """
    try:
        inode = f":{lock.stat().st_ino}"
        lines = PROC_LOCKS.read_text().splitlines()
    except OSError:
        return False
    return any("FLOCK" in line and line.split()[5].endswith(inode) for line in lines)


def _asks(database: Path) -> tuple[bool, str]:
    try:
        answer = call_daemon(database, "users.list", {})
    except NotFoundError:
        return True, ""
    except (GatewayError, OSError) as error:
        return False, str(error)
    return answer is not None, "" if answer is not None else "it does not listen"


def _within(seconds: float, ask: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    """Return an answer, or that there was none in time; the thread dies with the process."""
    answers: list[tuple[bool, str]] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else (False, f"no answer within {seconds:.0f} s")


async def _try_broker(settings: MqttSettings) -> BrokerFacts:
    where = f"{settings.host}:{settings.port}"
    local = _is_local(settings.host)
    if settings.embedded:
        return BrokerFacts(where, embedded=True)
    password: str | None = None
    if settings.password_file is not None:
        password, problem = _secret(settings.password_file, "mqtt.password_file")
        if problem:
            return BrokerFacts(where, problem, tried=False, local=local)
    tls, ca_days = None, None
    try:
        if settings.ca_file is not None:
            tls = ssl.create_default_context(cafile=str(settings.ca_file))
            ca_days = _ca_days(tls)
        async with aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=password,
            identifier=f"wattwarden-doctor-{secrets.token_hex(4)}",
            protocol=aiomqtt.ProtocolVersion.V311,
            timeout=PATIENCE_S,
            tls_context=tls,
        ):
            problem = ""
    except (aiomqtt.MqttError, OSError) as error:
        problem = str(error) or type(error).__name__
        if tls is None and settings.ca_file is not None:
            problem = f"mqtt.ca_file {settings.ca_file}: {problem}"
    return BrokerFacts(where, problem, tls=tls is not None, local=local, ca_days=ca_days)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _ca_days(context: ssl.SSLContext) -> float | None:
    ends = [str(cert["notAfter"]) for cert in context.get_ca_certs() if "notAfter" in cert]
    if not ends:
        return None
    return (min(map(ssl.cert_time_to_seconds, ends)) - time.time()) / DAY_S


def _secret(path: Path, key: str) -> tuple[str | None, str]:
    """Return a secret and what is wrong with its file, "" for nothing."""
    if path.is_relative_to(CREDENTIALS):  # systemd sees to its rights, by an ACL
        try:
            return path.read_text(encoding="utf-8").split("\n", 1)[0].strip("\r"), ""
        except (OSError, UnicodeDecodeError) as error:
            return None, str(error)
    try:
        return read_secret(path, key=key), ""
    except ConfigError as error:
        return None, str(error)


def _time_service() -> str:
    for name, paths in (
        ("systemd-timesyncd", (clocks.TIMESYNCD,)),
        ("chrony", clocks.CHRONY_PIDS),
        ("ntpd", clocks.NTP_PIDS),
    ):
        for path in paths:
            try:
                if path.exists():
                    return name
            except PermissionError:  # a folder closed to us is one that its service made
                return name
    return ""


def _memory() -> dict[str, int]:
    """Return /proc/meminfo in bytes (proc(5)); empty where there is none."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {name.rstrip(":"): int(value) * 1024 for name, value, *_ in pairs}


def _temperature_c() -> float | None:
    """Return the hottest thermal zone (kernel: millidegrees), None where none can be read."""
    found = []
    for zone in THERMAL.glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)

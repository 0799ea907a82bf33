"""The doctor's eyes for certificates, the way to the cloud, and the service's fences."""

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.adapters.control import call_daemon
from gateway.adapters.installer.layout import SERVICE, Layout
from gateway.adapters.installer.papers import CERTS
from gateway.domain.errors import GatewayError
from gateway.services.doctor_facts import CertificateFacts, CloudFacts, HardeningFacts
from gateway.settings import Settings

PATIENCE_S = 5.0
RATING_S = 60.0
DAY_S = 86_400.0
CLOUD = ("firestore.googleapis.com", 443)
IDENTITY = "cloud-identity.json"  # beside the database, docs/cloud.md
CREDENTIALS = Path("/run/credentials")  # systemd.exec(5), LoadCredential=
OTHERS, GROUP = 0o007, 0o070


def behind_credential(path: Path, layout: Layout) -> Path:
    """Return the file that systemd hands out as a credential, while the service does not run.

    The path itself where it is no credential, is there, or the unit does not tell its source.
    """
    if not path.is_relative_to(CREDENTIALS) or _is_there(path):
        return path
    try:
        unit = layout.unit.read_text()
    except OSError:
        return path
    found = re.search(rf"(?m)^LoadCredential={re.escape(path.name)}:(\S+)$", unit)
    if found is None:
        return path
    source = found[1]
    there = layout.real(source) if source.startswith("/") else layout.credstore / source
    return there if _is_there(there) else path


def certificates(settings: Settings, layout: Layout) -> list[CertificateFacts]:
    """Read the certificates of web server, broker and the site's authority, where there are any."""
    found = []
    web = settings.web.cert_file
    if web is not None:
        found.append(_certificate("web", layout.real(web)))
    broker = layout.real(CERTS) / "wattwarden-broker.crt"
    authority = layout.real(settings.kit.ca_file)
    for name, path in (("broker", broker), ("authority", authority)):
        if _is_there(path):
            found.append(_certificate(name, path))
    return found


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder closed to us
        return False


def _certificate(name: str, path: Path) -> CertificateFacts:
    # Imported here: only the doctor looks into certificates.
    from cryptography import x509  # noqa: PLC0415

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        return CertificateFacts(name, str(path), problem=error.strerror or str(error))
    except ValueError as error:
        return CertificateFacts(name, str(path), problem=f"is no certificate: {error}")
    ends_s = certificate.not_valid_after_utc.timestamp()
    return CertificateFacts(name, str(path), (ends_s - time.time()) / DAY_S)


def cloud(settings: Settings, layout: Layout) -> CloudFacts | None:
    """Look at the account, try to reach the cloud, and ask the daemon how it fares."""
    given = settings.cloud
    if not given.enabled:
        return None
    identity = given.identity_file or settings.storage.path.with_name(IDENTITY)
    account = _is_there(identity) or (
        given.credentials_file is not None and _is_there(given.credentials_file)
    )
    word, detail = _told_by_daemon(settings.storage.path)
    kept = layout.unit.exists() and not any(
        "IPAddressAllow=any" in path.read_text() for path in layout.unit_extras.glob("*.conf")
    )
    return CloudFacts(given.project, account, _reach(), word, detail, kept)


def _told_by_daemon(database: Path) -> tuple[str, str]:
    try:
        told = call_daemon(database, "cloud.status", {})
    except (GatewayError, OSError):
        return "", ""
    return ("", "") if told is None else (str(told.get("word", "")), str(told.get("detail") or ""))


def _reach() -> str:
    """Return "" when Google's Firestore answers by TLS, else why not."""
    try:
        with (
            socket.create_connection(CLOUD, timeout=PATIENCE_S) as connection,
            ssl.create_default_context().wrap_socket(connection, server_hostname=CLOUD[0]),
        ):
            return ""
    except OSError as error:
        return f"{CLOUD[0]}: {error}"


def hardening(layout: Layout) -> HardeningFacts | None:
    """Rate the installed unit and look at the rights of everything secret."""
    if not _is_there(layout.unit):
        return None
    looked_at, opened = 0, []
    for path, mask in _secrets(layout):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        looked_at += 1
        if mode & mask:
            opened.append(f"{path} (mode {mode & 0o777:04o})")
    upgrading = _is_there(layout.program / "upgrading.json")
    return HardeningFacts(_exposure(layout), opened, looked_at, upgrading)


def _secrets(layout: Layout) -> Iterator[tuple[Path, int]]:
    """Yield secret files with the bits that none of them may have; those we may not see not."""
    alone = [layout.mqtt_password, layout.web_key, layout.authority / "ca.key"]
    try:
        alone += [path for path in layout.state.iterdir() if path.is_file()]
        alone += list(layout.credstore.glob("wattwarden.*"))
    except OSError:
        pass
    yield from ((path, GROUP | OTHERS) for path in dict.fromkeys(alone))
    broker = [layout.broker_passwords, layout.real(CERTS) / "wattwarden-broker.key", layout.config]
    yield from ((path, OTHERS) for path in broker)


def _exposure(layout: Layout) -> float | None:
    """Return systemd's rating of the unit with its drop-ins, None where it cannot be asked."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return None
    where = [f"--root={layout.root}", "--offline=true"] if layout.staged else []
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [analyze, "security", *where, "--no-pager", SERVICE],
            capture_output=True, text=True, timeout=RATING_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    return float(found[1]) if found else None

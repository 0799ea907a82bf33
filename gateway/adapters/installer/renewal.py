"""Renewing the certificates of web server and broker before they end, under the same CA."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from gateway.adapters.installer.errors import InstallError, explain
from gateway.adapters.installer.files import Owner, write_whole
from gateway.adapters.installer.layout import ACCOUNT, BROKER, BROKER_GROUP, SERVICE, Layout
from gateway.adapters.installer.papers import CERTS, Kit, Purpose
from gateway.adapters.installer.services import ServiceManager
from gateway.adapters.installer.steps import Report

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server's certificate and key, and which service must take up new ones."""

    purpose: Purpose
    certificate: Path
    key: Path
    key_mode: int
    key_group: str
    unit: str


def servers(layout: Layout) -> list[Server]:
    """Return the servers of an installation that have a certificate."""
    certs = layout.real(CERTS)
    broker_key = certs / "wattwarden-broker.key"
    found = [
        Server("broker", certs / "wattwarden-broker.crt", broker_key, 0o640, BROKER_GROUP, BROKER),
        Server("web", layout.settings_folder / "web.crt", layout.web_key, 0o600, "root", SERVICE),
    ]
    return [server for server in found if server.certificate.exists()]


def renew(
    layout: Layout, kit: Kit, services: ServiceManager, report: Report, *, within_days: float
) -> int:
    """Renew what ends within some days and return how many those were.

    A certificate keeps its names. The key is new, too. InstallError when a file cannot be
    written; the CA itself outlives the house (2099), and is never renewed: meters pin it.
    """
    stale = [one for one in servers(layout) if days_left(one.certificate) < within_days]
    try:
        for server in stale:
            names = names_of(server.certificate)
            report(f"renew {server.certificate} ({', '.join(names)})")
            certificate, key = kit.server(names, server.purpose)
            owned = not layout.staged
            key_owner = Owner("root", server.key_group) if owned else Owner()
            # The key first: should the power go between the two, the next run mends it, since
            # the old certificate still ends soon.
            write_whole(server.key, key, server.key_mode, key_owner)
            owner = Owner("root", ACCOUNT if server.purpose == "web" else "root")
            write_whole(server.certificate, certificate, 0o644, owner if owned else Owner())
    except OSError as error:
        raise explain(error) from error
    for unit in dict.fromkeys(server.unit for server in stale):
        if services.active(unit):
            report(f"restart {unit}")
            services.restart(unit)
    return len(stale)


def days_left(path: Path) -> float:
    """Return how many days a certificate is still good; InstallError when it is none."""
    return (_read(path).not_valid_after_utc.timestamp() - time.time()) / DAY_S


def names_of(path: Path) -> Sequence[str]:
    """Return the names and addresses a certificate is for, the first one its subject."""
    found = _read(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise explain(error) from error
    except ValueError as error:
        msg = f"{path} is no certificate ({error}); remove it and run: wattwarden install"
        raise InstallError(msg) from error

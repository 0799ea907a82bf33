"""The site's own certificate authority: what meters and browsers of the house trust.

EC P-256. Its certificates begin on 2000-01-01, for a meter that does not know the time yet
takes it to be 2000 (MicroPython's epoch) when it connects first.
"""

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.domain.errors import BadInputError, ConfigError

Purpose = Literal["broker", "web"]
VALID_FROM: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
CA_UNTIL: Final = dt.datetime(2099, 12, 31, tzinfo=dt.UTC)
BROKER_LASTS: Final = dt.timedelta(days=3650)
# Phones refuse a web server's certificate that is valid for longer than 825 days, also from an
# authority of one's own (Apple, support article 103769).
WEB_LASTS: Final = dt.timedelta(days=820)
_DAY: Final = dt.timedelta(days=1)
CERTIFICATE: Final = "ca.crt"
KEY: Final = "ca.key"
SECRET_MODE: Final = 0o600
_NO_ENCRYPTION = serialization.NoEncryption()


@dataclass(frozen=True, slots=True)
class Issued:
    """A server's certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs server certificates. `certificate` is its own, PEM: what others pin."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def load_or_create(cls, folder: Path, *, site: str = "home") -> Self:
        """Return the authority in a folder (ca.crt, and ca.key of mode 0600), made where none is.

        An interrupted making is made anew, a lost key is not: its certificate is pinned in
        meters. ConfigError names the file that cannot be used.
        """
        certificate, key = folder / CERTIFICATE, folder / KEY
        if not certificate.exists():
            return cls._create(folder, site)
        return cls(_certificate(certificate), _private_key(key))

    @property
    def certificate(self) -> bytes:
        """Return its certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, names: Sequence[str], purpose: Purpose = "broker", *, now: dt.datetime | None = None
    ) -> Issued:
        """Return a certificate for DNS names and addresses, the first one its subject.

        "broker": from 2000 on, for ten years from now; "web": from yesterday on, 820 days.
        BadInputError without a name.
        """
        if not names:
            msg = "a certificate needs a name: the machine's, such as gateway.local"
            raise BadInputError(msg)
        today = now or dt.datetime.now(dt.UTC)
        start = VALID_FROM if purpose == "broker" else today - _DAY
        until = min(today + (BROKER_LASTS if purpose == "broker" else WEB_LASTS), CA_UNTIL)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(names[0]), self._certificate.subject, key.public_key())
        certificate = (
            builder.not_valid_before(start)
            .not_valid_after(until)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(_issuer_id(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Issued(pem, _pem(key))

    @classmethod
    def _create(cls, folder: Path, site: str) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named(f"Wattwarden {site} CA")
        certificate = (
            _builder(name, name, key.public_key())
            .not_valid_before(VALID_FROM)
            .not_valid_after(CA_UNTIL)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(_issuer_id(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        made = cls(certificate, key)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(folder / KEY, _pem(key), SECRET_MODE)
            # Last: where it is, the key is.
            _write(folder / CERTIFICATE, made.certificate, 0o644)
        except OSError as error:
            msg = f"{folder}: the site's authority cannot be made: {error.strerror}; run it as root"
            raise ConfigError(msg) from error
        return made


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issuer_id(public_key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, _NO_ENCRYPTION
    )


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: holds no certificate ({error}); restore it from a backup"
        raise ConfigError(msg) from error


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if path.stat().st_mode & 0o077:
            msg = f"{path}: can be read by others; run: chmod 600 {path}"
            raise ConfigError(msg)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = f"{path}: the site's authority has lost its key ({error}); restore it from a backup"
        raise ConfigError(msg) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        msg = f"{path}: holds a key of another kind than EC; restore it from a backup"
        raise ConfigError(msg)
    return key


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file in one step; its mode holds before its content is there."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)
    fresh.replace(path)

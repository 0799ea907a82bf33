"""The site's authority: OpenSSL trusts what it signs, so do meters without a clock, and phones."""

import datetime as dt
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.domain.errors import BadInputError, ConfigError
from provisioning.authority import Authority

NAMES = ("gateway.local", "192.168.1.9")


def leaf(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def openssl_says(ca: Path, certificate: bytes, folder: Path, *options: str) -> str:
    path = folder / "leaf.crt"
    path.write_bytes(certificate)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", str(ca), *options, str(path)],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_what_it_signs_openssl_trusts_for_each_name(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "a")
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.certificate)
    for purpose in ("broker", "web"):
        issued = authority.issue(NAMES, purpose)
        for how in (
            ("-verify_hostname", NAMES[0]),
            ("-verify_ip", NAMES[1]),
            ("-purpose", "sslserver"),
        ):
            assert "OK" in openssl_says(ca, issued.certificate, tmp_path, *how)
        said = openssl_says(ca, issued.certificate, tmp_path, "-verify_hostname", "other.local")
        assert "hostname mismatch" in said.lower()


def test_a_meter_that_believes_it_is_2000_can_connect(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "a")
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.certificate)
    epoch = str(int(dt.datetime(2000, 1, 1, 0, 1, tzinfo=dt.UTC).timestamp()))
    broker, web = authority.issue(NAMES), authority.issue(NAMES, "web")
    assert "OK" in openssl_says(ca, broker.certificate, tmp_path, "-attime", epoch)
    assert "not yet valid" in openssl_says(ca, web.certificate, tmp_path, "-attime", epoch)


def test_curve_and_lifetimes(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "a", site="cottage")
    ca = leaf(authority.certificate)
    key = ca.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert ca.not_valid_before_utc == dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    assert "cottage" in ca.subject.rfc4514_string()
    now = dt.datetime(2027, 5, 1, tzinfo=dt.UTC)
    broker = leaf(authority.issue(NAMES, now=now).certificate)
    assert broker.not_valid_before_utc == dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    assert broker.not_valid_after_utc > now + dt.timedelta(days=3600)
    web = leaf(authority.issue(NAMES, "web", now=now).certificate)
    assert web.not_valid_after_utc - web.not_valid_before_utc <= dt.timedelta(days=825)
    assert web.not_valid_before_utc < now


def test_it_is_made_once_and_its_key_is_ours_alone(tmp_path: Path) -> None:
    first = Authority.load_or_create(tmp_path / "a")
    assert (tmp_path / "a" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    again = Authority.load_or_create(tmp_path / "a")
    assert again.certificate == first.certificate
    context = ssl.create_default_context(cadata=again.certificate.decode())
    assert str(context.get_ca_certs()[0]["notBefore"]).startswith("Jan  1 00:00:00 2000")


def test_an_interrupted_making_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "ca.key").write_text("half a k")
    (folder / "ca.crt.new").write_text("-----BEG")
    Authority.load_or_create(folder).issue(NAMES)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    Authority.load_or_create(folder)
    with pytest.raises(BadInputError, match="needs a name"):
        Authority.load_or_create(folder).issue([])
    (folder / "ca.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"can be read by others; run: chmod 600 .*ca\.key"):
        Authority.load_or_create(folder)
    (folder / "ca.key").unlink()
    with pytest.raises(ConfigError, match=r"lost its key .*restore it from a backup"):
        Authority.load_or_create(folder)
    (folder / "ca.crt").write_text("nothing")
    with pytest.raises(ConfigError, match=r"holds no certificate .*restore it from a backup"):
        Authority.load_or_create(folder)

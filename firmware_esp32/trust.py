"""The certificates that a broker's must be signed by; loaded once, for the first connection."""

import binascii
import os
import ssl

from net import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext


def tls_context(ca_file: str) -> "SSLContext":
    """Return a client context that trusts this PEM file alone; RefusedError when unusable."""
    try:
        with open(ca_file, "rb") as file:
            certificates = _der(file.read(min(os.stat(ca_file)[6], 16_384)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # MicroPython's default is to trust everyone.
        context.verify_mode = ssl.CERT_REQUIRED
        for certificate in certificates:
            context.load_verify_locations(cadata=certificate)
    except (OSError, ValueError) as error:
        msg = f"the CA file {ca_file} cannot be used ({error}): provision the meter again"
        raise RefusedError(msg) from error
    return context


def _der(pem: bytes) -> "list[bytes]":
    # mbedtls is built without its PEM reader on the boards.
    certificates = []
    for part in pem.split(b"-----BEGIN CERTIFICATE-----")[1:]:
        body = part.split(b"-----END CERTIFICATE-----")[0]
        certificates.append(binascii.a2b_base64(body.replace(b"\r", b"").replace(b"\n", b"")))
    if not certificates:
        msg = "it holds no certificate"
        raise ValueError(msg)
    return certificates

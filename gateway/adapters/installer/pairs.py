"""A server's certificate and its key: put in place together, since one is worth nothing alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from gateway.adapters.installer.files import PlaceFile

Issue = Callable[[], tuple[bytes, bytes]]


def fits(certificate: Path, key: Path) -> bool:
    """Tell whether both files are there and belong to each other."""
    try:
        public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        return False
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(*form) == private.public_key().public_bytes(*form)


@dataclass(slots=True)
class PlacePair:
    """The step. `certificate` and `key` say where and with what rights; `issue` makes both.

    A pair that fits is kept; half of one, left by an interruption, is replaced by a new pair.
    """

    certificate: PlaceFile
    key: PlaceFile
    issue: Issue
    _done: list[PlaceFile] = field(default_factory=list, init=False)

    def pending(self) -> str | None:
        """Say whether a pair must be made, or rights be set."""
        if not fits(self.certificate.path, self.key.path):
            return f"write {self.certificate.path} and its key {self.key.path}"
        return self.certificate.pending() or self.key.pending()

    def apply(self) -> None:
        """Make and write it, the key first."""
        new = not fits(self.certificate.path, self.key.path)
        parts = (self.key, self.certificate)
        if new:
            certificate, key = self.issue()
            self.certificate.content, self.key.content = (lambda: certificate), (lambda: key)
        for part in parts:
            part.keep = not new
            self._done.append(part)
            part.apply()

    def undo(self) -> None:
        """Put the earlier ones back."""
        for part in reversed(self._done):
            part.undo()

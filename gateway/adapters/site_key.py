"""The site's own ed25519 key: signs calibrations and what is refitted here, and nothing else."""

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.domain.errors import ConfigError

SECRET_MODE = 0o600
OTHERS = 0o077


class SiteKey:
    """A key pair; meters pin the public half at provisioning."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def load_or_create(cls, path: Path) -> "SiteKey":
        """Return the key in a PEM file (PKCS 8, mode 0600); makes one where there is none.

        ConfigError when the file cannot be used, holds another key, or others may read it.
        """
        try:
            return cls._load(path)
        except FileNotFoundError:
            return cls._create(path)
        except OSError as error:
            msg = f"site.key_file: {path} cannot be read: {error.strerror}"
            raise ConfigError(msg) from error

    @classmethod
    def _load(cls, path: Path) -> "SiteKey":
        if path.stat().st_mode & OTHERS and not _is_credential(path):
            msg = f"site.key_file: {path} may be read by others: chmod 600 {path}"
            raise ConfigError(msg)
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            msg = f"site.key_file: {path} holds no private key: restore it from a backup"
            raise ConfigError(msg) from error
        if not isinstance(key, Ed25519PrivateKey):
            msg = f"site.key_file: {path} holds a key of another kind than ed25519"
            raise ConfigError(msg)
        return cls(key)

    @classmethod
    def _create(cls, path: Path) -> "SiteKey":
        """Write a new key; of two processes that do, the second takes the first one's."""
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            _give_to_owner(fresh)
            try:
                os.link(fresh, path)  # never over another's: meters may have pinned that one
            except FileExistsError:
                return cls._load(path)
            finally:
                fresh.unlink()
        except OSError as error:
            msg = f"site.key_file: {path} cannot be written: {error.strerror}"
            raise ConfigError(msg) from error
        return cls(private)

    @property
    def public(self) -> bytes:
        """Return the 32 bytes of the public key."""
        return self._private.public_key().public_bytes_raw()

    @property
    def public_hex(self) -> str:
        """Return the public key in hex."""
        return self.public.hex()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte ed25519 signature."""
        return self._private.sign(message)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this key signed a message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def _is_credential(path: Path) -> bool:
    return path.resolve().is_relative_to("/run/credentials")


def _give_to_owner(path: Path) -> None:
    """Leave what root has made to the folder's owner, whom the daemon runs as."""
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)

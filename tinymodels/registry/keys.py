"""The keys that sign a repository: ed25519 in PEM files of mode 0600, or in the environment."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey

from gateway.domain.errors import ConfigError
from gateway.settings import read_private

ENVIRONMENT = "WATTWARDEN_REGISTRY_KEY_"  # then the role's name in capitals; the value is the PEM
SECRET_MODE = 0o600


class Keyring:
    """What this publisher can sign with, by key id."""

    def __init__(self, signers: Iterable[CryptoSigner] = ()) -> None:
        self._signers = {signer.public_key.keyid: signer for signer in signers}

    @classmethod
    def load(cls, folders: Sequence[Path], environment: Mapping[str, str]) -> "Keyring":
        """Read every `*.pem` of the folders, and what the environment holds.

        ConfigError names the file or variable that cannot be used, or that others may read.
        """
        signers = []
        for folder in folders:
            if not folder.is_dir():
                msg = f"--keys: {folder} is no folder"
                raise ConfigError(msg)
            signers += [key_of(path) for path in sorted(folder.glob("*.pem"))]
        for name, text in sorted(environment.items()):
            if name.startswith(ENVIRONMENT):
                signers.append(_signer(text, f"${name}"))
        return cls(signers)

    def signers(self, key_ids: Iterable[str]) -> list[CryptoSigner]:
        """Return who of these can sign here."""
        return [self._signers[one] for one in key_ids if one in self._signers]

    def add(self, signer: CryptoSigner) -> None:
        """Sign with this one too."""
        self._signers[signer.public_key.keyid] = signer


def new_key(path: Path) -> CryptoSigner:
    """Make a key and write it, readable by its owner alone.

    ConfigError where there is a file of that name already: no key is ever overwritten.
    """
    signer = CryptoSigner.generate_ed25519()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
        with os.fdopen(handle, "wb") as file:
            file.write(signer.private_bytes)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        msg = f"--keys: {path} cannot be written: {error.strerror}"
        raise ConfigError(msg) from error
    return signer


def key_of(path: Path) -> CryptoSigner:
    """Return the key of a file, as `new_key` writes it; ConfigError."""
    return _signer(read_private(path, key="--keys"), str(path))


def public_key_of(path: Path) -> SSlibKey:
    """Return the public key of a PEM file, which may also hold the private one; ConfigError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        msg = f"--key: {path} cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
    if b"PRIVATE" in text:
        return key_of(path).public_key
    try:
        key = load_pem_public_key(text)
    except ValueError as error:
        msg = f"--key: {path} holds no PEM key"
        raise ConfigError(msg) from error
    if not isinstance(key, Ed25519PublicKey):
        msg = f"--key: {path} holds a key of another kind than ed25519"
        raise ConfigError(msg)
    return SSlibKey.from_crypto(key)


def _signer(text: str, where: str) -> CryptoSigner:
    try:
        private = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError) as error:
        msg = f"{where}: holds no private key in PEM without a password"
        raise ConfigError(msg) from error
    if not isinstance(private, Ed25519PrivateKey):
        msg = f"{where}: a key of another kind than ed25519"
        raise ConfigError(msg)
    return CryptoSigner(private)

"""The release keys that meters pin: what may sign firmware and models for them."""

import base64
from pathlib import Path
from typing import Final

from gateway.domain.errors import ConfigError

KEY_BYTES: Final = 32  # a raw ed25519 public key (RFC 8032)


def release_keys(path: Path | None) -> tuple[bytes, ...]:
    """Return the public keys in a file, one a line in hex or base64; # begins a comment.

    ConfigError names the line that holds none.
    """
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"kit.release_keys: {path} cannot be read: {error}"
        raise ConfigError(msg) from error
    texts = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    return tuple(_key(text, f"{path} line {number}") for number, text in texts if text)


def _key(text: str, where: str) -> bytes:
    try:
        if len(text) == 2 * KEY_BYTES:
            key = bytes.fromhex(text)
        else:
            key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        msg = f"kit.release_keys: {where}: no ed25519 public key in hex or base64"
        raise ConfigError(msg)
    return key

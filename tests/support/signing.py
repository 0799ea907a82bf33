"""Keys and signed announcements for tests of the bundle road."""

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Signer:
    """One ed25519 key pair; the same seed gives the same pair."""

    def __init__(self, seed: int = 1) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._private.sign(message)

    def announce(
        self, kind: str, version: int, content: bytes, *, meter: str = "*"
    ) -> dict[str, Any]:
        """Return the entry of `desired` for a bundle, as the contract writes it."""
        entry: dict[str, Any] = {
            "kind": kind,
            "version": version,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        signed = json.dumps({**entry, "meter": meter}, sort_keys=True, separators=(",", ":"))
        entry["sig"] = base64.b64encode(self.sign(signed.encode())).decode()
        return entry

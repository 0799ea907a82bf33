"""What bundles look like: kinds, sizes, the text that is signed, the shelf they lie on."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

import msgspec

from gateway.domain.errors import BadInputError

# docs/firmware/bundles.md: what a meter takes.
MOST_BYTES = {"calibration": 8_192, "model": 8_192, "firmware": 307_200}
MOST_VERSION = 1_000_000_000
SIGNATURE_BYTES = 64
EVERY_METER = "*"


class Announced(msgspec.Struct, frozen=True):
    """A stored bundle without its bytes; `sig` in base64, `meter` an id or "*"."""

    kind: str
    meter: str
    version: int
    size: int
    sha256: str
    sig: str
    published_ms: int
    published_by: str


class Wanted(msgspec.Struct, frozen=True):
    """What a meter (or "*", each one) shall run of a kind."""

    kind: str
    meter: str
    version: int
    since_ms: int


class Progress(msgspec.Struct, frozen=True):
    """How far a meter is with a bundle.

    `state`: "announced", "fetching", "running" or "refused"; `why` the meter's word for a
    refusal (docs/firmware/bundles.md), `detail` its text. `offset` bytes have been asked for.
    """

    meter: str
    kind: str
    version: int
    state: str
    why: str = ""
    detail: str = ""
    updated_ms: int = 0
    offset: int = 0


class BundleStore(Protocol):
    """What the rollout needs from storage."""

    async def put(
        self, bundle: Announced, body: bytes, wanted: Wanted | None, keep: int
    ) -> None:  # fmt: skip
        """Store a bundle, and what is wanted; of those nobody wants the newest `keep` stay."""

    async def want(self, wanted: Wanted) -> None:
        """Note what shall run, in place of what was wanted of that kind."""

    async def body(self, kind: str, meter: str, version: int) -> bytes | None:
        """Return a bundle's bytes, None when it is not there."""

    async def load(self) -> tuple[Sequence[Announced], Sequence[Wanted], Sequence[Progress]]:
        """Return all bundles, what is wanted, and the newest progress of each meter and kind."""

    async def note(self, progress: Progress) -> None:
        """Keep how far a meter is."""


def signed_text(kind: str, meter: str, version: int, body: bytes) -> bytes:
    """Return the canonical JSON that a bundle's signature covers (contract, section 2)."""
    text = {
        "kind": kind,
        "meter": meter,
        "sha256": hashlib.sha256(body).hexdigest(),
        "size": len(body),
        "version": version,
    }
    return json.dumps(text, sort_keys=True, separators=(",", ":")).encode()


def announced(  # noqa: PLR0913 - what an announcement says
    kind: str, meter: str, version: int, body: bytes, sig: bytes, *, at_ms: int, by: str
) -> Announced:
    """Return a bundle's announcement, or raise BadInputError for what no meter would take."""
    if kind not in MOST_BYTES:
        msg = f"kind: must be one of {', '.join(MOST_BYTES)}"
        raise BadInputError(msg)
    if not 0 < version <= MOST_VERSION:
        msg = f"version: a whole number from 1 to {MOST_VERSION}"
        raise BadInputError(msg)
    if not 0 < len(body) <= MOST_BYTES[kind]:
        msg = f"body: {len(body)} bytes; a {kind} has 1 to {MOST_BYTES[kind]}"
        raise BadInputError(msg)
    if len(sig) != SIGNATURE_BYTES:
        msg = f"sig: an ed25519 signature has {SIGNATURE_BYTES} bytes, not {len(sig)}"
        raise BadInputError(msg)
    digest = hashlib.sha256(body).hexdigest()
    text = base64.b64encode(sig).decode()
    return Announced(kind, meter, version, len(body), digest, text, at_ms, by)


def entry(bundle: Announced) -> dict[str, object]:
    """Return a bundle's entry of `desired`."""
    return {
        "kind": bundle.kind,
        "version": bundle.version,
        "size": bundle.size,
        "sha256": bundle.sha256,
        "sig": bundle.sig,
    }


def from_base64(value: object, key: str) -> bytes:
    """Return what a text stands for, or raise BadInputError naming the key."""
    try:
        return base64.b64decode(str(value), validate=True)
    except (ValueError, binascii.Error) as error:
        msg = f"{key}: must be base64"
        raise BadInputError(msg) from error

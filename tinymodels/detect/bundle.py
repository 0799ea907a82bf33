"""Bundles for meters: the announcement that is signed, and the container a firmware comes in."""

import hashlib
import json
import re
import struct
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["model", "calibration", "firmware"]

MOST_BYTES: Final[Mapping[str, int]] = {
    "model": 8_192,
    "calibration": 8_192,
    "firmware": 307_200,
}
ANY_METER: Final = "*"
MOST_VERSION: Final = 1_000_000_000  # what a meter's small ints hold
SIGNATURE_BYTES: Final = 64
CONTAINER_MAGIC: Final = b"WWFW"
CONTAINER_FORMAT: Final = 1
MOST_FILES: Final = 96
MOST_MANIFEST_BYTES: Final = 12_000
_METER: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,31}")
_MODULE: Final = re.compile(r"[a-z0-9_]+\.(py|mpy)")
# The loader and what MicroPython starts by itself stay on the meter's root for ever.
_FORBIDDEN: Final = {"main", "boot"}


class BundleError(ValueError):
    """No meter would take this bundle; whoever packs it must correct what the text names."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What `desired` says of a bundle, without the signature; `meter` is an id or "*"."""

    kind: Kind
    meter: str
    version: int
    size: int
    sha256: str

    def canonical(self) -> bytes:
        """Return the text the signature covers: canonical JSON, keys sorted, no spaces."""
        fields = {
            "kind": self.kind,
            "meter": self.meter,
            "sha256": self.sha256,
            "size": self.size,
            "version": self.version,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def entry(self, signature: bytes) -> dict[str, str | int]:
        """Return the object for `desired` with an ed25519 signature of `canonical()`."""
        if len(signature) != SIGNATURE_BYTES:
            msg = f"an ed25519 signature has {SIGNATURE_BYTES} bytes, not {len(signature)}"
            raise BundleError(msg)
        return {
            "kind": self.kind,
            "version": self.version,
            "size": self.size,
            "sha256": self.sha256,
            "sig": b64encode(signature).decode(),
        }


def announce(kind: Kind, version: int, content: bytes, *, meter: str = ANY_METER) -> Announcement:
    """Describe a bundle's content. BundleError when a meter would refuse it for its form."""
    if kind not in MOST_BYTES:
        msg = f"kind {kind!r} is none of {', '.join(MOST_BYTES)}"
        raise BundleError(msg)
    if not 0 < len(content) <= MOST_BYTES[kind]:
        msg = f"{kind} of {len(content)} bytes: a meter takes 1 to {MOST_BYTES[kind]}"
        raise BundleError(msg)
    if not 0 < version <= MOST_VERSION:
        msg = f"version {version} is not between 1 and {MOST_VERSION}"
        raise BundleError(msg)
    if meter != ANY_METER and not _METER.fullmatch(meter):
        msg = f"{meter!r} is no meter's id"
        raise BundleError(msg)
    return Announcement(kind, meter, version, len(content), hashlib.sha256(content).hexdigest())


def firmware_manifest(files: Mapping[str, bytes], version: int) -> bytes:
    """Return the manifest.json of one firmware version's slot, files sorted by their names.

    `files` maps module names ("app.py", "sampler.mpy") to contents. BundleError for names a
    meter refuses, without an app, and for too many.
    """
    names = sorted(files)
    for name in names:
        if not _MODULE.fullmatch(name) or name.rpartition(".")[0] in _FORBIDDEN:
            msg = f"{name!r} cannot be in a firmware bundle"
            raise BundleError(msg)
    if not {"app.py", "app.mpy"} & files.keys():
        msg = "a firmware needs app.py or app.mpy, which the loader starts"
        raise BundleError(msg)
    listed = [[name, len(files[name]), hashlib.sha256(files[name]).hexdigest()] for name in names]
    fields = {"files": listed, "format": CONTAINER_FORMAT, "version": version}
    manifest = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    if len(names) > MOST_FILES or len(manifest) > MOST_MANIFEST_BYTES:
        msg = f"{len(names)} files are more than a meter's manifest holds"
        raise BundleError(msg)
    return manifest


def pack_firmware(files: Mapping[str, bytes], version: int) -> bytes:
    """Return the container of one firmware version; the same input gives the same bytes.

    `files` as for `firmware_manifest`, and its BundleErrors; one more over the size limit.
    """
    manifest = firmware_manifest(files, version)
    head = struct.pack("<4sBI", CONTAINER_MAGIC, CONTAINER_FORMAT, len(manifest))
    packed = head + manifest + b"".join(files[name] for name in sorted(files))
    if len(packed) > MOST_BYTES["firmware"]:
        msg = f"{len(packed)} bytes of firmware: a meter takes {MOST_BYTES['firmware']}"
        raise BundleError(msg)
    return packed

"""A published model as one file: what it is, its bytes, a self-test, and its card."""

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tinymodels.detect.contract import Model, ModelRefusedError
from tinymodels.detect.minutes import VALUES, Floats, Minutes

SCHEMA: Final = 1
MAGIC: Final = b"WWM1"
POOLED: Final = "*"
SUFFIX: Final = ".wwm"
MOST_VERSION: Final = 1_000_000_000
MOST_HEAD_BYTES: Final = 262_144
MOST_PAYLOAD_BYTES: Final = 2_097_152
MOST_VECTOR_ROWS: Final = 20_160  # two weeks of minutes
MOST_FEATURES: Final = 256
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_KIND: Final = re.compile(r"[a-z][a-z_]{0,31}")
_HEAD: Final = struct.Struct("<4sIII")
_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """The self-test: these minutes must give these scores, to `tolerance` (relative)."""

    minutes: Minutes
    scores: Floats
    tolerance: float = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """One published model of one channel; `meter` is an id or POOLED.

    `needs` names what runs it ("numpy", "litert"); `card` is what people should know of it.
    """

    kind: str
    version: int
    meter: str
    channel: str
    features: tuple[str, ...]
    features_version: int
    payload: bytes
    vectors: Vectors
    needs: tuple[str, ...] = ("numpy",)
    card: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def name(self) -> str:
        """Return the file's name: <kind>-<meter or pooled>-<channel>-<version>.wwm."""
        meter = "pooled" if self.meter == POOLED else self.meter
        return f"{self.kind}-{meter}-{self.channel}-{self.version}{SUFFIX}"


def pack(package: Package) -> bytes:
    """Return the file; the same package gives the same bytes. ModelRefusedError as `unpack`."""
    _check(package)
    minutes, scores = package.vectors.minutes, package.vectors.scores
    head = {
        "schema": package.schema,
        "kind": package.kind,
        "version": package.version,
        "meter": package.meter,
        "channel": package.channel,
        "features": list(package.features),
        "features_version": package.features_version,
        "needs": list(package.needs),
        "tolerance": package.vectors.tolerance,
        "scores": len(scores),
        "card": package.card,
    }
    text = json.dumps(head, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    body = b"".join((
        _HEAD.pack(MAGIC, len(text), len(package.payload), len(minutes)),
        text,
        package.payload,
        minutes.start_ms.astype("<i8").tobytes(),
        minutes.values.astype("<f8").tobytes(),
        np.asarray(scores).astype("<f8").tobytes(),
    ))  # fmt: skip
    return body + hashlib.sha256(body).digest()


def unpack(content: bytes) -> Package:
    """Return the package, or raise ModelRefusedError naming what is wrong with the file."""
    if len(content) < _HEAD.size + _HASH_BYTES or content[:4] != MAGIC:
        msg = f"not a model file: it begins with {content[:4]!r}, not {MAGIC!r}"
        raise ModelRefusedError(msg)
    body, told = content[:-_HASH_BYTES], content[-_HASH_BYTES:]
    if hashlib.sha256(body).digest() != told:
        msg = "the model file is damaged or cut: its checksum differs; fetch it again"
        raise ModelRefusedError(msg)
    _, head_bytes, payload_bytes, rows = _HEAD.unpack_from(body)
    if head_bytes > MOST_HEAD_BYTES or payload_bytes > MOST_PAYLOAD_BYTES:
        msg = f"a head of {head_bytes} or a model of {payload_bytes} bytes is too much"
        raise ModelRefusedError(msg)
    if rows > MOST_VECTOR_ROWS:
        msg = f"a self-test of {rows} minutes is longer than {MOST_VECTOR_ROWS}"
        raise ModelRefusedError(msg)
    at = _HEAD.size + head_bytes
    try:
        head = json.loads(body[_HEAD.size : at])
        vectors = _vectors(body[at + payload_bytes :], rows, head)
        package = Package(
            kind=head["kind"],
            version=head["version"],
            meter=head["meter"],
            channel=head["channel"],
            features=tuple(head["features"]),
            features_version=head["features_version"],
            payload=body[at : at + payload_bytes],
            vectors=vectors,
            needs=tuple(head["needs"]),
            card=head["card"],
            schema=head["schema"],
        )
        _check(package)
    except ModelRefusedError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"the model file's head is not what schema {SCHEMA} says: {error!r}"
        raise ModelRefusedError(msg) from error
    return package


def _vectors(part: bytes, rows: int, head: Mapping[str, Any]) -> Vectors:
    """Read the self-test, which is all that is left of the file."""
    count = int(head["scores"])
    if not 0 <= count <= rows or len(part) != 8 * (rows * (1 + len(VALUES)) + count):
        msg = f"a self-test of {rows} minutes and {count} scores has not {len(part)} bytes"
        raise ModelRefusedError(msg)
    starts = np.frombuffer(part, "<i8", rows)
    values = np.frombuffer(part, "<f8", rows * len(VALUES), 8 * rows).reshape(rows, len(VALUES))
    scores = np.frombuffer(part, "<f8", count, 8 * rows * (1 + len(VALUES)))
    return Vectors(Minutes(starts, values), scores, float(head["tolerance"]))


def _check(package: Package) -> None:
    """Raise ModelRefusedError for anything out of form or bounds."""
    whole = type(package.version) is int and type(package.features_version) is int
    checks = (
        (package.schema == SCHEMA, f"schema {package.schema}; this version reads {SCHEMA}"),
        (bool(_KIND.fullmatch(package.kind)), f"{package.kind!r} is no kind of model"),
        (whole and 0 < package.version <= MOST_VERSION, f"version {package.version!r}"),
        (
            package.meter == POOLED or bool(_NAME.fullmatch(package.meter)),
            f"{package.meter!r} is no meter's id",
        ),
        (bool(_NAME.fullmatch(package.channel)), f"{package.channel!r} is no channel"),
        (0 < len(package.features) <= MOST_FEATURES, f"{len(package.features)} features"),
        (all(isinstance(n, str) for n in package.features), "features that are no names"),
        (0 < len(package.payload) <= MOST_PAYLOAD_BYTES, f"{len(package.payload)} bytes of model"),
        (len(package.vectors.minutes) <= MOST_VECTOR_ROWS, "a self-test that is too long"),
        (isinstance(package.card, Mapping), "a card that is no object"),
        (0 < package.vectors.tolerance < 1, f"tolerance {package.vectors.tolerance}"),
        (bool(np.isfinite(package.vectors.scores).all()), "a self-test with NaN in it"),
    )
    wrong = [what for good, what in checks if not good]
    if wrong:
        msg = f"model refused: {'; '.join(wrong)}"
        raise ModelRefusedError(msg)


def self_test(package: Package, model: Model) -> None:
    """Raise ModelRefusedError unless the model gives the scores it was published with."""
    _, scores = model.score(package.vectors.minutes)
    expected = package.vectors.scores
    if len(scores) != len(expected):
        msg = f"self-test: {len(scores)} scores where {len(expected)} were published"
        raise ModelRefusedError(msg)
    scale = np.maximum(np.abs(expected), 1.0)
    worst = float(np.max(np.abs(scores - expected) / scale)) if len(expected) else 0.0
    if not math.isfinite(worst) or worst > package.vectors.tolerance:
        msg = f"self-test: scores are off by {worst:.3g}, allowed {package.vectors.tolerance:.3g}"
        raise ModelRefusedError(msg)

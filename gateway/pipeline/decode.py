"""Turn a `readings` message into readings, and say exactly what is wrong with the rest."""

import json
from typing import NamedTuple, TypeGuard

import msgspec

from gateway.domain.errors import BadPayloadError
from gateway.domain.readings import UINT32_MAX, Reading

MAX_MESSAGE_BYTES = 256 * 1024
MAX_READINGS = 120
LOWEST_HZ = 40.0
# Enough of a rejected payload to see what was wrong, without filling the card with it.
KEPT_BYTES = 4096

_one = msgspec.json.Decoder(Reading)
_many = msgspec.json.Decoder(list[Reading])
_parts = msgspec.json.Decoder(list[msgspec.Raw])


class Rejected(NamedTuple):
    """One reading (or a whole message) that cannot be stored.

    `boot` and `seq` are set where they are plausible, so that the hole they leave can be final.
    """

    reason: str
    detail: str
    payload: bytes
    boot: int | None = None
    seq: int | None = None
    n: int = 1


class Decoded(NamedTuple):
    """What one message held."""

    readings: list[Reading]
    rejected: list[Rejected]


def decode(payload: bytes) -> Decoded:
    """Decode one message of 1 to 120 readings; never raises, whatever the bytes are."""
    try:
        check_size(payload)
        readings = _many.decode(payload) if payload[:1] == b"[" else [_one.decode(payload)]
    except BadPayloadError as error:
        return Decoded([], [Rejected(error.reason, error.detail, payload[:KEPT_BYTES])])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _decode_each(payload)
    if not 1 <= len(readings) <= MAX_READINGS:
        return Decoded([], [_wrong_count(len(readings), payload)])
    for reading in readings:
        if _beyond_schema(reading):
            return _decode_each(payload)
    return Decoded(readings, [])


def check_size(payload: bytes) -> None:
    """Raise BadPayloadError for a message above 256 KiB or without content."""
    if len(payload) > MAX_MESSAGE_BYTES:
        reason = "too_large"
        raise BadPayloadError(reason, f"{len(payload)} bytes; at most {MAX_MESSAGE_BYTES}")
    if not payload:
        reason = "not_json"
        raise BadPayloadError(reason, "empty message")


def _beyond_schema(reading: Reading) -> str:
    """Return what breaks a range that the types cannot express, "" when nothing does."""
    if reading.f is not None and 0 < reading.f < LOWEST_HZ:
        return f"f = {reading.f} Hz; 0 or 40 to 70"
    if reading.n != 1 and reading.n > reading.seq + 1:
        return f"n = {reading.n} windows before seq {reading.seq}"
    return ""


def _decode_each(payload: bytes) -> Decoded:
    """Decode reading by reading, so that a bad one does not lose the others."""
    try:
        parts = _split(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        return Decoded([], [Rejected("not_json", str(error)[:200], payload[:KEPT_BYTES])])
    if not 1 <= len(parts) <= MAX_READINGS:
        return Decoded([], [_wrong_count(len(parts), payload)])
    readings: list[Reading] = []
    rejected: list[Rejected] = []
    for part in parts:
        try:
            reading = _one.decode(part)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            rejected.append(_reject(part, _reason(str(error), part), str(error)))
            continue
        if wrong := _beyond_schema(reading):
            rejected.append(_reject(part, "out_of_range", wrong))
        else:
            readings.append(reading)
    return Decoded(readings, rejected)


def _split(payload: bytes) -> list[bytes]:
    """Return the message's readings as JSON texts; NaN and Infinity, which are no JSON, stay in."""
    if payload.lstrip()[:1] != b"[":
        return [payload] if _is_json(payload) else [_loose(payload)]
    if b"NaN" not in payload and b"Infinity" not in payload:
        return [bytes(part) for part in _parts.decode(payload)]
    return [json.dumps(part).encode() for part in json.loads(payload)]


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)
    except msgspec.MsgspecError:
        return False
    return True


def _loose(payload: bytes) -> bytes:
    """Accept what Python's json accepts beyond the standard, or raise ValueError."""
    json.loads(payload)
    return payload


def _reason(message: str, part: bytes) -> str:
    """Return a stable word for counting."""
    if "malformed" in message and (b"NaN" in part or b"Infinity" in part):
        return "not_finite"
    if "missing required field" in message:
        return "missing_field"
    out = ("<=", ">=", "length", "regex", "out of range")
    if "Expected" in message and any(mark in message for mark in out):
        return "out_of_range"
    if "out of range" in message:
        return "out_of_range"
    return "wrong_type" if "Expected" in message else "not_json"


def _reject(part: bytes, reason: str, detail: str) -> Rejected:
    """Describe a bad reading, with its identity where that is plausible."""
    try:
        loose = json.loads(part)
    except (ValueError, RecursionError):
        loose = None
    identity = loose if isinstance(loose, dict) else {}
    boot, seq, n = (identity.get(key) for key in ("boot", "seq", "n"))
    if _is_uint32(boot) and _is_uint32(seq):
        span = n if isinstance(n, int) and 1 <= n <= min(86_400, seq + 1) else 1
        return Rejected(reason, detail[:200], part[:KEPT_BYTES], boot, seq, span)
    return Rejected(reason, detail[:200], part[:KEPT_BYTES])


def _is_uint32(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= UINT32_MAX


def _wrong_count(count: int, payload: bytes) -> Rejected:
    detail = f"{count} readings in one message; 1 to {MAX_READINGS}"
    return Rejected("wrong_count", detail, payload[:KEPT_BYTES])

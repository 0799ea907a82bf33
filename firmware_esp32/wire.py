"""The wire contract's JSON (docs/protocol.md, sections 2 and 3), written and read exactly.

Energies never pass through a float: an ESP32 computes with 32 bits, seven digits, and a register
has more.
"""

import json
import sys

from errors import BadRecordError

# Bits of a window's flags, and their names on the wire.
CLIP = 1
NOSYNC = 2
LATE = 4
SPOOL = 8
_FLAGS = ((CLIP, '"clip"'), (NOSYNC, '"nosync"'), (LATE, '"late"'), (SPOOL, '"spool"'))

# A gateway refuses what lies outside (contract, section 3).
MAX_V = 500.0
MAX_I = 1000.0
MAX_P = 500000.0
MIN_DT_MS = 100
MAX_DT_MS = 86400000
MAX_Z = 1e9  # the contract has no bound; a float32 prints no more digits than these
# 10 mV, 10 mW, 10 mvar; 1 mHz; 0.1 mA: finer than the chain resolves.
_COARSE = "{:.2f}"
_MIDDLE = "{:.3f}"
_FINE = "{:.4f}"
# More than any register: 10**15 Wh is the contract's end.
_MAX_SHIFT = 18
_MIN_SHIFT = -40
_MAX_WH = 1e15
_DIGITS = "0123456789+-.eE"
# MicroPython reads JSON where it lies; CPython wants bytes of its own.
_IN_PLACE = sys.implementation.name == "micropython"


def number(form: str, value: "float | None", low: float, high: float) -> str:
    """Return a JSON number by `form`; `null` for None, NaN, and what lies outside low … high."""
    if value is None or not low <= value <= high:
        return "null"
    return form.format(value)


def wh_text(mwh: int) -> str:
    """Return a register in mWh as Wh with three decimals, exactly."""
    return f"{mwh // 1000}.{mwh % 1000:03d}"


def flags_text(flags: int) -> str:
    """Return the names of the set bits as a JSON array."""
    return "[" + ",".join([name for bit, name in _FLAGS if flags & bit]) + "]"


def parsed(text: "str | bytes | memoryview") -> object:
    """Return the value that JSON text stands for; a view of a buffer is not copied on a board."""
    view = isinstance(text, memoryview) and not _IN_PLACE
    return json.loads(bytes(text) if view else text)  # type: ignore[arg-type]


def read_ack(payload: "bytes | memoryview | str") -> "dict[str, object]":
    """Parse an `ack`; numbers with a fraction or an exponent come as the text they were.

    json would make floats of them, and a register of 12034512.34 Wh does not fit into an ESP32's.
    `Registers.raise_to` takes such texts. Raises BadRecordError when it is no JSON object.
    """
    try:
        text = payload if isinstance(payload, str) else str(payload, "utf-8")
        ack = json.loads(_quote_fractions(text))
    except ValueError as error:  # UnicodeError is one too
        msg = "an ack that is no JSON"
        raise BadRecordError(msg) from error
    if not isinstance(ack, dict):
        msg = "an ack that is no JSON object"
        raise BadRecordError(msg)
    return ack


def _quote_fractions(text: str) -> str:
    parts: list[str] = []
    done = at = 0
    inside = False
    length = len(text)
    while at < length:
        char = text[at]
        if inside:
            if char == "\\":
                at += 1
            elif char == '"':
                inside = False
        elif char == '"':
            inside = True
        elif char in "-0123456789":
            end = at + 1
            while end < length and text[end] in _DIGITS:
                end += 1
            token = text[at:end]
            if "." in token or "e" in token or "E" in token:
                parts.extend((text[done:at], '"', token, '"'))
                done = end
            at = end
            continue
        at += 1
    parts.append(text[done:])
    return "".join(parts)


def mwh(value: object) -> "int | None":
    """Return Wh as whole mWh, rounded down; None when it is no finite number ≥ 0.

    Takes the texts of `read_ack` exactly, and ints; a float is taken as good as it is.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value * 1000 if value >= 0 else None
    if isinstance(value, float):
        return int(value * 1000) if 0 <= value < _MAX_WH else None
    if not isinstance(value, str):
        return None
    try:
        return _decimal_mwh(value)
    except ValueError:
        return None


def _decimal_mwh(text: str) -> "int | None":
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = int(exponent or "0") + 3 - len(fraction)
    digits = int(whole + fraction)
    if digits < 0 or text[0] == "-" or not _MIN_SHIFT <= shift <= _MAX_SHIFT:
        return None
    scale: int = 10 ** abs(shift)
    return digits * scale if shift >= 0 else digits // scale


def channel_text(  # noqa: PLR0913, PLR0917 - the fields of one channel on the wire
    name: str,
    i: "float | None",
    p: "float | None",
    q: "float | None",
    mwh_in: int,
    mwh_out: int,
    z: "float | None",
) -> str:
    """Return `"name":{…}` of a reading: A, W, var, registers in mWh, anomaly score."""
    current = number(_FINE, i, 0.0, MAX_I)
    power = number(_COARSE, p, -MAX_P, MAX_P)
    reactive = number(_COARSE, q, -MAX_P, MAX_P)
    score = number(_COARSE, z, 0.0, MAX_Z)
    return "".join((
        '"', name, '":{"i":', current, ',"p":', power,
        "" if reactive == "null" else ',"q":' + reactive,
        ',"wh_in":', wh_text(mwh_in), ',"wh_out":', wh_text(mwh_out),
        "" if score == "null" else ',"z":' + score, "}",
    ))  # fmt: skip


def hertz(value: "float | None") -> str:
    """Return a frequency as the contract takes it: 0, 40 … 70 Hz, else null."""
    return "0" if value == 0 else number(_MIDDLE, value, 40.0, 70.0)


def head_text(  # noqa: PLR0913, PLR0917 - the fields of a reading on the wire
    boot: int,
    seq: int,
    n: int,
    up_ms: int,
    offset_ms: "int | None",
    dt_ms: int,
    v: "float | None",
    f: "float | None",
) -> str:
    """Return a reading up to where its channels begin: `{"boot":…,"f":49.98,"ch":{`.

    `offset_ms` is what turns `up_ms` into Unix ms, None while the clock was never set.
    """
    at = "null" if offset_ms is None else str(up_ms + offset_ms)
    span = "" if n == 1 else ',"n":' + str(n)
    dt_ms = min(max(dt_ms, MIN_DT_MS), MAX_DT_MS)
    return "".join((
        '{"boot":', str(boot), ',"seq":', str(seq), span, ',"up":', str(up_ms), ',"t":', at,
        ',"dt":', str(dt_ms), ',"v":', number(_COARSE, v, 0.0, MAX_V), ',"f":', hertz(f), ',"ch":{',
    ))  # fmt: skip


def tail_text(flags: int) -> str:
    """Return a reading from where its channels end."""
    return '},"flags":' + flags_text(flags) + "}" if flags else "}}"


def event_text(  # noqa: PLR0913, PLR0917 - the fields every event has
    boot: int, seq: int, up_ms: int, offset_ms: "int | None", kind: str, more: "dict[str, object]"
) -> str:
    """Return an `events` payload; `more` holds the kind's own fields (no NaN, no registers)."""
    at = "null" if offset_ms is None else str(up_ms + offset_ms)
    head = f'{{"boot":{boot},"seq":{max(seq, 0)},"up":{up_ms},"t":{at},"kind":"{kind}"'
    return head + ("," + json.dumps(more)[1:] if more else "}")


def dropped_text(  # noqa: PLR0913, PLR0917 - a boot, a range, a time
    boot: int, first: int, last: int, seq: int, up_ms: int, offset_ms: "int | None"
) -> str:
    """Return the event that says windows first … last of `boot` are no longer held."""
    return event_text(boot, seq, up_ms, offset_ms, "dropped", {"from": first, "to": last})

"""Rows of one minute as one compressed field: columns, differences, variable-length integers.

The format is written down in docs/cloud-documents.md; `typescript/decoder.ts` reads it too, and
both are held to the vectors in tests/cloud_sync/vectors.json.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.domain.errors import BadInputError

VERSION = 1
MINUTE_MS = 60_000
DECIMALS = 4  # as the local API rounds (gateway.services.series)
LARGEST = 2**53 - 1  # what JavaScript can tell apart
MORE, LOW_BITS = 0x80, 0x7F  # of a byte of a LEB128 integer
NOTHING, FULL, SOME, FLOATS = range(4)  # how a column is laid out
LONGEST = 1 << 22  # bytes unpacked: far above a day of six channels
LEVEL = 9


class MinuteRow(NamedTuple):
    """One channel over one minute, as `wattwarden export --resolution 1m` tells it.

    W, var, V, A are means weighted by time, with the least and the most; `wh_in`/`wh_out` are the
    registers at the end in Wh; `n` windows covering `dt_ms`. None = not measured.
    """

    start_ms: int
    n: int
    dt_ms: int
    p: float | None
    p_min: float | None
    p_max: float | None
    q: float | None
    v: float | None
    v_min: float | None
    v_max: float | None
    i: float | None
    wh_in: float | None
    wh_out: float | None


FIELDS = MinuteRow._fields
VALUES = FIELDS[1:]
Rows = Mapping[str, Sequence[MinuteRow]]  # channel -> rows in time order


class BadPackError(BadInputError):
    """A packed field cannot be read: cut off, damaged, or of a newer version."""


def rounded(row: MinuteRow) -> MinuteRow:
    """Return a row as packing keeps it: floats to four decimals."""
    values = (v if v is None else round(v, DECIMALS) for v in row[3:])
    return MinuteRow(row.start_ms, row.n, row.dt_ms, *values)


def pack(rows: Rows, start_ms: int) -> bytes:
    """Return the rows of all channels as one field. `start_ms` begins the document's span.

    Deterministic: the same rows give the same bytes, channels in the order of their names.
    """
    out = bytearray()
    _put(out, len(rows))
    for channel in sorted(rows):
        own, name = rows[channel], channel.encode()
        _put(out, len(name))
        out += name
        _put(out, len(own))
        _put_differences(out, [(row.start_ms - start_ms) // MINUTE_MS for row in own])
        for place in range(1, len(FIELDS)):
            _put_column(out, [row[place] for row in own])
    return bytes([VERSION]) + zlib.compress(bytes(out), LEVEL)


def unpack(data: bytes, start_ms: int) -> dict[str, list[MinuteRow]]:
    """Return the rows that `pack` was given; BadPackError when `data` is not such a field."""
    if not data or data[0] != VERSION:
        msg = f"data: format {data[0] if data else 'none'}, this program reads {VERSION}"
        raise BadPackError(msg)
    try:
        inflate = zlib.decompressobj()
        plain = inflate.decompress(data[1:], LONGEST)
        if not inflate.eof:
            msg = "data: cut off, or longer than any document"
            raise BadPackError(msg)
        return _Reader(plain).channels(start_ms)
    except (zlib.error, IndexError, UnicodeDecodeError, struct.error, ValueError) as error:
        msg = f"data: damaged: {error}"
        raise BadPackError(msg) from error


def _put(out: bytearray, number: int) -> None:
    """Append an unsigned LEB128 integer."""
    while number > LOW_BITS:
        out.append(number & LOW_BITS | MORE)
        number >>= 7
    out.append(number)


def _put_differences(out: bytearray, numbers: Sequence[int]) -> None:
    """Append the differences of neighbours, signs folded into the lowest bit (zigzag)."""
    last = 0
    for number in numbers:
        step = number - last
        _put(out, step << 1 if step >= 0 else (-step << 1) - 1)
        last = number


def _put_column(out: bytearray, values: Sequence[float | None]) -> None:
    known = [value for value in values if value is not None]
    if not known:
        _put(out, NOTHING)
        return
    known = [round(value, DECIMALS) for value in known]
    numbers = [round(value * 10**DECIMALS) for value in known]
    if max(map(abs, numbers)) > LARGEST:
        _put(out, FLOATS)
        _put_bits(out, values)
        out += struct.pack(f"<{len(known)}d", *known)
        return
    scale = DECIMALS
    while scale and not any(number % 10 for number in numbers):
        numbers = [number // 10 for number in numbers]
        scale -= 1
    full = len(known) == len(values)
    _put(out, scale << 2 | (FULL if full else SOME))
    if not full:
        _put_bits(out, values)
    _put_differences(out, numbers)


def _put_bits(out: bytearray, values: Sequence[float | None]) -> None:
    """Append which values are there, the first one in the lowest bit."""
    bits = sum(1 << place for place, value in enumerate(values) if value is not None)
    out += bits.to_bytes((len(values) + 7) // 8, "little")


class _Reader:
    """Goes through an unpacked field once."""

    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._at = 0

    def channels(self, start_ms: int) -> dict[str, list[MinuteRow]]:
        found: dict[str, list[MinuteRow]] = {}
        for _ in range(self._number()):
            name = self._bytes(self._number()).decode()
            count = self._number()
            minutes = self._differences(count)
            counts = [self._column(count) for _ in VALUES]
            starts = [start_ms + minute * MINUTE_MS for minute in minutes]
            rows = zip(starts, *counts, strict=True)
            found[name] = [
                MinuteRow(at, int(n or 0), int(dt or 0), *rest) for at, n, dt, *rest in rows
            ]
        if self._at != len(self._plain):
            msg = "bytes are left over"
            raise BadPackError(msg)
        return found

    def _bytes(self, count: int) -> bytes:
        piece = self._plain[self._at : self._at + count]
        if len(piece) != count:
            msg = "it ends too early"
            raise IndexError(msg)
        self._at += count
        return piece

    def _number(self) -> int:
        number = shift = 0
        while True:
            byte = self._plain[self._at]
            self._at += 1
            number |= (byte & LOW_BITS) << shift
            if byte < MORE:
                return number
            shift += 7

    def _differences(self, count: int) -> list[int]:
        numbers: list[int] = []
        last = 0
        for _ in range(count):
            folded = self._number()
            last += (folded >> 1) ^ -(folded & 1)
            numbers.append(last)
        return numbers

    def _column(self, count: int) -> list[float | None]:
        head = self._number()
        layout, scale = head & 3, head >> 2
        if layout == NOTHING:
            return [None] * count
        bits = (1 << count) - 1
        if layout != FULL:
            bits = int.from_bytes(self._bytes((count + 7) // 8), "little")
        known = bits.bit_count()
        if layout == FLOATS:
            values: list[float] = list(struct.unpack(f"<{known}d", self._bytes(8 * known)))
        else:
            values = [number / 10**scale for number in self._differences(known)]
        following = iter(values)
        return [next(following) if bits >> place & 1 else None for place in range(count)]

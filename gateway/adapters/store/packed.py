"""Columns out of packed readings: alike ones together with numpy, odd ones one by one."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.adapters.store.rows import stored
from gateway.domain.readings import Channel, apparent_power_va, power_factor
from gateway.services.series import DECIMALS

Row = tuple[int, int, bytes]  # at_ms, n, body
Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Columns = dict[str, Floats | Times]  # NaN where it was not measured
TIME_DIGITS = 13  # of Unix ms, from 2001 until 2286
# Whole numbers below 2^53 are exact in floats, whose products BLAS knows.
POWERS = 10.0 ** np.arange(TIME_DIGITS - 1, -1, -1)
CHANNEL_FIELDS = Channel.__struct_fields__  # the order in a body
NIL, FLOAT64 = 0xC0, 0xCB  # MessagePack's type bytes
FIXARRAY, FIXSTR = 0x90, 0xA0
MOST_SHAPES = 8  # lengths of bodies that are worth a column operation each


class _Layout(NamedTuple):
    """Where a body holds the voltage and one channel's values; None = nil in this shape."""

    voltage: int | None
    frequency: int | None
    channel: dict[str, int | None]
    runs: list[tuple[int, int]]  # [first, last) of the bytes that must be alike for it to hold


def raw_columns(rows: Sequence[Row], channel: str, fields: Sequence[str]) -> Columns:
    """Return the fields of one channel, a value for each row; rows without it give NaN."""
    needed = _needed(fields)
    values = {name: np.full(len(rows), np.nan) for name in needed}
    by_length: dict[int, list[int]] = {}
    lengths = np.fromiter(map(len, (row[2] for row in rows)), np.int64, len(rows))
    shapes, counts = np.unique(lengths, return_counts=True)
    odd: list[int] = []  # to be looked at one by one
    for length in shapes[np.argsort(-counts)]:
        where = np.flatnonzero(lengths == length)
        by_length[int(length)] = where.tolist()
        odd += (
            where.tolist()
            if len(by_length) > MOST_SHAPES
            else _take_alike(rows, where, channel, values)
        )
    for index in odd:
        _take_one(rows[index], index, channel, values)
    windows = np.fromiter((row[1] for row in rows), np.int64, len(rows))
    return {name: _column(name, windows, values) for name in fields}


def alike_columns(
    joined: bytes, count: int, channel: str, fields: Sequence[str]
) -> tuple[Times, Columns] | None:
    """Return times and fields of `count` single windows: joined, each is its time and its body.

    A time is 13 digits of Unix ms. None where they are not all laid out alike, and have to be
    looked at in another way: in MessagePack a body ends where its type bytes say, so that the
    first one of another length has another type byte at one of the places that are compared.
    """
    length, rest = divmod(len(joined), count)
    if rest or length <= TIME_DIGITS:
        return None
    layout = _layout(joined[TIME_DIGITS:length], channel)
    if layout is None:
        return None
    table = np.frombuffer(joined, np.uint8).reshape(count, length)
    digits = table[:, :TIME_DIGITS] - ord("0")  # what is no digit wraps round to more than 9
    bodies = table[:, TIME_DIGITS:]
    # All places at once: one pass over a contiguous table costs less than one per run.
    fixed = np.zeros(length, np.uint8)
    for first, last in layout.runs:
        fixed[TIME_DIGITS + first : TIME_DIGITS + last] = 0xFF
    if (digits > 9).any() or ((table ^ table[0]) & fixed).any():  # noqa: PLR2004 - a digit
        return None
    values = {name: np.full(count, np.nan) for name in _needed(fields)}
    _fill(values, layout, bodies, slice(None))
    ones = np.ones(count, np.int64)
    times = (digits @ POWERS).astype(np.int64)
    return times, {name: _column(name, ones, values) for name in fields}


def _needed(fields: Sequence[str]) -> set[str]:
    needed: set[str] = set()
    for name in fields:
        base = name.partition("_m")[0]  # of one reading, mean, least and most are the same
        needed |= {"pf": {"p", "v", "i"}, "n": set()}.get(name, {base})
    return needed


def _column(name: str, windows: Times, values: dict[str, Floats]) -> Floats | Times:
    if name == "n":
        return windows
    if name == "pf":
        return _power_factors(values)
    return values[name.partition("_m")[0]]


def _power_factors(values: dict[str, Floats]) -> Floats:
    """Return |p| / (v·i), NaN below 1 VA (contract, section 3)."""
    found: list[float] = []
    for p, v, i in zip(*(values[name].tolist() for name in "pvi"), strict=True):
        known = None if math.isnan(p + v + i) else power_factor(p, apparent_power_va(v, i))
        found.append(math.nan if known is None else round(known, DECIMALS))
    return np.array(found)


def _take_alike(
    rows: Sequence[Row], where: NDArray[np.intp], channel: str, values: dict[str, Floats]
) -> list[int]:
    """Fill in rows whose bodies are laid out like the first one's; return the others."""
    indices: list[int] = where.tolist()
    layout = _layout(rows[indices[0]][2], channel)
    if layout is None:
        return indices
    joined = b"".join([rows[index][2] for index in indices])
    table = np.frombuffer(joined, np.uint8).reshape(len(indices), -1)
    same = [(table[:, a:b] == table[0, a:b]).all(axis=1) for a, b in layout.runs]
    alike = np.logical_and.reduce(same)
    _fill(values, layout, table[alike], where[alike])
    odd: list[int] = where[~alike].tolist()
    return odd


def _fill(
    values: dict[str, Floats], layout: _Layout, table: NDArray[np.uint8],
    where: NDArray[np.intp] | slice,
) -> None:  # fmt: skip
    """Take the columns out of a table of bodies."""
    for name, column in values.items():
        at = layout.frequency if name == "f" else layout.channel.get(name)
        if name == "v" and at is None:
            at = layout.voltage
        if at is not None:
            column[where] = np.ascontiguousarray(table[:, at : at + 8]).view(">f8")[:, 0]


def _take_one(row: Row, index: int, channel: str, values: dict[str, Floats]) -> None:
    reading = stored((0, 0, 0, row[1], 0, None, row[0], 0, 0, 0, row[2]), "", 0)
    found = reading.ch.get(channel)
    if found is None:
        return
    for name, column in values.items():
        value = reading.f if name == "f" else getattr(found, name)
        if name == "v" and value is None:
            value = reading.v
        if value is not None:
            column[index] = value


def _layout(body: bytes, channel: str) -> _Layout | None:
    """Return where values lie in a body; None when it is not as `pack` writes it today."""
    try:
        return _Walk(body).layout(channel)
    except (IndexError, ValueError):
        return None


class _Walk:
    """Goes through a body once (https://github.com/msgpack/msgpack/blob/master/spec.md)."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._runs: list[tuple[int, int]] = []
        self._since = 0

    def layout(self, channel: str) -> _Layout:
        self._array()
        voltage, frequency = self._value(), self._value()
        names = [self._text() for _ in range(self._array())]
        channels: dict[str, dict[str, int | None]] = {}
        for name in names[: self._array()]:
            size = self._array()
            if size != len(CHANNEL_FIELDS):
                msg = f"a channel of {size} values"
                raise ValueError(msg)
            channels[name] = {key: self._value() for key in CHANNEL_FIELDS}
        runs = [*self._runs, (self._since, self._at)]
        if channel not in channels:
            return _Layout(None, None, {}, runs)
        return _Layout(voltage, frequency, channels[channel], runs)

    def _array(self) -> int:
        return self._head(FIXARRAY, 0x0F)

    def _text(self) -> str:
        size = self._head(FIXSTR, 0x1F)
        self._at += size
        return self._body[self._at - size : self._at].decode()

    def _head(self, kind: int, mask: int) -> int:
        """Return the size that a short array's or text's first byte carries."""
        first = self._body[self._at]
        if first & ~mask != kind:
            msg = f"type byte {first:#x}"
            raise ValueError(msg)
        self._at += 1
        return first & mask

    def _value(self) -> int | None:
        """Return where a float's 8 bytes begin, None for nil."""
        kind: Any = self._body[self._at]
        self._at += 1
        if kind == NIL:
            return None
        if kind != FLOAT64:
            msg = f"type byte {kind:#x}"
            raise ValueError(msg)
        self._runs.append((self._since, self._at))
        self._at += 8
        self._since = self._at
        return self._at - 8

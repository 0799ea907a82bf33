"""One-minute records and how they are written to flash: varints of differences, framed by a CRC.

A segment file is a header frame and then frames of minutes and clock offsets, in that order of
time. A frame is its length as a varint, the payload, and the low 16 bits of the payload's CRC-32,
begun with the segment's number. The payload's first byte is its kind in the low two bits.
"""

from binascii import crc32

from errors import BadRecordError

HEADER = 0
MINUTE = 1
OFFSET = 2
_VERSION = 1
_V_NULL = 4
_F_NULL = 8
_FLAGS_SHIFT = 4
# What the differences of a segment's first minute start from.
_V_START_CV = 23000
_F_START_MHZ = 50000
_MAX_SHIFT = 70  # a varint of ten bytes
MAX_CHANNELS = 6
# p in 0.1 W from mWh over ms: 1 mWh = 3600 W·ms.
_DW_MS_PER_MWH = 36000

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class Minute:
    """Averages over windows seq - n + 1 … seq.

    v in 10 mV, f in mHz, i in mA, p and q in 0.1 W and 0.1 var, z (the highest) in 0.1; None = not
    measured. Registers in mWh at the end.
    """

    def __init__(self, channels: int) -> None:
        self.seq = 0
        self.n = 1
        self.up_ms = 0
        self.dt_ms = 0
        self.v: int | None = None
        self.f: int | None = None
        self.flags = 0
        self.i: list[int | None] = [None] * channels
        self.p: list[int | None] = [None] * channels
        self.q: list[int | None] = [None] * channels
        self.z: list[int | None] = [None] * channels
        self.mwh_in = [0] * channels
        self.mwh_out = [0] * channels


class Base:
    """What a segment's header says: whose minutes follow, and what the first one is told from."""

    def __init__(self, boot: int, bootn: int, names: "list[str]") -> None:
        self.boot = boot
        self.bootn = bootn
        self.names = names
        self.offset_ms: int | None = None
        self.seq = -1  # the window before the segment's first
        self.up_ms = 0
        self.mwh_in = [0] * len(names)
        self.mwh_out = [0] * len(names)


def put(out: bytearray, value: int) -> None:
    """Append an unsigned varint: seven bits a byte, low first."""
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def put_signed(out: bytearray, value: int) -> None:
    """Append a signed varint: 0, -1, 1, -2, … as 0, 1, 2, 3, …."""
    put(out, value * 2 if value >= 0 else -value * 2 - 1)


class Fields:
    """Reads a payload's varints one after the other; BadRecordError at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 1  # behind the kind

    def take(self) -> int:
        """Return the next unsigned varint."""
        value = shift = 0
        data = self._data
        while True:
            if self.at >= len(data) or shift > _MAX_SHIFT:
                msg = "a record that ends too soon"
                raise BadRecordError(msg)
            byte = data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
                return value
            shift += 7

    def take_signed(self) -> int:
        """Return the next signed varint."""
        value = self.take()
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def take_text(self) -> str:
        """Return a text with its length before it."""
        length = self.take()
        text = self._data[self.at : self.at + length]
        self.at += length
        try:
            if len(text) == length:
                return text.decode()
        except ValueError:  # UnicodeError is one
            pass
        msg = "a text that is none"
        raise BadRecordError(msg)


class Codec:
    """Minutes of one segment to payloads, or payloads to minutes, in their order."""

    def __init__(self, base: Base) -> None:
        self._count = len(base.names)
        self._seq = base.seq
        self._up_ms = base.up_ms
        self._v = _V_START_CV
        self._f = _F_START_MHZ
        self._i = [0] * self._count
        self._q = [0] * self._count
        self._in = list(base.mwh_in)
        self._out = list(base.mwh_out)

    def encode(self, minute: Minute) -> bytearray:
        """Return the payload of the next minute."""
        v, f = minute.v, minute.f
        out = bytearray((
            MINUTE | (_V_NULL if v is None else 0) | (_F_NULL if f is None else 0)
            | minute.flags << _FLAGS_SHIFT & 0xF0,
        ))  # fmt: skip
        put(out, minute.seq - minute.n - self._seq)
        put(out, minute.n)
        put_signed(out, minute.up_ms - self._up_ms - minute.dt_ms)
        put_signed(out, minute.dt_ms - 1000 * minute.n)
        self._seq, self._up_ms = minute.seq, minute.up_ms
        if v is not None:
            put_signed(out, v - self._v)
            self._v = v
        if f is not None:
            put_signed(out, f - self._f)
            self._f = f
        put(out, self._nulls(minute))
        for k in range(self._count):
            self._encode_channel(out, minute, k)
        return out

    def _encode_channel(self, out: bytearray, minute: Minute, k: int) -> None:
        put_signed(out, minute.mwh_in[k] - self._in[k])
        put_signed(out, minute.mwh_out[k] - self._out[k])
        told = self._told_by_registers(minute, k)
        self._in[k], self._out[k] = minute.mwh_in[k], minute.mwh_out[k]
        i, p, q, z = minute.i[k], minute.p[k], minute.q[k], minute.z[k]
        if i is not None:
            put_signed(out, i - self._i[k])
            self._i[k] = i
        if p is not None:
            put_signed(out, p - told)
        if q is not None:
            put_signed(out, q - self._q[k])
            self._q[k] = q
        if z is not None:
            put(out, z)

    def decode(self, payload: bytes, minute: Minute) -> None:
        """Read the next minute's payload into `minute`; BadRecordError when it does not fit."""
        fields = Fields(payload)
        kind = payload[0]
        skipped = fields.take()
        minute.n = fields.take()
        minute.seq = self._seq + skipped + minute.n
        gap_ms = fields.take_signed()
        minute.dt_ms = fields.take_signed() + 1000 * minute.n
        minute.up_ms = self._up_ms + gap_ms + minute.dt_ms
        minute.flags = kind >> _FLAGS_SHIFT
        self._seq, self._up_ms = minute.seq, minute.up_ms
        minute.v = minute.f = None
        if not kind & _V_NULL:
            self._v = minute.v = self._v + fields.take_signed()
        if not kind & _F_NULL:
            self._f = minute.f = self._f + fields.take_signed()
        nulls = fields.take()
        for k in range(self._count):
            self._decode_channel(fields, minute, k, nulls >> 4 * k)

    def _decode_channel(self, fields: Fields, minute: Minute, k: int, nulls: int) -> None:
        minute.mwh_in[k] = self._in[k] + fields.take_signed()
        minute.mwh_out[k] = self._out[k] + fields.take_signed()
        told = self._told_by_registers(minute, k)
        self._in[k], self._out[k] = minute.mwh_in[k], minute.mwh_out[k]
        minute.i[k] = minute.p[k] = minute.q[k] = minute.z[k] = None
        if not nulls & 1:
            self._i[k] += fields.take_signed()
            minute.i[k] = self._i[k]
        if not nulls & 2:
            minute.p[k] = told + fields.take_signed()
        if not nulls & 4:
            self._q[k] += fields.take_signed()
            minute.q[k] = self._q[k]
        if not nulls & 8:
            minute.z[k] = fields.take()

    def _told_by_registers(self, minute: Minute, k: int) -> int:
        """Return the mean power in 0.1 W that the registers' rise makes; p is near it."""
        rise = minute.mwh_in[k] - self._in[k] - minute.mwh_out[k] + self._out[k]
        return rise * _DW_MS_PER_MWH // max(minute.dt_ms, 1)

    def _nulls(self, minute: Minute) -> int:
        bits = 0
        for k in range(self._count - 1, -1, -1):
            bits <<= 4
            for bit, value in enumerate((minute.i[k], minute.p[k], minute.q[k], minute.z[k])):
                if value is None:
                    bits |= 1 << bit
        return bits


def encode_header(base: Base) -> bytearray:
    """Return the payload of a segment's first frame."""
    out = bytearray((HEADER, _VERSION))
    put(out, base.boot)
    put(out, base.bootn)
    put(out, base.offset_ms is not None)
    put_signed(out, base.offset_ms or 0)
    put(out, base.seq + 1)
    put(out, base.up_ms)
    put(out, len(base.names))
    for k, name in enumerate(base.names):
        put(out, len(name))
        out += name.encode()
        put(out, base.mwh_in[k])
        put(out, base.mwh_out[k])
    return out


def decode_header(payload: bytes) -> Base:
    """Return what a segment's first frame says; BadRecordError when it is none."""
    fields = Fields(payload)
    if payload[0] != HEADER or fields.take() != _VERSION:
        msg = "no header of this version"
        raise BadRecordError(msg)
    base = Base(fields.take(), fields.take(), [])
    known = fields.take()
    offset_ms = fields.take_signed()
    base.offset_ms = offset_ms if known else None
    base.seq = fields.take() - 1
    base.up_ms = fields.take()
    count = fields.take()
    if not 1 <= count <= MAX_CHANNELS:
        msg = "a header with a wrong number of channels"
        raise BadRecordError(msg)
    for _ in range(count):
        base.names.append(fields.take_text())
        base.mwh_in.append(fields.take())
        base.mwh_out.append(fields.take())
    return base


def encode_offset(offset_ms: int) -> bytearray:
    """Return the payload that says what turns the boot's `up` into Unix ms."""
    out = bytearray((OFFSET,))
    put_signed(out, offset_ms)
    return out


def span(payload: bytes, before: int) -> "tuple[int, int]":
    """Return first and last window of a minute's payload; `before` = the last one before it."""
    fields = Fields(payload)
    first = before + 1 + fields.take()
    return first, first + fields.take() - 1


def frame(payload: bytearray, number: int) -> bytearray:
    """Return a payload framed for segment `number`."""
    out = bytearray()
    put(out, len(payload))
    out += payload
    out += (crc32(payload, number) & 0xFFFF).to_bytes(2, "little")
    return out


def read_frame(file: "BinaryIO", number: int) -> "bytes | None":
    """Return the next payload of a segment, None at its end or where it is torn or damaged."""
    head = file.read(1)
    if not head:
        return None
    length = head[0]
    if length > 0x7F:  # noqa: PLR2004 - a varint's first byte
        more = file.read(1)
        if not more or more[0] > 0x7F:  # noqa: PLR2004 - at most two bytes
            return None
        length = length & 0x7F | more[0] << 7
    body = file.read(length + 2)
    if length == 0 or len(body) != length + 2:
        return None
    payload = body[:length]
    if crc32(payload, number) & 0xFFFF != body[length] | body[length + 1] << 8:
        return None
    return payload

"""One-minute records on flash: segment files, oldest first, within a quota.

A segment is at most SEGMENT_BYTES long and only appended to; a file is durable when it is closed.
A torn or damaged tail costs what stands in it, never what came before. Wear is levelled by the
file system (littlefs writes a changed block to another place).
"""

import gc
import os
import sys

from errors import BadRecordError, FlashError
from records import (
    MINUTE,
    OFFSET,
    Base,
    Codec,
    Fields,
    Minute,
    decode_header,
    encode_header,
    encode_offset,
    frame,
    read_frame,
    span,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    Range = tuple[int, int, int]  # boot, from, to

BLOCK_BYTES = 4096
# Four flash blocks less what littlefs keeps in them to chain them.
SEGMENT_BYTES = 16360
_SUFFIX = ".seg"
_NAME_LENGTH = 12
# A `have` lists at most 64 boots: the running one and these.
MAX_OLD_BOOTS = 63
_MAX_LOST = 64
_ENOSPC = 28  # MicroPython's errno module does not name it
# MicroPython's heap never moves what lies in it. What a scan leaves is small and comes between what
# it does not need: collected at once, it finds its place at the heap's beginning and the rest stays
# in one piece. CPython has no need of that, and takes long for it.
_COMPACT = sys.implementation.name == "micropython"
_STEP_MS = 1000  # a clock offset that moved further is noted anew


class Segment:
    """One file: what it holds, and how long it is."""

    def __init__(self, number: int, boot: int) -> None:
        self.number = number
        self.boot = boot
        self.first = -1
        self.last = -1
        self.size = 0


class Boot:
    """What the spool knows of a boot: order, clock, channels, and how far the gateway has it."""

    def __init__(self, bootn: int, names: "list[str]") -> None:
        self.bootn = bootn
        self.names = names
        self.offset_ms: int | None = None
        self.upto = -1


class Spool:
    """The segments of this boot and of earlier ones that no ack has covered wholly."""

    def __init__(  # noqa: PLR0913, PLR0917 - identity, place and bounds
        self,
        root: str,
        channels: "list[str]",
        boot: int,
        bootn: int,
        quota_bytes: int,
        feed: "Callable[[], None] | None",
    ) -> None:
        self._directory = root + "/spool"
        self._quota = quota_bytes
        self._boot = boot
        self.segments: list[Segment] = []
        self.boots: dict[int, Boot] = {boot: Boot(bootn, channels)}
        self.lost: list[Range] = []  # taken by the keeper
        self._open: Segment | None = None
        self._codec: Codec | None = None
        self._number = 0  # of the newest file
        self._scan(feed)
        while len(self.boots) - 1 > MAX_OLD_BOOTS:
            self._drop_oldest()

    # -- reading -----------------------------------------------------------------------------

    def path(self, number: int) -> str:
        """Return a segment's file."""
        return f"{self._directory}/{number:08x}{_SUFFIX}"

    def is_open(self, segment: Segment) -> bool:
        """Tell whether a segment may still grow."""
        return segment is self._open

    def _scan(self, feed: "Callable[[], None] | None") -> None:
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return  # none yet
        for name in names:
            number = _number(name)
            if number < 0:
                continue
            self._number = number
            self._examine(number)
            if _COMPACT:
                gc.collect()
            if feed is not None:
                feed()

    def _examine(self, number: int) -> None:
        """Enter what a segment holds, as far as it is sound; delete it when that is nothing."""
        path = self.path(number)
        try:
            size = os.stat(path)[6]
            with open(path, "rb") as file:
                segment = self._read(file, number)
        except OSError:
            return  # cannot be read now; it is tried again at the next boot
        except BadRecordError:
            segment = None
        if segment is None:
            self._remove(number)
            return
        segment.size = size
        self.segments.append(segment)

    def _read(self, file: "BinaryIO", number: int) -> "Segment | None":
        payload = read_frame(file, number)
        if payload is None:
            return None
        base = decode_header(payload)
        segment = Segment(number, base.boot)
        earlier = self.segments[-1] if self.segments else None
        held = earlier.last if earlier is not None and earlier.boot == base.boot else -1
        told, offset_ms = base.seq, base.offset_ms
        while (payload := read_frame(file, number)) is not None:
            if payload[0] & 3 == OFFSET:
                offset_ms = Fields(payload).take_signed()
            elif payload[0] & 3 == MINUTE:
                first, told = span(payload, told)
                segment.first = first if segment.first < 0 else segment.first
                if -1 < held < first - 1:
                    self._lose(base.boot, held + 1, first - 1)
                segment.last = held = told
        if segment.first < 0:
            return None
        self._know(base, offset_ms)
        return segment

    def _know(self, base: Base, offset_ms: "int | None") -> None:
        known = self.boots.get(base.boot)
        if known is None:
            own = self.boots[self._boot].names
            names = own if base.names == own else base.names
            known = self.boots[base.boot] = Boot(base.bootn, names)
        if offset_ms is not None:
            known.offset_ms = offset_ms

    # -- writing -----------------------------------------------------------------------------

    def append(self, minute: Minute, offset_ms: "int | None") -> None:
        """Write one minute of the running boot; durable on return.

        Makes room by dropping the oldest segments (see `lost`), when the quota is used up or the
        flash is full. Raises FlashError or MemoryError when it cannot; the minute is then not in
        the spool.
        """
        try:
            try:
                self._append(minute, offset_ms)
            except FlashError as error:
                if not error.full or not self.segments:
                    raise
                self._drop_oldest()
                self._begin(minute)
        except MemoryError:
            # What tells the next minute from this one may be half done: never go on with it.
            self._open = self._codec = None
            if not self.segments or self.segments[-1].number != self._number:
                self._remove(self._number)  # begun, and in no list
            raise

    def _append(self, minute: Minute, offset_ms: "int | None") -> None:
        own = self.boots[self._boot]
        segment, codec = self._open, self._codec
        data = bytearray()
        if offset_ms is not None and (
            own.offset_ms is None or abs(offset_ms - own.offset_ms) > _STEP_MS
        ):
            own.offset_ms = offset_ms
            if segment is not None:
                data += frame(encode_offset(offset_ms), segment.number)
        if segment is not None and codec is not None:
            data += frame(codec.encode(minute), segment.number)
            if segment.size + len(data) <= SEGMENT_BYTES and self._room(segment, len(data)):
                self._write(segment, minute, data)
                return
        self._begin(minute)

    def _begin(self, minute: Minute) -> None:
        """Begin a new segment with a minute; the header lets it be read without the others."""
        self._open = self._codec = None
        segment = Segment(self._number + 1, self._boot)
        own = self.boots[self._boot]
        base = Base(self._boot, own.bootn, own.names)
        base.offset_ms = own.offset_ms
        base.seq = minute.seq - minute.n
        base.up_ms = minute.up_ms - minute.dt_ms
        base.mwh_in, base.mwh_out = list(minute.mwh_in), list(minute.mwh_out)
        codec = Codec(base)
        data = frame(encode_header(base), segment.number)
        data += frame(codec.encode(minute), segment.number)
        if not self._room(segment, len(data)):
            msg = f"the spool's quota of {self._quota} bytes is too small for one record"
            raise FlashError(msg)
        self._number = segment.number
        self._open, self._codec = segment, codec
        self._write(segment, minute, data)

    def _write(self, segment: Segment, minute: Minute, data: bytearray) -> None:
        """Append to a segment's file; a new one enters the list when it is durable."""
        try:
            if not segment.size:
                self._make_directory()
            with open(self.path(segment.number), "ab") as file:
                file.write(data)
        except (OSError, MemoryError) as error:
            # Nothing is appended behind what may be torn.
            self._open = self._codec = None
            if not self._landed(segment, minute):
                if not segment.size:
                    self._remove(segment.number)
                if isinstance(error, MemoryError):
                    raise
                msg = f"cannot write {self.path(segment.number)}"
                raise FlashError(msg, full=error.errno == _ENOSPC) from error
        if not segment.size:
            segment.first = minute.seq - minute.n + 1
            self.segments.append(segment)
        segment.size += len(data)
        segment.last = minute.seq

    def _landed(self, segment: Segment, minute: Minute) -> bool:
        """Tell whether a minute whose writing failed is in the file all the same.

        Else it would be written again, perhaps with other bounds, and both would be found later.
        """
        try:
            with open(self.path(segment.number), "rb") as file:
                payload = read_frame(file, segment.number)
                told = -1 if payload is None else decode_header(payload).seq
                while (payload := read_frame(file, segment.number)) is not None:
                    if payload[0] & 3 == MINUTE:
                        _, told = span(payload, told)
        except (OSError, BadRecordError):
            return False
        return told == minute.seq

    def _make_directory(self) -> None:
        try:
            os.mkdir(self._directory)
        except OSError:
            pass  # is there; where it cannot be made, opening the file says so

    def _room(self, growing: Segment, more: int) -> bool:
        """Drop the oldest segments until `more` bytes fit; False when they cannot."""
        need = _blocks(growing.size + more)
        while need + sum([_blocks(s.size) for s in self.segments if s is not growing]) > (
            self._quota // BLOCK_BYTES
        ):
            if not self.segments or self.segments[0] is growing:
                return False
            self._drop_oldest()
        return True

    # -- letting go --------------------------------------------------------------------------

    def covered(self, boot: int, upto: int) -> None:
        """Delete what an ack covers: windows ≤ upto of a boot are safe at the gateway."""
        known = self.boots.get(boot)
        if known is None or upto <= known.upto:
            return
        known.upto = upto
        for segment in [s for s in self.segments if s.boot == boot and s.last <= upto]:
            self._forget(segment)

    def damaged(self, segment: Segment, good: int) -> None:
        """Give up what stands behind window `good` in a segment; -1 = all of it."""
        if segment is self._open:
            self._open = self._codec = None
        if good >= segment.last:
            return  # only a torn tail, never counted
        self._lose(segment.boot, max(segment.first, good + 1), segment.last)
        if good < 0:
            self._forget(segment)
        else:
            segment.last = good

    def _drop_oldest(self) -> None:
        segment = self.segments[0]
        first = max(segment.first, self.boots[segment.boot].upto + 1)
        if first <= segment.last:
            self._lose(segment.boot, first, segment.last)
        self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        self._remove(segment.number)
        self.segments.remove(segment)
        if segment is self._open:
            self._open = self._codec = None
        if segment.boot != self._boot and all(s.boot != segment.boot for s in self.segments):
            del self.boots[segment.boot]

    def _remove(self, number: int) -> None:
        try:
            os.remove(self.path(number))
        except OSError:
            pass  # it comes back with the next boot and is sent again: the gateway knows it

    def _lose(self, boot: int, first: int, last: int) -> None:
        if len(self.lost) < _MAX_LOST:
            self.lost.append((boot, first, last))


def _number(name: str) -> int:
    """Return a segment's number from its file's name, -1 when it is no segment."""
    if len(name) != _NAME_LENGTH or not name.endswith(_SUFFIX):
        return -1
    try:
        return int(name[:8], 16)
    except ValueError:
        return -1


def _blocks(size: int) -> int:
    return (size + BLOCK_BYTES - 1) // BLOCK_BYTES

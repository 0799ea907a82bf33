"""Reads the spool's minutes one after the other, oldest first, and goes on as it grows."""

from io import BytesIO

from errors import BadRecordError
from records import HEADER, MAX_CHANNELS, MINUTE, Codec, Minute, decode_header, read_frame
from spool import Segment, Spool

_CHUNK_BYTES = 512  # read at once: some ten minutes; more than the longest frame


class Reader:
    """A place in the spool; `boot` and `minute` are what `peek` found there."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.boot = 0
        self.minute = Minute(MAX_CHANNELS)
        self.rewind()

    def rewind(self) -> None:
        """Go back to the oldest segment."""
        self._enter(0)

    def _enter(self, number: int) -> None:
        self._number = number  # of the segment being read, 0 = before the first
        self._at = 0
        self._chunk = BytesIO(b"")
        self._codec: Codec | None = None
        self._waiting = False  # `minute` has been read and not been passed
        self._told = -1  # the last window read of this segment

    def peek(self, boot: int, below: int) -> bool:
        """Find the next minute that no ack covers; of `boot` only what ends below a window.

        The minutes of the running boot from there on are still in RAM, window by window.
        """
        while True:
            if self._waiting:
                if self._is_due():
                    return self.boot != boot or self.minute.seq < below
                self._waiting = False
            if not self._advance():
                return False

    def skip(self) -> None:
        """Pass the minute that `peek` found."""
        self._waiting = False

    def _is_due(self) -> bool:
        known = self._spool.boots.get(self.boot)
        return known is not None and self.minute.seq > known.upto and self._segment() is not None

    def _segment(self) -> "Segment | None":
        for segment in self._spool.segments:
            if segment.number == self._number:
                return segment
        return None

    def _advance(self) -> bool:
        """Read the next minute of this segment or a later one; False when there is none yet."""
        while True:
            segment = self._segment()
            if segment is not None:
                if self._read_minute(segment):
                    self.boot = segment.boot
                    self._waiting = True
                    return True
                if self._spool.is_open(segment):
                    return False
            later = [s.number for s in self._spool.segments if s.number > self._number]
            if not later:
                return False
            self._enter(min(later))

    def _read_minute(self, segment: Segment) -> bool:
        try:
            while self._at < segment.size:
                payload = self._frame(segment)
                kind = payload[0] & 3
                if kind == HEADER:
                    self._codec = Codec(decode_header(payload))
                elif kind == MINUTE and self._codec is not None:
                    self._codec.decode(payload, self.minute)
                    self._told = self.minute.seq
                    return True
        except OSError:
            return False  # not now; the next rewind tries again
        except BadRecordError:
            # Each record is told from the one before: nothing behind can be read.
            self._codec = None
            self._at = segment.size
            self._spool.damaged(segment, self._told)
        return False

    def _frame(self, segment: Segment) -> bytes:
        """Return the next payload; raises BadRecordError when it is torn or damaged."""
        before = self._chunk.tell()
        payload = read_frame(self._chunk, segment.number)
        if payload is None:
            with open(self._spool.path(segment.number), "rb") as file:
                file.seek(self._at)
                self._chunk = BytesIO(file.read(_CHUNK_BYTES))
            before = 0
            payload = read_frame(self._chunk, segment.number)
        if payload is None:
            msg = "a torn or damaged frame"
            raise BadRecordError(msg)
        self._at += self._chunk.tell() - before
        return payload

"""What the keeper needs only while readings pile up: the spool, its reader, the averages."""

import wire
from minutes import Averager, last_of_minute
from reader import Reader
from records import Minute
from spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ring import Ring


class Shelf:
    """The spool of a meter's directory with what writes and reads it."""

    def __init__(  # noqa: PLR0913, PLR0917 - identity, place and bounds
        self,
        root: str,
        channels: "list[str]",
        boot: int,
        bootn: int,
        spool_bytes: int,
        feed: "Callable[[], None] | None",
        ring: "Ring",
    ) -> None:
        self.spool = Spool(root, channels, boot, bootn, spool_bytes, feed)
        self.reader = Reader(self.spool)
        self.averager = Averager(ring)
        self._ring = ring
        self._boot = boot

    def last_of_minute(self, first: int, offset_ms: "int | None") -> "tuple[int, bool]":
        """See minutes.last_of_minute."""
        return last_of_minute(self._ring, first, offset_ms)

    def text(self, offset_ms: "int | None") -> str:
        """Return the reader's minute as the contract's reading.

        `offset_ms` is that of the running boot; the spool knows those of earlier ones.
        """
        boot = self.reader.boot
        known = self.spool.boots[boot]
        own = offset_ms if boot == self._boot else known.offset_ms
        return minute_text(boot, known.names, self.reader.minute, own)


def minute_text(boot: int, names: "list[str]", minute: Minute, offset_ms: "int | None") -> str:
    """Return a minute of the spool as the contract's reading with `n` and the flag `spool`."""
    v, f = _over(minute.v, 100), _over(minute.f, 1000)
    parts = [
        wire.head_text(boot, minute.seq, minute.n, minute.up_ms, offset_ms, minute.dt_ms, v, f)
    ]
    for k, name in enumerate(names):
        if k:
            parts.append(",")
        i, p, q = _over(minute.i[k], 1000), _over(minute.p[k], 10), _over(minute.q[k], 10)
        z = _over(minute.z[k], 10)
        parts.append(wire.channel_text(name, i, p, q, minute.mwh_in[k], minute.mwh_out[k], z))
    parts.append(wire.tail_text(minute.flags | wire.SPOOL))
    return "".join(parts)


def _over(value: "int | None", scale: int) -> "float | None":
    return None if value is None else value / scale

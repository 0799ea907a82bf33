"""Read packed documents back: what a program in the cloud does with them."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from cloud_sync.documents import EPOCH
from cloud_sync.packing import BadPackError, MinuteRow, unpack

Row = tuple[str, str, int]  # meter, channel, start of the minute in ms


def read_minutes(fields: Mapping[str, object]) -> dict[str, list[MinuteRow]]:
    """Return the rows of one packed document; BadPackError when it is none."""
    start, data = fields.get("start"), fields.get("data")
    if not isinstance(start, datetime) or not isinstance(data, bytes):
        msg = "document: has no `start` and `data`"
        raise BadPackError(msg)
    return unpack(data, round((start - EPOCH).total_seconds() * 1000))


def merge(documents: Iterable[Mapping[str, object]]) -> dict[Row, MinuteRow]:
    """Return all rows of several documents, each minute of a channel once.

    Of two documents with the same minute the one over the longer span counts: it was written
    when the gateway had to save writes, and is kept up to date from then on.
    """
    ordered = sorted(documents, key=_span_s)
    found: dict[Row, MinuteRow] = {}
    for fields in ordered:
        meter = str(fields["meter"])
        for channel, rows in read_minutes(fields).items():
            found.update({(meter, channel, row.start_ms): row for row in rows})
    return found


def _span_s(fields: Mapping[str, object]) -> float:
    start, end = fields.get("start"), fields.get("end")
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        msg = "document: has no `start` and `end`"
        raise BadPackError(msg)
    return (end - start).total_seconds()

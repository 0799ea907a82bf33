"""The archive: one Parquet file per meter and hour, in folders that Spark and others understand.

A file's name follows from site, meter and hour alone, so writing one again replaces it. Where raw
readings of an hour have been retired meanwhile, what comes late goes into a file beside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from gateway.domain.readings import Stored
from gateway.pipeline.rollups import Bucket
from gateway.services.exporting import ExportRow, columns, raw_row, rollup_row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Hour(NamedTuple):
    """One hour of one meter, by the store's number."""

    meter_no: int
    start_ms: int


class HourContent(NamedTuple):
    """What an hour's file shall hold: readings (raw) or intervals (1m) in time order.

    `last_row` is the newest row that the file covers. `late_row` is the first row of a file that
    stands beside an older one whose readings are gone from the database (0 for intervals), None
    for the usual file.
    """

    hour: Hour
    meter: str
    readings: Sequence[Stored]
    intervals: Mapping[str, Sequence[Bucket]]
    last_row: int
    late_row: int | None = None


class Written(NamedTuple):
    """A file that is safe now; `name` is "" where an hour has nothing to archive."""

    hour: Hour
    name: str
    rows: int
    bytes: int
    last_row: int


class HourReader(Protocol):
    """What the archive reads; blocking. Raises StorageError."""

    def hours(self, wanted: Sequence[Hour], resolution: str) -> Iterator[HourContent]:
        """Yield the content of hours, oldest first, each in one consistent snapshot."""


class ArchiveTarget(Protocol):
    """Where files go; blocking. Raises the errors of its kind."""

    def put(self, name: str, body: bytes) -> None:
        """Store a file whole under its name, in place of an older one."""


Encode = Callable[[Sequence[str], Sequence[ExportRow]], bytes]


def archive_columns(resolution: str) -> tuple[str, ...]:
    """Return a file's columns: those of an export, and the channel."""
    return ("channel", *columns(resolution))


def file_name(site: str, meter: str, start_ms: int, late_row: int | None = None) -> str:
    """Return the path of an hour's file below the archive's root; date and hour are UTC."""
    at = EPOCH + timedelta(milliseconds=start_ms)
    late = "" if late_row is None else f"-late-{late_row}"
    return f"site={site}/date={at:%Y-%m-%d}/meter={meter}/{at:%H}{late}.parquet"


def rows_of(content: HourContent, resolution: str) -> list[ExportRow]:
    """Return a file's rows in time order, channels of one reading in the order of their names."""
    if resolution == "raw":
        return [
            (name, *raw_row(reading, name))
            for reading in content.readings
            for name in sorted(reading.ch)
        ]
    found: list[ExportRow] = [
        (name, *rollup_row(bucket))
        for name, buckets in sorted(content.intervals.items())
        for bucket in buckets
    ]
    return sorted(found, key=lambda row: (row[1], row[0]))


class Plan(NamedTuple):
    """Which hours of which site to write, and at which resolution: raw or 1m."""

    site: str
    resolution: str
    hours: Sequence[Hour]


def archive(
    reader: HourReader, target: ArchiveTarget, encode: Encode, plan: Plan
) -> Iterator[Written]:
    """Write the files of some hours, oldest first; yield each when it is safe."""
    names = archive_columns(plan.resolution)
    for content in reader.hours(plan.hours, plan.resolution):
        rows = rows_of(content, plan.resolution)
        if not rows:
            yield Written(content.hour, "", 0, 0, content.last_row)
            continue
        name = file_name(plan.site, content.meter, content.hour.start_ms, content.late_row)
        body = encode(names, rows)
        target.put(name, body)
        yield Written(content.hour, name, len(rows), len(body), content.last_row)

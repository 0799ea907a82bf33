"""Readings and rollups of one channel as people take them out: rows, columns, resolutions."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from gateway.domain.readings import MARK_NAMES, Mark, Stored
from gateway.pipeline.rollups import RESOLUTIONS, Bucket

RAW_COLUMNS = (
    "t", "boot", "seq", "n", "dt", "v", "f", "i", "p", "q", "wh_in", "wh_out", "flags",
)  # fmt: skip
ROLLUP_COLUMNS = (
    "t", "n", "p_mean", "p_min", "p_max", "q_mean", "v_mean", "v_min", "v_max", "i_mean",
    "wh_in", "wh_out",
)  # fmt: skip
ALL_RESOLUTIONS = ("raw", *RESOLUTIONS)
# What the gateway noted and a reader of the data must know; the rest is about how it came.
SHOWN_MARKS = (Mark.ANCHORED, Mark.NEIGHBOURED, Mark.PHYSICS, Mark.REGISTER_FELL)
ExportRow = tuple[int | float | str | None, ...]


class Target(NamedTuple):
    """One channel of one meter, by the store's numbers."""

    meter_no: int
    channel_no: int
    channel: str


class ExportStore(Protocol):
    """What exporting needs from storage; all blocking, on one consistent snapshot each call."""

    def find(self, meter: str, channel: str) -> Target:
        """Return a channel; NotFoundError names the meter or channel that does not exist."""

    def bounds(self, target: Target) -> tuple[int, int]:
        """Return a span [start, end) in ms that holds every reading of the meter."""

    def readings(self, target: Target, start_ms: int, end_ms: int) -> Iterator[Stored]:
        """Yield placed readings of the meter with start ≤ t < end, in time order."""

    def rollups(
        self, target: Target, resolution: str, start_ms: int, end_ms: int
    ) -> Iterator[Bucket]:
        """Yield intervals that begin in [start, end), what is not written yet included."""


def columns(resolution: str) -> tuple[str, ...]:
    """Return the names of an export's columns (wire contract, section 6)."""
    return RAW_COLUMNS if resolution == "raw" else ROLLUP_COLUMNS


def rows(
    store: ExportStore, target: Target, resolution: str, start_ms: int, end_ms: int
) -> Iterator[ExportRow]:
    """Yield an export's rows in time order."""
    if resolution != "raw":
        for bucket in store.rollups(target, resolution, start_ms, end_ms):
            yield rollup_row(bucket)
        return
    for reading in store.readings(target, start_ms, end_ms):
        if target.channel in reading.ch:
            yield raw_row(reading, target.channel)


def raw_row(reading: Stored, name: str) -> ExportRow:
    """Return one channel of a reading, in the order of RAW_COLUMNS."""
    channel = reading.ch[name]
    marks = [MARK_NAMES[mark] for mark in SHOWN_MARKS if reading.marks & mark]
    voltage_v = reading.v if channel.v is None else channel.v
    return (
        reading.at_ms, reading.boot, reading.seq, reading.n, reading.dt_ms, voltage_v, reading.f,
        channel.i, channel.p, channel.q, channel.wh_in, channel.wh_out,
        ";".join((*reading.flags, *marks)),
    )  # fmt: skip


def rollup_row(bucket: Bucket) -> ExportRow:
    """Return one interval, in the order of ROLLUP_COLUMNS."""
    return (
        bucket.start_ms, bucket.n, bucket.mean("p"), bucket.p_min, bucket.p_max, bucket.mean("q"),
        bucket.mean("v"), bucket.v_min, bucket.v_max, bucket.mean("i"), bucket.wh_in,
        bucket.wh_out,
    )  # fmt: skip

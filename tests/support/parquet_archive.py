"""An archive of small homes, written by the product's own archive code."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gateway.adapters.archive_target import DirectoryTarget
from gateway.adapters.export_files import parquet_bytes
from gateway.services.archiving import archive_columns, file_name
from gateway.services.exporting import ExportRow, columns
from tinymodels.detect.minutes import Minutes

HOUR_MS = 3_600_000
FOREVER_MS = 2**52
Channels = Mapping[str, Minutes]


def write_archive(root: Path, homes: Mapping[str, Channels], *, site: str = "test") -> None:
    """Write the minutes of each meter's channels as the archive writes 1m intervals."""
    target = DirectoryTarget(root)
    for meter, channels in homes.items():
        for start_ms in _hours(channels):
            rows = sorted(
                (
                    row
                    for name, one in channels.items()
                    for row in _rows(name, one, start_ms, start_ms + HOUR_MS)
                ),
                key=lambda row: (row[1], row[0]),
            )
            body = parquet_bytes(archive_columns("1m"), rows)
            target.put(file_name(site, meter, start_ms), body)


def write_exports(root: Path, homes: Mapping[str, Channels]) -> None:
    """Write the minutes of each channel into one file, as `wattwarden export` does."""
    root.mkdir(parents=True, exist_ok=True)
    for meter, channels in homes.items():
        for name, minutes in channels.items():
            rows = [row[1:] for row in _rows(name, minutes, 0, FOREVER_MS)]
            body = parquet_bytes(columns("1m"), rows)
            (root / f"{meter}-{name}.parquet").write_bytes(body)


def _hours(channels: Channels) -> list[int]:
    starts = np.concatenate([one.start_ms for one in channels.values()])
    hours: list[int] = np.unique(starts // HOUR_MS * HOUR_MS).tolist()
    return hours


def _rows(name: str, minutes: Minutes, start_ms: int, end_ms: int) -> list[ExportRow]:
    """Return a span's rows in the order of `archive_columns("1m")`."""
    found: list[ExportRow] = []
    for row in minutes.between(start_ms, end_ms).rows():
        known = [None if value != value else value for value in row[1:]]  # noqa: PLR0124 - NaN
        p, p_min, p_max, v, v_max, q, i = known
        found.append((name, row.start_ms, 60, p, p_min, p_max, q, v, v, v_max, i, None, None))
    return found

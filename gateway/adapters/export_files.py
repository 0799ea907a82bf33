"""Write exported rows as CSV, JSON lines or Parquet."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import IO

from gateway.domain.errors import ConfigError
from gateway.services.exporting import ExportRow

PARQUET_ROWS = 50_000
WHOLE_COLUMNS = frozenset({"t", "boot", "seq", "n", "dt"})
TEXT_COLUMNS = frozenset({"channel", "flags"})
Writer = Callable[[Sequence[str], Iterable[ExportRow], IO[bytes]], None]


def write_csv(columns: Sequence[str], rows: Iterable[ExportRow], target: IO[bytes]) -> None:
    """Write CSV in UTF-8: an empty cell is null, floats are in shortest round-trip form."""
    writer = csv.writer(_Encoder(target), lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


class _Encoder:
    """A text file's `write` over a binary file, which stays open."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target

    def write(self, text: str) -> int:
        return self._target.write(text.encode())


def write_jsonl(columns: Sequence[str], rows: Iterable[ExportRow], target: IO[bytes]) -> None:
    """Write one JSON object a line."""
    for row in rows:
        line = json.dumps(dict(zip(columns, row, strict=True)), separators=(",", ":"))
        target.write(line.encode() + b"\n")


def write_parquet(columns: Sequence[str], rows: Iterable[ExportRow], target: IO[bytes]) -> None:
    """Write Parquet (zstd); ConfigError when pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        msg = "--format parquet: needs pyarrow; install it with: pip install 'wattwarden[data]'"
        raise ConfigError(msg) from error
    types = [
        pa.int64()
        if name in WHOLE_COLUMNS
        else pa.string()
        if name in TEXT_COLUMNS
        else pa.float64()
        for name in columns
    ]
    schema = pa.schema(list(zip(columns, types, strict=True)))
    remaining = iter(rows)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        while chunk := list(islice(remaining, PARQUET_ROWS)):
            arrays = [
                pa.array(values, type=kind)
                for values, kind in zip(zip(*chunk, strict=True), types, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def parquet_bytes(columns: Sequence[str], rows: Iterable[ExportRow]) -> bytes:
    """Return a whole Parquet file, as `write_parquet` writes it."""
    target = io.BytesIO()
    write_parquet(columns, rows, target)
    return target.getvalue()


WRITERS: dict[str, Writer] = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}

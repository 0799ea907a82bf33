"""Read tables of readings from CSV (also gzipped) and Parquet, a row at a time."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gateway.domain.errors import BadInputError, ConfigError

Row = Sequence[object]
PIECE = 1 << 20
PARQUET_ROWS = 10_000
CSV_ENDINGS = (".csv", ".csv.gz")


class Table:
    """One file's columns, its size in rows where that is known, and its rows anew each time."""

    def __init__(
        self, columns: list[str], rows: Callable[[], Iterator[Row]], count: int | None
    ) -> None:
        self.columns = columns
        self.rows = rows
        self.count = count


def checksum(path: Path, salt: str) -> int:
    """Return CRC-32 over a file's content and then `salt`, the `boot` of a replay."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            crc = zlib.crc32(piece, crc)
    return zlib.crc32(salt.encode(), crc)


def open_table(path: Path) -> Table:
    """Open a file by its ending; BadInputError or ConfigError say what is wrong with it."""
    if not path.is_file():
        msg = f"FILE: {path} is no file"
        raise BadInputError(msg)
    if path.name.endswith(".parquet"):
        return _parquet(path)
    if path.name.endswith(CSV_ENDINGS):
        return _csv(path)
    msg = f"FILE: {path.name}: must end in .csv, .csv.gz or .parquet"
    raise BadInputError(msg)


def _csv(path: Path) -> Table:
    def rows() -> Iterator[Row]:
        opener = gzip.open if path.name.endswith(".gz") else open
        try:
            with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
                yield from csv.reader(file)
        except (OSError, UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
            msg = f"FILE: {path} cannot be read: {error}"
            raise BadInputError(msg) from error

    header = next(rows(), None)
    if not header:
        msg = f"FILE: {path} is empty; its first line must name the columns"
        raise BadInputError(msg)

    def body() -> Iterator[Row]:
        lines = rows()
        next(lines)
        return (line for line in lines if line)

    return Table([str(name).strip() for name in header], body, None)


def _parquet(path: Path) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        msg = f"FILE: {path.name}: Parquet needs pyarrow: pip install 'wattwarden[data]'"
        raise ConfigError(msg) from error
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        msg = f"FILE: {path} is no readable Parquet file: {error}"
        raise BadInputError(msg) from error

    def rows() -> Iterator[Row]:
        for batch in file.iter_batches(PARQUET_ROWS):
            columns = [_plain(pa, column) for column in batch.columns]
            yield from zip(*columns, strict=True)

    return Table(list(file.schema_arrow.names), rows, file.metadata.num_rows)


def _plain(pa: object, column: object) -> list[object]:
    """Return a column as Python values; 32-bit floats as the decimal numbers they stand for."""
    kind = column.type  # type: ignore[attr-defined]
    if pa.types.is_timestamp(kind):  # type: ignore[attr-defined]
        # Python knows no nanoseconds.
        column = column.cast(pa.timestamp("us", tz=kind.tz), safe=False)  # type: ignore[attr-defined]
    values: list[object] = column.to_pylist()  # type: ignore[attr-defined]
    if pa.types.is_float32(kind):  # type: ignore[attr-defined]
        return [None if v is None else float(f"{v:.7g}") for v in values]
    return values

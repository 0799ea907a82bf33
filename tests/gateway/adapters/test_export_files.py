"""Exported rows in the three formats, and tables read back."""

import gzip
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gateway.adapters.export_files import write_csv, write_jsonl, write_parquet
from gateway.adapters.table_files import checksum, open_table
from gateway.domain.errors import BadInputError
from gateway.services.exporting import RAW_COLUMNS, ExportRow

ROWS: list[ExportRow] = [
    (1000, 7, 0, 1, 1000, 230.1, 50.0, 0.1, 1 / 3, None, 5.0, 0.0, "clip;physics"),
    (2000, 7, 1, 1, 1000, None, None, None, None, None, None, None, ""),
]


def test_csv_has_empty_cells_for_null_and_floats_that_come_back() -> None:
    target = io.BytesIO()
    write_csv(RAW_COLUMNS, ROWS, target)
    lines = target.getvalue().decode().split("\n")
    assert lines[0] == "t,boot,seq,n,dt,v,f,i,p,q,wh_in,wh_out,flags"
    assert lines[1] == "1000,7,0,1,1000,230.1,50.0,0.1,0.3333333333333333,,5.0,0.0,clip;physics"
    assert lines[2] == "2000,7,1,1,1000,,,,,,,,"


def test_json_lines_keep_null() -> None:
    target = io.BytesIO()
    write_jsonl(RAW_COLUMNS, ROWS, target)
    first, second = (json.loads(line) for line in target.getvalue().splitlines())
    assert first["p"] == 1 / 3
    assert second["v"] is None


def test_parquet_has_types() -> None:
    target = io.BytesIO()
    write_parquet(RAW_COLUMNS, ROWS, target)
    table = pq.read_table(io.BytesIO(target.getvalue()))
    assert table.column_names == list(RAW_COLUMNS)
    assert table["t"].to_pylist() == [1000, 2000]
    assert table["p"].to_pylist() == [1 / 3, None]


def test_an_empty_export_still_names_its_columns() -> None:
    target = io.BytesIO()
    write_parquet(RAW_COLUMNS, [], target)
    assert pq.read_table(io.BytesIO(target.getvalue())).column_names == list(RAW_COLUMNS)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_tables_are_read_as_often_as_asked(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        if name.endswith(".parquet"):
            write_parquet(RAW_COLUMNS, ROWS, file)
        else:
            text = io.BytesIO()
            write_csv(RAW_COLUMNS, ROWS, text)
            file.write(gzip.compress(text.getvalue()) if name.endswith(".gz") else text.getvalue())
    table = open_table(path)
    assert table.columns == list(RAW_COLUMNS)
    for _ in range(2):
        assert [int(str(row[0])) for row in table.rows()] == [1000, 2000]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"t,p\n"),
        ("a.csv", b""),
        ("a.csv", b"\xff\xfe\x00"),
        ("a.csv.gz", b"no gzip"),
        ("a.parquet", b"no parquet"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=name):
        list(open_table(path).rows())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.csv"):
        open_table(tmp_path / "none.csv")


def test_the_boot_is_of_content_and_meter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"t,p\n1,2\n")
    copy = tmp_path / "b.csv"
    copy.write_bytes(b"t,p\n1,2\n")
    assert checksum(path, "home") == checksum(copy, "home") != checksum(path, "barn")

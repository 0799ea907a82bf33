"""Reading the archive: minutes as the gateway's own rollups make them, whatever the layout."""

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.export_files import write_parquet
from gateway.domain.errors import BadInputError
from gateway.domain.readings import Channel, Stored
from gateway.pipeline.rollups import Bucket
from gateway.services.exporting import RAW_COLUMNS, ROLLUP_COLUMNS, ExportRow
from tests.support.parquet_archive import write_archive
from tests.support.small_home import small_home
from tinymodels.detect.minutes import MINUTE_MS, Minutes
from tinymodels.train.archive import find, minutes_of, read

FIRST_MS = 1_780_272_000_000
RAW = ["channel", *RAW_COLUMNS]


def write_raw(path: Path, rows: list[ExportRow], columns: list[str]) -> None:
    """Write a Parquet file with the product's own writer."""
    body = io.BytesIO()
    write_parquet(columns, rows, body)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body.getvalue())


def raw_row(at_ms: int, p: float | None, *, dt: int = 1000, v: float | None = 230.0) -> ExportRow:
    """Return a raw row of an export, without the channel."""
    return (at_ms, 1, at_ms // 1000 % 10**6, 1, dt, v, 50.0, 1.0, p, -5.0, None, None, "")


def assert_same(one: Minutes, other: Minutes) -> None:
    np.testing.assert_array_equal(one.start_ms, other.start_ms)
    np.testing.assert_allclose(one.values, other.values, rtol=1e-9)


def test_the_archives_own_layout(tmp_path: Path) -> None:
    kitchen, solar, cellar = small_home(0.5, seed=1), small_home(0.5, seed=2), small_home(0.2)
    write_archive(
        tmp_path, {"kitchen": {"grid": kitchen, "solar": solar}, "cellar": {"grid": cellar}}
    )
    found = find(tmp_path)
    assert list(found) == ["cellar", "kitchen"]
    assert len(found["kitchen"]) == 12
    back = read(found["kitchen"])
    assert list(back) == ["grid", "solar"]
    assert_same(back["grid"], kitchen)
    assert_same(back["solar"], solar)
    assert list(find(tmp_path, ["cellar"])) == ["cellar"]


def test_an_exports_file_is_named_for_its_channel(tmp_path: Path) -> None:
    home = small_home(0.1)
    rows: list[ExportRow] = [
        (row.start_ms, 60, row.p_mean_w, row.p_min_w, row.p_max_w, row.q_mean_var, row.v_mean_v,
         row.v_mean_v, row.v_max_v, row.i_mean_a, 1.0, 0.0)
        for row in home.rows()
    ]  # fmt: skip
    write_raw(tmp_path / "my-kitchen-load1.parquet", rows, list(ROLLUP_COLUMNS))
    found = find(tmp_path)
    assert list(found) == ["my-kitchen"]
    assert_same(read(found["my-kitchen"])["load1"], home)


windows = st.lists(
    st.tuples(
        st.integers(0, 600_000),
        st.integers(1, 60_000),
        st.one_of(st.none(), st.floats(-1e4, 1e4)),
        st.one_of(st.none(), st.floats(1, 400)),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda window: window[0],
)


@given(windows)
@settings(max_examples=60, deadline=None)
def test_raw_readings_become_the_rollups_minutes(found: list[tuple[int, int, Any, Any]]) -> None:
    """Readings of any length, some without power or voltage: as `gateway.pipeline.rollups`."""
    buckets: dict[int, Bucket] = {}
    for after_ms, dt, p, v in found:
        at_ms = FIRST_MS + after_ms
        middle_ms = at_ms - dt // 2
        start_ms = middle_ms - middle_ms % MINUTE_MS
        reading = Stored(
            row=0, meter="m", boot=1, seq=0, n=1, up_ms=0, t_ms=None, at_ms=at_ms,
            received_ms=at_ms, dt_ms=dt, marks=0, v=v, f=50.0, ch={},
        )  # fmt: skip
        bucket = buckets.setdefault(start_ms, Bucket(start_ms))
        bucket.take(Channel(i=1.0, p=p, wh_in=None, wh_out=None, q=-5.0), v, reading)
    frame = pd.DataFrame(
        [raw_row(FIRST_MS + a, p, dt=dt, v=v) for a, dt, p, v in found], columns=list(RAW_COLUMNS)
    )
    frame[["p", "v"]] = frame[["p", "v"]].astype(float)
    minutes = minutes_of(frame)
    assert minutes.start_ms.tolist() == sorted(buckets)
    for row in minutes.rows():
        bucket = buckets[row.start_ms]
        wanted = [bucket.mean("p"), bucket.p_min, bucket.p_max, bucket.mean("v"), bucket.v_max]
        for value, expected in zip(row[1:6], wanted, strict=True):
            known = math.nan if expected is None else expected
            assert value == pytest.approx(known, rel=1e-9, abs=1e-9, nan_ok=True)


def test_raw_hours_with_late_ones_beside_add_up(tmp_path: Path) -> None:
    folder = tmp_path / "site=x" / "date=2026-06-01" / "meter=kitchen"
    first: list[ExportRow] = [("grid", *raw_row(FIRST_MS + 1000 * k, 100.0)) for k in range(1, 31)]
    late: list[ExportRow] = [("grid", *raw_row(FIRST_MS + 1000 * k, 300.0)) for k in range(31, 61)]
    write_raw(folder / "00.parquet", first, RAW)
    write_raw(folder / "00-late-77.parquet", late, RAW)
    (folder / ".01.parquet.part").write_bytes(b"half a file")
    minutes = read(find(tmp_path)["kitchen"])["grid"]
    assert minutes.start_ms.tolist() == [FIRST_MS]
    assert minutes["p_mean_w"].tolist() == [200.0]
    assert (minutes["p_min_w"][0], minutes["p_max_w"][0]) == (100.0, 300.0)


def test_a_sparks_group_may_come_in_any_order() -> None:
    home = small_home(0.2)
    frame = home.to_frame().sample(frac=1.0, random_state=3)
    assert_same(minutes_of(frame), home)


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is no folder"):
        find(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match="no Parquet file lies below"):
        find(tmp_path)
    broken = tmp_path / "kitchen-grid.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(BadInputError, match=re.escape(str(broken))):
        read(find(tmp_path)["kitchen"])
    with pytest.raises(BadInputError, match="has nothing of cellar; it has kitchen"):
        find(tmp_path, ["cellar"])
    (tmp_path / "Kitchen.parquet").write_bytes(b"")
    with pytest.raises(BadInputError, match="says not whose it is"):
        find(tmp_path)


def test_quarter_hours_and_foreign_tables_are_refused(tmp_path: Path) -> None:
    rows: list[ExportRow] = [
        (FIRST_MS + k * 900_000, 900, 1.0, 1.0, 1.0, 0.0, 230.0, 230.0, 231.0, 1.0, 1.0, 0.0)
        for k in range(20)
    ]
    path = tmp_path / "kitchen-grid.parquet"
    write_raw(path, rows, list(ROLLUP_COLUMNS))
    with pytest.raises(BadInputError, match="intervals of 15 min"):
        read(find(tmp_path)["kitchen"])
    pd.DataFrame({"a": [1.0]}).to_parquet(path)
    with pytest.raises(BadInputError, match="has no readings or intervals"):
        read(find(tmp_path)["kitchen"])

"""Tables become readings: maps, times, holes, derived registers."""

import itertools
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadInputError
from gateway.pipeline.decode import decode
from gateway.pipeline.tabular import (
    Line,
    Source,
    parse_map,
    read_lines,
    usual_step_ms,
    windows,
)

UTC = ZoneInfo("UTC")
LISBON = ZoneInfo("Europe/Lisbon")
P_AT = 3  # in FIELDS


def lines_of(rows: list[tuple[int, float | None]]) -> list[Line]:
    return [Line(t, (None, None, None, p, None, None, None)) for t, p in rows]


def channel(window_reading: dict[str, object]) -> dict[str, float | None]:
    channels = window_reading["ch"]
    assert isinstance(channels, dict)
    grid: dict[str, float | None] = channels["grid"]
    return grid


def test_maps_rename_scale_and_subtract() -> None:
    columns = ["ts", "p_kw", "imp", "exp", "a-b"]
    sources = parse_map(["t=ts", "p=p_kw:1000", "q=imp-exp", "v=a-b"], columns)
    assert sources["t"] == Source("ts")
    assert sources["p"] == Source("p_kw", None, 1000.0)
    assert sources["q"] == Source("imp", "exp")
    assert sources["v"] == Source("a-b")  # a column's own name goes first
    assert parse_map(["p=imp-exp:0.5"], ["t", "imp", "exp"])["p"] == Source("imp", "exp", 0.5)


@pytest.mark.parametrize(
    ("texts", "columns", "names"),
    [
        (["p"], ["t", "p"], "--map p"),
        (["x=p"], ["t", "p"], "--map x=p"),
        (["p=nope"], ["t", "p"], "nope"),
        (["p=p:fast"], ["t", "p"], "--map p=p:fast"),
        (["p=p:nan"], ["t", "p"], "p:nan"),
        ([], ["ts", "p"], "--map t=COLUMN"),
        ([], ["t", "watts"], "watts"),
    ],
)
def test_a_wrong_map_is_named(texts: list[str], columns: list[str], names: str) -> None:
    with pytest.raises(BadInputError, match=names):
        parse_map(texts, columns)


def test_a_null_operand_gives_null_and_nothing_is_made_up() -> None:
    sources = parse_map(["p=imp-exp"], ["t", "imp", "exp"])
    rows = [("1000", "5", "2"), ("2000", "5", ""), ("3000", None, "2"), ("4000", "nan", "1")]
    lines = read_lines(["t", "imp", "exp"], rows, sources, UTC)
    assert [line.values[P_AT] for line in lines] == [3.0, None, None, None]


def test_scaling_keeps_decimal_numbers_decimal() -> None:
    sources = parse_map(["p=p_kw:1000"], ["t", "p_kw"])
    lines = read_lines(["t", "p_kw"], [("1000", "4.216"), ("2000", "0.07")], sources, UTC)
    assert [line.values[P_AT] for line in lines] == [4216.0, 70.0]


def test_a_bad_cell_is_named_with_its_row() -> None:
    sources = parse_map([], ["t", "p"])
    with pytest.raises(BadInputError, match="row 3: p: 'high' is no number"):
        read_lines(["t", "p"], [("1000", "1"), ("2000", "high")], sources, UTC)
    with pytest.raises(BadInputError, match="row 2: t: 'noon'"):
        read_lines(["t", "p"], [("noon", "1")], sources, UTC)
    with pytest.raises(BadInputError, match="row 2 has 1 cells"):
        read_lines(["t", "p"], [("1000",)], sources, UTC)


def test_the_hour_that_comes_twice_goes_on_forward() -> None:
    """Local times 00:30, 01:30, 01:30 again, 02:30 on the night summer time ends in Lisbon."""
    texts = ["2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 01:30", "2026-10-25 02:30"]
    sources = parse_map([], ["t", "p"])
    lines = read_lines(["t", "p"], [(text, "1") for text in texts], sources, LISBON)
    steps = [b.t_ms - a.t_ms for a, b in itertools.pairwise(lines)]
    assert steps == [3_600_000] * 3


def test_a_hole_advances_seq_and_adds_no_energy() -> None:
    minute = 60_000
    rows = [(0, 600.0), (minute, 600.0), (5 * minute, 600.0), (6 * minute, 600.0)]
    found = list(windows(lines_of([(t, p) for t, p in rows]), {"p": Source("p")}, "grid", 7))
    assert [window.seq for window in found] == [0, 1, 5, 6]
    assert [window.missing for window in found] == [0, 0, 3, 0]
    assert [channel(window.reading)["wh_in"] for window in found] == [0.0, 10.0, 10.0, 20.0]
    assert [window.reading["dt"] for window in found] == [minute] * 4


def test_a_rectangle_reaches_back_over_rows_without_power() -> None:
    minute = 60_000
    rows: list[tuple[int, float | None]] = [(0, 600.0), (minute, None), (2 * minute, 300.0)]
    found = list(windows(lines_of(rows), {"p": Source("p")}, "grid", 7))
    assert channel(found[-1].reading)["wh_in"] == pytest.approx(10.0)


def test_registers_of_the_table_are_taken_as_they_are() -> None:
    lines = [Line(t, (None, None, None, 500.0, None, 100.0 + t, None)) for t in (0, 1000, 2000)]
    sources = {"p": Source("p"), "wh_in": Source("wh_in")}
    found = list(windows(lines, sources, "grid", 7))
    assert [channel(w.reading)["wh_in"] for w in found] == [100.0, 1100.0, 2100.0]


def test_a_single_row_is_a_reading() -> None:
    assert usual_step_ms(lines_of([(5, 1.0)])) == 60_000


@given(
    st.lists(
        st.tuples(st.integers(1, 10_000_000), st.none() | st.floats(-5e5, 5e5)),
        min_size=1,
        max_size=40,
    )
)
def test_whatever_the_table_the_readings_keep_to_the_contract(
    steps: list[tuple[int, float | None]],
) -> None:
    """Every reading decodes, seq rises by 1 + missing, registers never fall."""
    times = itertools.accumulate(step for step, _ in steps)
    rows = [(t, p) for t, (_, p) in zip(times, steps, strict=True)]
    last_seq, last_in, last_out = -1, 0.0, 0.0
    for window in windows(lines_of(rows), {"p": Source("p")}, "grid", 7):
        decoded = decode(msgspec.json.encode(window.reading))
        assert not decoded.rejected
        grid = decoded.readings[0].ch["grid"]
        assert window.seq == last_seq + 1 + window.missing
        assert grid.wh_in is not None
        assert grid.wh_out is not None
        assert grid.wh_in >= last_in
        assert grid.wh_out >= last_out
        last_seq, last_in, last_out = window.seq, grid.wh_in, grid.wh_out

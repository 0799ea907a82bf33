"""What uploaded tables look like, in the ways in which people's tables do."""

import csv
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadInputError
from gateway.pipeline.column_guess import guess_map
from gateway.pipeline.import_table import TableReader, read_targets, usual_rating
from gateway.pipeline.import_windows import import_windows
from gateway.pipeline.sniffing import Form, sniff
from gateway.pipeline.table_times import DateOrder, guess_order, read_time

UTC_ZONE = ZoneInfo("UTC")
PLAIN = "ts,p_kw,v\n2026-01-01 00:00,0.4,230.1\n2026-01-01 00:15,0.5,231.0\n"
GERMAN = (
    "Export\n\nZeit;Leistung kW;Spannung\n31.12.2025 23:45;1,25;231,2\n1.1.2026 00:00;2,5;230\n"
)
UCI = (
    "Date;Time;Global_active_power;Voltage\n"
    "16/12/2006;17:24:00;4.216;234.8\n16/12/2006;17:25:00;?;233\n"
)
BARE = "1767225600\t230.1\n1767225660\t230.4\n"


def looked(text: str) -> tuple[Form, dict[str, str]]:
    lines = text.splitlines(keepends=True)
    form = sniff(lines)
    rows = [row for row in csv.reader(lines, delimiter=form.delimiter) if row]
    return form, guess_map(form, rows[-2:])


@pytest.mark.parametrize(
    ("text", "delimiter", "decimal", "time", "found"),
    [
        (PLAIN, ",", ".", "ts", {"p": "p_kw:1000", "v": "v"}),
        (GERMAN, ";", ",", "Zeit", {"p": "Leistung kW:1000", "v": "Spannung"}),
        (UCI, ";", ".", "Date+Time", {"p": "Global_active_power:1000", "v": "Voltage"}),
        (BARE, "\t", ".", "column 1", {}),
    ],
)
def test_tables_are_recognised(
    text: str, delimiter: str, decimal: str, time: str, found: dict[str, str]
) -> None:
    form, guess = looked(text)
    assert (form.delimiter, form.decimal, form.time) == (delimiter, decimal, time)
    assert guess == found


def test_phases_become_channels_and_solar_its_own() -> None:
    head, row = "t,vl1,vl2,il1,il2,solar_kw\n", "230,231,4,5,1.5\n"
    text = f"{head}2026-01-01 00:00,{row}2026-01-01 00:15,{row}"
    assert looked(text)[1] == {
        "v": "vl1", "l1.v": "vl1", "l2.v": "vl2", "l1.i": "il1", "l2.i": "il2",
        "solar.p": "solar_kw:1000",
    }  # fmt: skip


def test_energy_of_each_row_becomes_power_and_a_meter_s_count_a_register() -> None:
    usage = "t,kwh\n2026-01-01 00:00,0.4\n2026-01-01 00:15,0.2\n2026-01-01 00:30,0.3\n"
    assert looked(usage)[1] == {"p": "kwh:4000"}
    count = "t,total_kwh\n2026-01-01 00:00,8412.4\n2026-01-01 00:15,8412.6\n"
    assert looked(count)[1] == {"wh_in": "total_kwh:1000"}


@pytest.mark.parametrize("text", ["hello\nworld\n", "", "a,b\n", "\n\n\n"])
def test_what_is_no_table_is_said(text: str) -> None:
    with pytest.raises(BadInputError, match="file"):
        sniff(text.splitlines(keepends=True) or [""])


@given(st.integers(631_152_000, 3_000_000_000))
def test_times_in_every_form_mean_the_same(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    whole = seconds * 1000
    for text, order in (
        (moment.isoformat(), DateOrder.DMY),
        (moment.strftime("%Y/%m/%d %H:%M:%S"), DateOrder.DMY),
        (moment.strftime("%d/%m/%Y %H:%M:%S"), DateOrder.DMY),
        (moment.strftime("%d.%m.%y %H.%M.%S"), DateOrder.DMY),
        (moment.strftime("%m/%d/%Y %I:%M:%S %p"), DateOrder.MDY),
        (str(seconds), DateOrder.YMD),
        (str(whole), DateOrder.YMD),
    ):
        assert read_time(text, order, UTC_ZONE) == whole, text


def test_the_order_of_a_date_is_seen_where_it_can_be() -> None:
    assert guess_order(["01/02/2026", "13/02/2026"]) is DateOrder.DMY
    assert guess_order(["01/02/2026", "02/13/2026"]) is DateOrder.MDY
    assert guess_order(["2026-02-13"]) is DateOrder.YMD


@pytest.mark.parametrize("text", ["", "yesterday", "32/01/2026", "01/13/2026", "2026-01-01 25:00"])
def test_nonsense_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        read_time(text, DateOrder.DMY, UTC_ZONE)


def test_midnight_at_the_end_of_a_day_is_the_next_one_s_begin() -> None:
    end = read_time("31/12/2026 24:00", DateOrder.DMY, UTC_ZONE)
    assert end == read_time("2027-01-01", DateOrder.DMY, UTC_ZONE)


def test_of_the_hour_that_comes_twice_both_are_read() -> None:
    zone = ZoneInfo("Europe/Lisbon")
    first = read_time("25/10/2026 01:30", DateOrder.DMY, zone)
    assert read_time("25/10/2026 01:30", DateOrder.DMY, zone, first) == first + 3_600_000


def test_bad_lines_are_told_and_the_others_go_on() -> None:
    form, _ = looked(PLAIN)
    targets = read_targets({"p": "p_kw:1000", "v": "v"}, form.columns, "grid")
    reader = TableReader(form, targets, "ts", DateOrder.YMD, UTC_ZONE)
    rows = [
        ["2026-01-01 00:30", "0.3", "230"], ["2026-01-01 00:00", "0.1", "230"],
        ["soon", "1", "230"], ["2026-01-01 00:15", "abc", "230"], ["2026-01-01 00:15", "0.2"],
        ["2026-01-01 00:15", "0.2", "900"], ["2026-01-01 00:15", "", "230"],
        ["2026-01-01 00:30", "0.9", "230"],
    ]  # fmt: skip
    for line, row in enumerate(rows, 2):
        reader.take(line, row)
    table = reader.finish()
    assert [(e.line, e.column) for e in reader.errors] == [
        (4, "ts"), (5, "p_kw"), (6, ""), (7, "v"), (9, ""),
    ]  # fmt: skip
    assert reader.error_count == 5
    windows = list(import_windows(table, "grid", 9))
    assert [w.seq for w in windows] == [0, 1, 2]
    powers = [w.reading["ch"]["grid"]["p"] for w in windows]  # type: ignore[index]
    assert powers == [100.0, None, 300.0]
    last = windows[-1].reading["ch"]["grid"]  # type: ignore[index]
    assert last["wh_in"] == pytest.approx(300 * 0.5)


def test_holes_are_missing_windows_and_count_nothing() -> None:
    form, _ = looked(PLAIN)
    targets = read_targets({"l1.p": "p_kw:1000", "l2.p": "p_kw:2000", "v": "v"}, form.columns, "x")
    reader = TableReader(form, targets, "ts", DateOrder.YMD, UTC_ZONE)
    for hour, line in zip((0, 1, 2, 6, 7), range(2, 9), strict=False):
        reader.take(line, [f"2026-01-01 {hour:02}:00", "1", "230"])
    windows = list(import_windows(reader.finish(), "x", 9))
    assert [(w.seq, w.missing) for w in windows] == [(0, 0), (1, 0), (2, 0), (6, 3), (7, 0)]
    channels = windows[-1].reading["ch"]
    assert isinstance(channels, dict)
    assert {name: c["wh_in"] for name, c in channels.items()} == {"l1": 3000.0, "l2": 6000.0}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [({"power": "p_kw"}, "map.power"), ({"p": "nope"}, "no column"), ({}, "at least one"),
     ({"l1.f": "v"}, "frequency"), ({"p": "p_kw:inf"}, "map.p"),
     ({f"c{n}.p": "v" for n in range(7)}, "at most 6")],
)  # fmt: skip
def test_what_is_wrong_with_a_map_is_named(chosen: dict[str, str], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        read_targets(chosen, looked(PLAIN)[0].columns, "grid")


@pytest.mark.parametrize(("highest", "rating"), [(29.9, None), (31, 32.0), (253.6, 315.0)])
def test_a_rating_fits_what_a_line_carried(highest: float, rating: float | None) -> None:
    assert usual_rating([1.0, float("nan"), highest]) == rating

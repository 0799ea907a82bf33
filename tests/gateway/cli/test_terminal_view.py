"""What the demo's views print."""

from collections import deque

import pytest
from rich.console import Console

from gateway.cli.terminal_view import (
    AlertRow,
    LineView,
    LiveView,
    MeterRow,
    Picture,
    bar,
    choose,
    drawn,
    sparkline,
)

ALERT = AlertRow("a", 24.0, "flat", "critical", "open", "Voltage high", "It was 276 V.")
ROW = MeterRow(
    "flat", online=True, voltage_v=231.24, powers_w={"grid": -1234.4, "solar": 2000.0}, backlog=2
)


def render(picture: Picture) -> str:
    console = Console(width=120, record=True, file=None, force_terminal=False, quiet=False)
    with console.capture() as capture:
        console.print(drawn(picture))
    return capture.get()


def test_the_picture_names_everything() -> None:
    text = render(
        Picture(65.0, [ROW, MeterRow("workshop")], 120, 3, [ALERT], ["the mains fail"], "http://x")
    )
    for part in (
        "Wattwarden demo 01:05",
        "-1,234 W",
        "2,000 W",
        "231.2 V",
        "waiting",
        "committed 120 readings, backlog 3, web at http://x",
        "Fault injected: the mains fail",
        "00:24 alert open: critical, flat: Voltage high. It was 276 V.",
    ):
        assert part in text
    assert "No alerts." not in text
    assert "No alerts." in render(Picture())


def test_lines_tell_news_at_once_and_the_rest_every_five_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = LineView()
    picture = Picture(1.0, [ROW], 5)
    with view as screen:
        screen.show(picture)
        picture.elapsed_s = 3.0
        picture.announced = ["the mains fail"]
        screen.show(picture)
        picture.alerts = [ALERT]
        screen.show(picture)
        screen.show(picture)
        picture.elapsed_s = 6.0
        screen.show(picture)
    assert capsys.readouterr().out.splitlines() == [
        "00:01 flat -1234 W 231.2 V  committed 5, backlog 0",
        "00:03 fault injected: the mains fail",
        "00:03 alert open: critical, flat: Voltage high. It was 276 V.",
        "00:06 flat -1234 W 231.2 V  committed 5, backlog 0",
    ]


def test_a_line_for_each_state_of_an_alert(capsys: pytest.CaptureFixture[str]) -> None:
    view = LineView()
    done = AlertRow("a", 24.0, "", "critical", "resolved", "Voltage normal", "It is 230 V.")
    view.show(Picture(1.0, alerts=[ALERT]))
    view.show(Picture(2.0, alerts=[done]))
    assert "00:02 alert resolved: critical, gateway: Voltage normal." in capsys.readouterr().out


def test_sparkline_spans_its_values() -> None:
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([0, 50, 100]) == "▁▅█"
    assert sparkline([-100, 100]) == "▁█"
    assert set(sparkline(deque([1000.0, 1005.0, 1001.0]))) == {"▁"}  # noise is not a mountain


def test_bar_is_a_share_and_shows_export() -> None:
    assert bar(500, 1000).plain == "██████······"
    assert bar(-1000, 1000).plain == "████████████"
    assert bar(-1000, 1000).style == "green"
    assert bar(0, 0).plain == "············"


def test_the_view_fits_where_it_is_shown() -> None:
    assert isinstance(choose(Console(force_terminal=True)), LiveView)
    assert isinstance(choose(Console(force_terminal=False)), LineView)

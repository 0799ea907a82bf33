"""The committed schematics are what the script draws, and agree with firmware and page."""

import math
import re
from pathlib import Path

import pytest

from tools import draw_wiring

PAGE = (draw_wiring.ROOT / "docs" / "wiring.md").read_text(encoding="utf-8")
# In the bill of materials beside what the drawings name with a number.
PART = re.compile(r"\b(?:R[1-9b]|C[1-9]|D[1-9]|Q1|LED1)\b")


def words(svg: bytes) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", svg.decode()).split())


@pytest.mark.parametrize("name", draw_wiring.DRAWINGS)
def test_the_committed_drawing_is_what_make_wiring_draws(name: str) -> None:
    committed = (draw_wiring.PICTURES / name).read_bytes()
    assert committed == draw_wiring.draw(name), "run `make wiring` and look at the pictures"


@pytest.mark.parametrize("name", draw_wiring.DRAWINGS)
def test_the_page_shows_every_drawing(name: str) -> None:
    assert f"](pictures/{name})" in PAGE


def test_every_part_that_is_drawn_is_in_the_bill_of_materials() -> None:
    drawn = {
        part
        for name in draw_wiring.DRAWINGS
        for part in PART.findall(words(draw_wiring.draw(name)))
    }
    bill = PAGE[PAGE.index("## Bill of materials") :].split("\n## ")[0]
    assert drawn == set(PART.findall(bill))
    assert {"R1", "R2", "Rb", "C1", "D1", "Q1", "LED1"} <= drawn


def test_drawing_and_page_name_the_pins_that_the_firmware_reads() -> None:
    drawn = words(draw_wiring.draw("wiring-pins.svg"))
    for chip, pins in draw_wiring.pins_of_chips().items():
        clamps = ", ".join(map(str, pins.clamps))
        assert f"| {chip} | {pins.voltage} | {clamps} | {pins.relay} | {pins.led} |" in PAGE
        for pin in (pins.voltage, *pins.clamps, pins.relay, pins.led):
            assert f"GPIO{pin} " in f"{drawn} "


def test_pins_are_read_from_the_board_page(tmp_path: Path) -> None:
    board = tmp_path / "board.py"
    board.write_text('WIRING = (("ESP32C3", (0, 1), 10, 8), ("ESP32", (36, 39, 34), 26, 2))\n')
    assert draw_wiring.pins_of_chips(board) == {
        "ESP32": draw_wiring.Pins(36, (39, 34), 26, 2),
        "ESP32-C3": draw_wiring.Pins(0, (1,), 10, 8),
    }
    board.write_text("OTHER = 1\n")
    with pytest.raises(ValueError, match="no WIRING"):
        draw_wiring.pins_of_chips(board)


@pytest.mark.parametrize(("rating_a", "ohm"), [(40, 43), (63, 27), (100, 18)])
def test_the_burden_is_the_largest_that_keeps_the_peak_inside_the_converter(
    rating_a: float, ohm: int
) -> None:
    assert draw_wiring.burden_ohm(rating_a) == ohm
    peak_v = math.sqrt(2) * rating_a / draw_wiring.CLAMP_TURNS * ohm
    assert draw_wiring.BIAS_V + draw_wiring.BIAS_MARGIN_V + peak_v <= draw_wiring.ADC_TOP_V
    assert f"| {rating_a} A | {ohm} Ω |" in PAGE


def test_a_clamp_of_one_volt_is_rated_for_what_the_converter_can_take() -> None:
    assert 25 < draw_wiring.largest_rms_v() * 30 < 30


def test_drawing_again_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw_wiring.main([str(tmp_path)]) == 0
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {name: draw_wiring.draw(name) for name in draw_wiring.DRAWINGS}

"""Draw the schematics of docs/wiring.md as SVG."""

import ast
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemdraw import elements as elm

from tools.schematic import BLUE, GREY, PALE, RED, Clamp, Point, Sheet

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
BOARD = ROOT / "firmware_esp32" / "board.py"

NAMES = {"ESP32": "ESP32", "ESP32S3": "ESP32-S3", "ESP32C3": "ESP32-C3"}

# The analog design; docs/wiring.md shows the same arithmetic.
BIAS_V = 1.65
ADC_TOP_V = 3.0  # above it an ESP32's ADC reads its highest code
BIAS_MARGIN_V = 0.05  # 1 % resistors and a 3.3 V rail that is off by 2 %
CLAMP_TURNS = 2000  # SCT-013-000: 100 A : 50 mA
E24 = (10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82)


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins of one chip: voltage, clamps in the order of their channels, relay, LED."""

    voltage: int
    clamps: tuple[int, ...]
    relay: int
    led: int


def pins_of_chips(board: Path = BOARD) -> dict[str, Pins]:
    """Read the pins from the firmware's board page, so that drawing and firmware agree.

    Raise ValueError when the page no longer holds them as a literal named WIRING.
    """
    for node in ast.parse(board.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WIRING":
            rows = ast.literal_eval(node.value)
            return {
                NAMES[chip]: Pins(inputs[0], tuple(inputs[1:]), relay, led)
                for chip, inputs, relay, led in sorted(
                    rows, key=lambda row: list(NAMES).index(row[0])
                )
            }
    msg = f"{board}: no WIRING; tools/draw_wiring.py reads the pins there"
    raise ValueError(msg)


def largest_rms_v() -> float:
    """Return the largest sine, in V RMS, that stays inside the ADC's range around the bias."""
    return (ADC_TOP_V - BIAS_V - BIAS_MARGIN_V) / math.sqrt(2)


def burden_ohm(rating_a: float) -> int:
    """Return the largest E24 resistor with which an SCT-013-000 reaches `rating_a` unclipped."""
    exact = largest_rms_v() * CLAMP_TURNS / rating_a
    return max(value for value in E24 if value <= exact)


def mains() -> Sheet:
    """Draw where clamps and voltage tap sit in a single-phase house with a solar roof."""
    d = Sheet()
    top, bottom = 0.0, -8.0
    d.wire((0, top), (1.2, top))
    d.part(elm.Breaker(), (1.2, top), (2.6, top), "main switch")
    d.wire((2.6, top), (3.4, top))
    d.part(Clamp(), (3.4, top), (4.8, top))
    d.wire((4.8, top), (18.6, top))
    d.wire((0, bottom), (18.6, bottom), color=BLUE)
    d.text((-0.2, top), "L", align="right", size=14)
    d.text((-0.2, bottom), "N", align="right", size=14, color=BLUE)
    d.text((-0.2, -4), "grid", align="right", size=14)
    d.text((4.1, 1.35), "clamp 1: channel grid", align="center", color=RED)
    d.text((4.1, 0.85), "arrow into the house", align="center", color=RED)
    branches: tuple[tuple[float, str, str, bool], ...] = (
        (11.9, "clamp 2: channel load1", "arrow to the load", False),
        (17.4, "clamp 3: channel solar", "arrow to the busbar", True),
    )
    for x, name, arrow, backwards in branches:
        d.dot((x, top))
        d.part(elm.Breaker(), (x, top), (x, -1.8))
        d.part(Clamp(backwards=backwards), (x, -2.2), (x, -3.6))
        d.wire((x, -1.8), (x, -2.2))
        d.wire((x, -3.6), (x, -5.0))
        d.wire((x, -6.6), (x, bottom), color=BLUE)
        d.dot((x, bottom), BLUE)
        d.text((x - 0.7, -2.7), name, align="right", color=RED)
        d.text((x - 0.7, -3.15), arrow, align="right", color=RED)
    d.box((10.7, -6.6), (2.4, 1.6), ["load"])
    d.box((16.2, -6.6), (2.4, 1.6), ["solar", "inverter"])
    _tap(d, top, bottom)
    return d


def _tap(d: Sheet, top: float, bottom: float) -> None:
    """Draw the voltage tap, its breaker and the meter that it leads to."""
    d.dot((7.0, top))
    d.part(elm.Breaker(), (7.0, top), (7.0, -1.8), "2 to 6 A", "bottom")
    d.wire((7.0, -1.8), (7.0, -3.2))
    d.box((5.8, -4.8), (2.4, 1.6), ["ZMPT101B", "isolates"], PALE)
    d.wire((7.0, -4.8), (7.0, bottom), color=BLUE)
    d.dot((7.0, bottom), BLUE)
    d.box((1.6, -4.8), (2.8, 1.6), ["meter", "(ESP32)"])
    d.wire((5.8, -4.0), (4.4, -4.0), color=GREY)
    d.wire((4.1, -0.42), (4.1, -3.2), color=GREY, dashed=True)
    d.text((3.0, -5.2), "3.3 V side only:", align="center", size=10, color=GREY)
    d.text((3.0, -5.6), "all clamp leads end here", align="center", size=10, color=GREY)
    d.text((7.3, -5.4), "same phase", size=10, color=GREY)
    d.text((7.3, -5.8), "as the clamps", size=10, color=GREY)


def adc_input(d: Sheet, at: Point, pin: str, parts: Sequence[str], *, to_bias: bool) -> None:
    """Draw what stands before every ADC pin: series resistor, Schottky pair, capacitor."""
    resistor, diodes, capacitor = parts
    x, y = at
    d.part(elm.Resistor(), (x, y), (x + 2.4, y), resistor)
    d.wire((x + 2.4, y), (x + 6.2, y))
    d.dot((x + 3.2, y))
    d.part(elm.Schottky(), (x + 3.2, y), (x + 3.2, y + 1.5))
    d.supply((x + 3.2, y + 1.5), "3.3 V")
    d.part(elm.Schottky(), (x + 3.2, y - 1.5), (x + 3.2, y))
    d.ground((x + 3.2, y - 1.5))
    d.text((x + 3.6, y + 0.85), diodes)
    d.dot((x + 4.9, y))
    d.part(elm.Capacitor(), (x + 4.9, y), (x + 4.9, y - 1.5))
    d.text((x + 5.35, y - 0.75), capacitor)
    if to_bias:
        d.tag((x + 4.9, y - 1.5), "VB", 1.3)
    else:
        d.ground((x + 4.9, y - 1.5))
    d.tag((x + 6.2, y), pin, 3.0)


CLAMP_PARTS = ("R3  1 kΩ", "D1  BAT54S", "C3  10 nF")


def _bias(d: Sheet) -> None:
    """Draw the divider that lifts the clamps to half of the supply."""
    d.text((0, 2.6), "Bias, once for all clamps", size=13)
    d.supply((1, 1.6), "3.3 V")
    d.part(elm.Resistor(), (1, 1.6), (1, -0.2), "R1  10 kΩ", "bottom")
    d.part(elm.Resistor(), (1, -0.2), (1, -2.0), "R2  10 kΩ", "bottom")
    d.ground((1, -2.0))
    d.wire((1, -0.2), (9, -0.2))
    d.dot((1, -0.2))
    for x, label in ((3.6, "C1  10 µF"), (6.4, "C2  100 nF")):
        d.dot((x, -0.2))
        d.part(elm.Capacitor(), (x, -0.2), (x, -2.0), label, "bottom")
        d.ground((x, -2.0))
    d.tag((9, -0.2), "VB  1.65 V", 2.4)


def _clamp_input(d: Sheet, y: float, title: str, outside: str | None) -> None:
    """Draw one clamp with its burden inside or outside, and its ADC input."""
    d.text((0, y + 2.6), title, size=13)
    d.box((0, y - 1.9), (3.8, 2.2), [], PALE)
    d.part(elm.Inductor2(loops=4), (0.9, y - 1.6), (0.9, y))
    d.wire((0.9, y), (5.6, y))
    d.wire((0.9, y - 1.6), (4.6, y - 1.6))
    d.text((0.1, y + 0.65), "clamp, jack of 3.5 mm", size=10, color=GREY)
    x = 2.2 if outside is None else 4.4
    d.dot((x, y))
    d.dot((x, y - 1.6))
    d.part(elm.Resistor(), (x, y), (x, y - 1.6))
    if outside is None:
        d.text((x + 0.3, y - 0.8), "burden", size=10)
    else:
        d.text((x + 0.3, y - 0.8), outside)
    d.wire((4.4, y - 1.6), (4.8, y - 1.6))
    d.tag((4.8, y - 1.6), "VB", 1.3)


def clamps() -> Sheet:
    """Draw the bias and one input for each kind of clamp."""
    d = Sheet()
    _bias(d)
    _clamp_input(d, -6.4, "SCT-013-030 (1 V at 30 A): the burden is inside", None)
    adc_input(d, (5.6, -6.4), "ADC1, clamp k", CLAMP_PARTS, to_bias=True)
    rating = 63
    title = f"SCT-013-000 (50 mA at 100 A), here for {rating} A: never open under load"
    _clamp_input(d, -12.4, title, f"Rb  {burden_ohm(rating)} Ω")
    adc_input(d, (6.4, -12.4), "ADC1, clamp k", CLAMP_PARTS, to_bias=True)
    d.wire((5.6, -12.4), (6.4, -12.4))
    return d


def _module(d: Sheet, y: float, supply: str, trim: str) -> None:
    """Draw the voltage module with its supply, from L and N to OUT."""
    d.box((1.6, y - 1.4), (3.4, 2.2), ["ZMPT101B", "module", trim], PALE)
    d.wire((0.4, y + 0.2), (1.6, y + 0.2))
    d.wire((0.4, y - 0.8), (1.6, y - 0.8), color=BLUE)
    d.text((0.2, y + 0.2), "L", align="right", size=13)
    d.text((0.2, y - 0.8), "N", align="right", size=13, color=BLUE)
    d.wire((4.2, y + 0.8), (4.2, y + 1.1))
    d.supply((4.2, y + 1.1), supply)
    d.wire((4.2, y - 1.4), (4.2, y - 1.7))
    d.ground((4.2, y - 1.7))
    d.text((5.1, y + 0.3), "OUT", size=10, color=GREY)


def voltage() -> Sheet:
    """Draw both ways to connect the voltage module."""
    d = Sheet()
    d.text((0, 2.6), "A  Module with a rail-to-rail amplifier (MCP6002), on 3.3 V", size=13)
    _module(d, 0, "3.3 V", "0.75 V at 230 V")
    d.wire((5.0, 0), (6.4, 0))
    parts = ("R4  1 kΩ", "D2  BAT54S", "C4  10 nF")
    adc_input(d, (6.4, 0), "ADC1, voltage", parts, to_bias=False)
    y = -6.2
    d.text((0, y + 2.6), "B  Module as it comes (LM358), on 5 V with a divider", size=13)
    _module(d, y, "5 V", "0.50 V at 230 V")
    d.wire((5.0, y), (6.2, y))
    d.part(elm.Resistor(), (6.2, y), (8.4, y), "R5  10 kΩ")
    d.dot((8.6, y))
    d.wire((8.4, y), (9.4, y))
    d.part(elm.Resistor(), (8.6, y), (8.6, y - 1.8), "R6  20 kΩ", "bottom")
    d.ground((8.6, y - 1.8))
    parts = ("R4  1 kΩ", "D2  BAT54S", "C4  1 nF")
    adc_input(d, (9.4, y), "ADC1, voltage", parts, to_bias=False)
    return d


def _chip(d: Sheet, name: str, pins: Pins, x: float) -> None:
    """Draw one chip with the pins the firmware reads and drives."""
    d.box((x, 0), (3.6, 6.2), [], PALE)
    d.text((x + 1.8, 6.7), name, 14, "center")
    d.text((x - 0.6, 5.6), "voltage", align="right")
    for k, pin in enumerate((pins.voltage, *pins.clamps)):
        y = 5.6 - 0.8 * k
        d.wire((x - 0.5, y), (x, y))
        d.text((x + 0.15, y), f"GPIO{pin}")
        if k > 0:
            d.text((x - 0.6, y), f"clamp {k}", align="right")
    outputs = ((f"GPIO{pins.relay}", "relay"), (f"GPIO{pins.led}", "LED"), ("5V", "relay coil"))
    for k, (pad, label) in enumerate((*outputs, ("3V3", "3.3 V"), ("GND", "ground"))):
        y = 5.6 - 1.2 * k
        d.wire((x + 3.6, y), (x + 4.1, y))
        d.text((x + 4.2, y), label)
        d.text((x + 3.45, y), pad, align="right")


def pins() -> Sheet:
    """Draw which pin does what on each chip."""
    d = Sheet()
    for number, (name, chip) in enumerate(pins_of_chips().items()):
        _chip(d, name, chip, 8.6 * number)
    return d


def outputs() -> Sheet:
    """Draw the relay's driver and the LED."""
    d = Sheet()
    d.tag((0, 0), "relay", 1.6, leftwards=True)
    d.part(elm.Resistor(), (0, 0), (2.4, 0), "R7  1 kΩ")
    transistor = elm.BjtNpn().theta(0).at((3.6, 0)).anchor("base")
    d.add(transistor)
    d.wire((2.4, 0), (3.6, 0))
    d.dot((2.8, 0))
    d.part(elm.Resistor(), (2.8, 0), (2.8, -2.2), "R8  10 kΩ")
    d.ground((2.8, -2.2))
    (ex, ey), (cx, cy) = transistor.emitter, transistor.collector
    d.wire((ex, ey), (ex, -2.2))
    d.ground((ex, -2.2))
    d.text((ex + 0.3, 0), "Q1  BC337")
    coil, supply = cy + 0.5, cy + 2.5
    d.wire((cx, cy), (cx, coil))
    d.part(elm.Inductor2(loops=4), (cx, coil), (cx, supply))
    d.text((cx - 0.8, (coil + supply) / 2), "relay coil", align="right")
    d.wire((cx, coil), (cx + 1.8, coil))
    d.wire((cx, supply), (cx + 1.8, supply))
    d.part(elm.Diode(), (cx + 1.8, coil), (cx + 1.8, supply))
    d.text((cx + 2.3, (coil + supply) / 2), "D3  1N4148")
    for at in ((cx, coil), (cx, supply)):
        d.dot(at)
    d.supply((cx, supply), "5 V")
    d.tag((11, 0), "LED", 1.6, leftwards=True)
    d.part(elm.Resistor(), (11, 0), (13.4, 0), "R9  1 kΩ")
    d.wire((13.4, 0), (13.8, 0), (13.8, -0.2))
    d.part(elm.LED(), (13.8, -0.2), (13.8, -2.2), "LED1", "bottom")
    d.ground((13.8, -2.2))
    return d


DRAWINGS: dict[str, Callable[[], Sheet]] = {
    "wiring-mains.svg": mains,
    "wiring-clamps.svg": clamps,
    "wiring-voltage.svg": voltage,
    "wiring-pins.svg": pins,
    "wiring-outputs.svg": outputs,
}


def draw(name: str) -> bytes:
    """Return one drawing as SVG; the same bytes each time."""
    return DRAWINGS[name]().drawing.get_imagedata("svg") + b"\n"


def main(arguments: Sequence[str]) -> int:
    """Write all drawings into the folder given, by default docs/pictures."""
    folder = Path(arguments[0]) if arguments else PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for name in DRAWINGS:
        (folder / name).write_bytes(draw(name))
        print(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The ESP32's board page against stand-ins of its modules, and the table it learns."""

import asyncio
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import app
import linear
import numpy as np
import pytest
from linear import Pairs

from simulation.analog import CODES, SCALE_V, Converter
from simulation.noise import Floats

TO_TABLE = 65536 / 3_100_000  # per µV


class Pin:
    OUT = 3
    made: ClassVar[dict[int, "Pin"]] = {}

    def __init__(self, number: int, _mode: int = 1, *, value: int = 0) -> None:
        self.number = number
        self.level = value
        self.made[number] = self

    def value(self, level: int) -> None:
        self.level = level


class Adc:
    """An ADC whose input is a mains wave; µV are those of the chip's own calibration."""

    ATTN_11DB = 3
    swing_v = 1.06

    def __init__(self, pin: Pin, *, atten: int) -> None:
        assert atten == self.ATTN_11DB
        self.pin = pin
        self.converter = Converter(np.random.default_rng(12))
        self.swing(self.swing_v)

    def swing(self, volts: float) -> None:
        t_s = np.arange(60_000) * 37e-6
        wave = 1.65 + volts * np.sin(2 * np.pi * 50 * t_s)
        codes: list[int] = self.converter.convert(wave, np.random.default_rng(13)).tolist()
        self.codes = iter(codes)

    def read_u16(self) -> int:
        return next(self.codes)

    def read_uv(self) -> int:
        believed = float(self.converter.linear[self.read_u16() >> 4]) / TO_TABLE
        return round(believed / 1000) * 1000  # whole mV, as the chip's library gives


class Wlan:
    PM_NONE = 0

    def __init__(self, _interface: int) -> None:
        self.polls = 0
        self.joined: str | None = None

    def active(self, _on: object) -> bool:
        return True

    def config(self, **_settings: object) -> None: ...

    def connect(self, ssid: str, key: str) -> None:
        if ssid == "broken":
            raise OSError
        self.joined = ssid if key == "right" else None

    def disconnect(self) -> None:
        self.joined = None

    def isconnected(self) -> bool:
        self.polls += 1
        return self.joined is not None and self.polls > 3

    def status(self, _what: str) -> int:
        return -61


@pytest.fixture
def board_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Give the module, imported on a pretended ESP32."""
    fed: list[int] = []
    machine = SimpleNamespace(
        Pin=Pin,
        ADC=Adc,
        WDT=lambda timeout: SimpleNamespace(feed=lambda: fed.append(timeout)),
        reset_cause=lambda: 3,
        unique_id=lambda: b"\x24\x0a",
        fed=fed,
    )
    monkeypatch.setitem(sys.modules, "machine", machine)
    network = SimpleNamespace(WLAN=Wlan, STA_IF=0)
    monkeypatch.setitem(sys.modules, "network", network)
    monkeypatch.delitem(sys.modules, "board", raising=False)
    page = importlib.import_module("board")
    uname = SimpleNamespace(machine="Generic ESP32 module with ESP32")
    monkeypatch.setattr(page, "os", SimpleNamespace(uname=lambda: uname))
    # CPython would search all of the test run's objects.
    monkeypatch.setattr(page, "gc", SimpleNamespace(collect=lambda: None))
    yield page
    sys.modules.pop("board", None)


def test_pins_by_chip(board_page: ModuleType) -> None:
    used = []
    for chip, clamps in (("ESP32", 5), ("ESP32S3", 6), ("ESP32C3", 3)):
        inputs, relay, lamp = board_page.wiring(f"Generic module with {chip}")
        assert len(inputs) == 1 + clamps
        assert len({*inputs, relay, lamp}) == 3 + clamps, "no pin is used twice"
        used.append(inputs)
    assert set(used[0]) <= {32, 33, 34, 35, 36, 39}, "ADC1 of the ESP32"
    assert set(used[1]) <= set(range(1, 11))
    assert set(used[2]) <= set(range(5))
    with pytest.raises(ValueError, match="RP2040"):
        board_page.wiring("Raspberry Pi Pico with RP2040")
    with pytest.raises(ValueError, match="1 to 5"):
        board_page.Board(6)


def test_the_page_reads_switches_and_learns(board_page: ModuleType) -> None:
    board = board_page.Board(2)
    assert board.calibrated
    ticks, *reads = board.readers()
    assert len(reads) == 3
    assert isinstance(ticks(), int)
    assert all(0 < read() < 65536 for read in reads)
    board.relay(on=True)
    board.identify(on=True)
    board.identify(on=False)
    assert (Pin.made[26].level, Pin.made[2].level) == (1, 0)
    board.feed()
    board.feed()
    assert board_page.machine.fed == [20_000, 20_000]
    assert board.chip().endswith("ESP32 240a watchdog")
    first = board.up_ms()
    assert 0 <= first <= board.up_ms()


@pytest.mark.usefixtures("board_page")
def test_too_many_clamps_end_at_a_quiet_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rests: list[float] = []
    monkeypatch.setattr("app.time.sleep", rests.append)
    names = [f"load{number}" for number in range(1, 7)]
    mqtt = {"host": "127.0.0.1"}
    settings = {"meter": "kitchen", "channels": names, "mqtt": mqtt}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    app.main(str(tmp_path))  # ends, so that the board is reset, but not at once
    assert rests == [app.UNPROVISIONED_S]
    assert "clamps: 1 to 5 on this chip" in capsys.readouterr().out


async def test_wifi_joins_refuses_and_survives_a_busy_driver(
    board_page: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_page.Board(1)
    assert board.rssi() is None
    assert await board.wifi("home", "right")
    assert board.rssi() == -61
    monkeypatch.setattr(board_page, "WIFI_MS", 250)
    began = asyncio.get_running_loop().time()
    assert not await board.wifi("home", "wrong")
    assert asyncio.get_running_loop().time() - began < 2
    assert not await board.wifi("broken", "right")


def test_no_mains_at_boot_keeps_the_straight_line_until_they_are_back(
    board_page: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Adc, "swing_v", 0.0)
    board = board_page.Board(1)
    assert not board.calibrated
    assert board.linear == linear.straight()
    mains = Adc(Pin(36), atten=3)
    mains.swing(1.06)
    monkeypatch.setattr(Adc, "read_u16", lambda _self: next(mains.codes))
    for _ in range(399):
        board.open(500)
    assert not board.calibrated, "it takes half a second: not with every burst"
    board.open(500)
    assert board.calibrated
    assert board.linear != linear.straight()


def learnt(converter: Converter, wave: Floats, random: np.random.Generator) -> Floats | None:
    """Return the table made of a wave read in turn raw, in mV and raw."""
    codes = (converter.convert(wave, random) >> 4).astype(int)
    pairs = Pairs()
    for before, middle, after in codes[: len(codes) // 3 * 3].reshape(-1, 3).tolist():
        mv = round(float(converter.linear[middle]) / TO_TABLE / 1000)
        pairs.add(before, mv * 1000, after)
    table = linear.table(pairs.points())
    if table is None:
        return None
    assert len(table) == linear.KNOTS
    return np.interp(np.arange(CODES), np.arange(0, CODES + 1, linear.STEP), table)


@pytest.mark.parametrize("hz", [50.0, 60.0])
def test_table_follows_the_fuses_over_the_swing_and_beyond(hz: float) -> None:
    for seed in range(8):
        random = np.random.default_rng(seed)
        converter = Converter(random)
        t_s = np.arange(18_000) * 40e-6
        table = learnt(converter, 1.65 + 1.06 * np.sin(2 * np.pi * hz * t_s), random)
        assert table is not None
        assert (np.diff(table) >= 0).all()
        error_mv = (table - converter.linear) / 65536 * SCALE_V * 1000
        swing = slice(*np.searchsorted(converter.linear, [0.65e6 * TO_TABLE, 2.65e6 * TO_TABLE]))
        assert np.abs(error_mv[swing]).max() < 1.5, "against 8 mV that the fuses leave"
        assert np.abs(error_mv[20:-20]).max() < 20, "beyond the swing the bend goes on"


def test_too_little_swing_or_noise_alone_makes_no_table() -> None:
    random = np.random.default_rng(1)
    converter = Converter(random)
    assert learnt(converter, np.full(9000, 1.65), random) is None
    small = 1.65 + 0.1 * np.sin(np.arange(9000) * 0.0126)
    assert learnt(converter, small, random) is None
    assert linear.table([]) is None
    falling = [(64.0 * k, 2e6 - 1e5 * k) for k in range(20)]
    assert linear.table(falling) is None
    assert linear.straight()[255] == 4080 * 16

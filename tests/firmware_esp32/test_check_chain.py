"""The self-check behind the real sampler and power maths, on simulated boards with faults."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import linear
import pytest
import tables
from check import Check
from model import default
from power import PowerMeter, Window

from simulation.chain import Chain
from simulation.sources import Faults, FaultySource, Load, SteadySource, Wire

CHANNELS = ["grid", "load1"]
LOADS = ((Load(600.0), Load(1500.0)), (Load(1500.0),))
GAP_S = 0.008  # between bursts


class ChainBoard:
    """A board whose converter is the simulated chain, as fast as it computes."""

    def __init__(self, chain: Chain, source: FaultySource) -> None:
        self.chain, self.source = chain, source
        self.clamps, self.frame_us, self.read_us = chain.clamps, chain.frame_us, chain.read_us
        self.linear = linear.knots(chain.linear.tolist())
        self._at_s = 0.0
        self._columns: list[list[int]] = []

    def open(self, frames: int) -> None:
        ticks, codes = self.chain.codes(self.source, self._at_s, frames)
        self._at_s += frames * self.frame_us / 1e6 + GAP_S
        self._columns = [ticks.tolist(), *codes.reshape(frames, -1).T.tolist()]

    def readers(self) -> tuple[Callable[[], int], ...]:
        return tuple(iter(column).__next__ for column in self._columns)

    async def pace(self) -> None:
        return

    def up_ms(self) -> int:
        return int(self._at_s * 1000)


async def measured(seed: int, change: Callable[[ChainBoard], Any], count: int) -> list[Window]:
    """Return some windows of a board with nominal calibration."""
    board = ChainBoard(Chain(seed, 2), FaultySource(SteadySource(Wire(), *LOADS)))
    change(board)
    whole: Any = board  # measuring asks nothing more of a board
    meter = PowerMeter(whole, tables.nominal(CHANNELS))
    return [await meter.window() for _ in range(count)]


def judged(*parts: tuple[Sequence[Window], int]) -> list[dict[str, Any]]:
    """Return the events over parts (windows, seconds); few windows stand for many."""
    told: list[dict[str, Any]] = []
    check = Check(CHANNELS, default(230.0, 50.0), told.append)
    up_ms = 0
    for windows, seconds in parts:
        for window in itertools.islice(itertools.cycle(windows), seconds):
            up_ms += 1000
            window.up_ms, window.dt_ms = up_ms, 1000
            z = check.window(window)
            assert all(0 <= score < 10 for score in z)
    return told


def nothing(_board: ChainBoard) -> None:
    return


def opened(board: ChainBoard) -> None:
    board.chain.open_clamps.add(0)


def frozen(board: ChainBoard) -> None:
    board.chain.frozen = True


def dark(board: ChainBoard) -> None:
    board.source.faults = Faults(outage=True)


def turned(board: ChainBoard) -> None:
    board.source.faults = Faults().on(1, -1.0)


def overloaded(board: ChainBoard) -> None:
    board.source.faults = Faults().on(0, 8.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_healthy_boards_and_outages_are_left_alone(seed: int) -> None:
    """Uncalibrated boards with their noise, spikes and drift: no event over two hours."""
    healthy = await measured(seed, nothing, 8)
    outage = await measured(seed, dark, 4)
    assert outage[-1].v == 0.0
    assert not judged((healthy, 3600), (outage, 1800), (healthy, 1800))


@pytest.mark.parametrize(
    ("change", "kind", "what", "channel", "within_s"),
    [
        (opened, "anomaly", "open_clamp", "grid", 610),
        (frozen, "anomaly", "frozen_adc", None, 20),
        (turned, "anomaly", "reversed_clamp", "load1", 130),
        (overloaded, "clip", "clip", "grid", 5),
    ],
)
async def test_each_fault_of_a_board_is_told_in_time(
    change: Callable[[ChainBoard], Any], kind: str, what: str, channel: str | None, within_s: int
) -> None:
    healthy = await measured(2, nothing, 4)
    faulty = await measured(2, change, 4)
    told = judged((healthy, 300), (faulty, within_s))
    assert [(e["kind"], e["what"], e.get("channel")) for e in told] == [(kind, what, channel)]
    assert told[0]["up"] > 300_000

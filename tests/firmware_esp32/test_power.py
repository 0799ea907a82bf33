"""Windows: what is measured, and that 32-bit floats measure the same."""

import math
from collections.abc import Iterator

import collector
import curves
import moments
import power
import pytest
import wire
from curves import Calibration, Channel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from power import PowerMeter, Window
from sampler import FRAMES, Sampler

from calibration.sums import parse
from tests.support import float32
from tests.support.float32 import Single
from tests.support.synthetic import FormulaBoard, Wave

V_GAIN, A_GAIN = 0.25, 0.02
MAINS = 230 * math.sqrt(2) / V_GAIN  # codes


def flow(amperes: float, lag: float = 0.0, *, lead: float = 0.0) -> Wave:
    """Return a current of so many A RMS; its clamp leads by `lead`."""
    return Wave(amperes * math.sqrt(2) / A_GAIN, lag - lead)


def record(*phases: float, sign: int = 1, noise: float = 0.1) -> Calibration:
    """Return a calibration with one gain and a phase for each clamp."""
    channels = [
        Channel(f"c{k}", sign, noise, 0.0, 0.0, [(1.0, A_GAIN, phase)])
        for k, phase in enumerate(phases)
    ]
    return Calibration(3, V_GAIN, channels)


async def second(board: FormulaBoard, calibration: Calibration) -> Window:
    """Return a meter's second window."""
    meter = PowerMeter(board, calibration)
    await meter.window()
    return await meter.window()


async def test_active_and_reactive_power_of_each_clamp_in_its_own_time() -> None:
    angle = 1.0
    board = FormulaBoard(
        Wave(MAINS), flow(8.0), flow(8.0, angle), flow(8.0, -angle, lead=0.05), flow(3.0, math.pi)
    )
    window = await second(board, record(0.0, 0.0, 0.05, 0.0))
    assert window.v == pytest.approx(230.0, rel=5e-4)
    assert window.f == pytest.approx(50.0, abs=0.01)
    assert window.dt_ms == 1000
    assert window.up_ms == 2000
    assert window.i == pytest.approx([8.0, 8.0, 8.0, 3.0], rel=2e-3)
    expected = [1840.0, 1840 * math.cos(angle), 1840 * math.cos(angle), -690.0]
    assert window.p == pytest.approx(expected, abs=3.0)
    assert window.q == pytest.approx(
        [0.0, 1840 * math.sin(angle), -1840 * math.sin(angle), 0.0], abs=4.0
    )
    assert window.flags == 0
    assert not window.frozen


async def test_a_clamp_that_was_found_reversed_reads_forward() -> None:
    board = FormulaBoard(Wave(MAINS), flow(5.0, math.pi))
    window = await second(board, record(0.0, sign=-1))
    assert window.p[0] == pytest.approx(1150.0, rel=2e-3)
    assert window.i[0] == pytest.approx(5.0, rel=2e-3)


async def test_an_outage_is_measured_as_zero_and_still_counts_current() -> None:
    window = await second(FormulaBoard(Wave(3.0), flow(0.5)), record(0.0))
    assert (window.v, window.f) == (0.0, 0.0)
    assert window.p == [0.0]
    assert window.i[0] == pytest.approx(0.5, rel=0.05)


async def test_a_voltage_that_is_no_mains_has_no_frequency() -> None:
    window = await second(FormulaBoard(Wave(MAINS), flow(2.0), hz=25.0), record(0.0))
    assert window.f is None
    assert window.v == pytest.approx(230.0, rel=0.08)


async def test_what_noise_may_be_is_nothing() -> None:
    board = FormulaBoard(Wave(MAINS), Wave(0.0))
    seed = [1]

    def noisy(place: int, _frame: int, code: float) -> float:
        seed[0] = seed[0] * 1103515245 + 12345 & 0x7FFFFFFF
        return code + (seed[0] >> 16) % 9 - 4 if place else code

    board.alter = noisy
    window = await second(board, record(0.0, noise=20 / 3))
    assert (window.i, window.p, window.q, window.quiet) == ([0.0], [0.0], [0.0], [True])


async def test_current_is_never_less_than_power_needs() -> None:
    # Noise in the record far above the true one leaves nothing of the RMS.
    board = FormulaBoard(Wave(MAINS), flow(0.1))
    window = await second(board, record(0.0, noise=50.0))
    assert window.i[0] == pytest.approx(0.1, rel=0.05)
    assert window.i[0] * (window.v or 0.0) >= abs(window.p[0])


async def test_clipped_late_and_frozen_are_told() -> None:
    clipped = await second(FormulaBoard(Wave(MAINS), flow(50.0)), record(0.0))
    assert clipped.flags & wire.CLIP
    assert clipped.clipped[0] > 1000
    board = FormulaBoard(Wave(MAINS), flow(5.0))
    board.late_us = lambda frame: 150 if frame % 10 == 5 else 0
    assert (await second(board, record(0.0))).flags == wire.LATE
    board = FormulaBoard(Wave(MAINS), flow(5.0))
    board.alter = lambda _place, _frame, _code: 1234
    assert (await second(board, record(0.0))).frozen


async def test_a_meter_needs_a_calibration_of_its_own_clamps() -> None:
    with pytest.raises(ValueError, match="another number of clamps"):
        PowerMeter(FormulaBoard(Wave(MAINS), flow(1.0)), record(0.0, 0.0))


async def test_raw_sums_are_free_of_the_time_between_reads_and_read_by_the_fit() -> None:
    board = FormulaBoard(Wave(MAINS), flow(5.0), flow(5.0))
    meter = PowerMeter(board, record(0.0, 0.0))
    windows = [await meter.window() for _ in range(3)]
    sums = parse(collector.collect(windows, ["grid", "solar"], 3))
    assert sums.windows == 3
    assert sums.v_rms == pytest.approx(230 / V_GAIN, rel=5e-4)
    for channel in sums.channels.values():
        assert channel.rms == pytest.approx(250.0, rel=1e-3)
        assert channel.mean == pytest.approx(2048.0, abs=1.0)
        assert math.atan2(channel.q, channel.p) == pytest.approx(0.0, abs=1e-3)


async def test_bursts_are_folded_by_the_size_of_the_voltage() -> None:
    board = FormulaBoard(Wave(MAINS), flow(5.0), flow(2.5, math.pi))
    meter = PowerMeter(board, record(0.0, 0.0))
    average = collector.Average(2)
    meter.tap = average.tap
    for _ in range(3):
        average.add(await meter.window())
    sums = parse(average.data(["grid", "solar"], 3))
    assert len(sums.bend) == int(MAINS) // 256 + 1
    count = sum(row.count for row in sums.bend)
    assert count % FRAMES == 0
    assert 2.5 * 8 * FRAMES <= count <= 3 * 8 * FRAMES
    for n, row in enumerate(sums.bend):
        assert 256 * n <= row.v < 256 * (n + 1)
        assert row.i["grid"] == pytest.approx(row.v * 5.0 / A_GAIN / (230 / V_GAIN), abs=1.0)
        assert row.i["solar"] == pytest.approx(-row.i["grid"] / 2, abs=1.0)


def test_a_long_collection_keeps_its_sums_within_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    folded: list[int] = []
    monkeypatch.setattr(collector, "fold", lambda *args: folded.append(args[2]))
    sampler = Sampler(FormulaBoard(Wave(2040.0), flow(5.0)))
    sampler.burst()
    average = collector.Average(1)
    for _ in range(2100):
        average.tap(sampler)
    assert 900_000 < sum(folded) < 2**31 / 2047


async def test_windows_without_mains_are_not_collected() -> None:
    window = await second(FormulaBoard(Wave(0.0), flow(0.5)), record(0.0))
    assert collector.collect([window], ["grid"], 3)["windows"] == 0


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let the maths run in 32-bit floats when `narrow` is called."""
    yield monkeypatch
    monkeypatch.undo()


def narrow(patch: pytest.MonkeyPatch) -> None:
    for module in (moments, power):
        patch.setattr(module, "real", Single)
        for name in ("sin", "cos", "sqrt"):
            patch.setattr(module, name, getattr(float32, name))
    patch.setattr(moments, "pi", float32.pi)
    patch.setattr(curves, "log", float32.log)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    amperes=st.floats(0.1, 20.0), lag=st.floats(-1.2, 1.2), hz=st.sampled_from([49.93, 50.0, 60.07])
)
async def test_floats_of_32_bits_measure_the_same(
    single: pytest.MonkeyPatch, amperes: float, lag: float, hz: float
) -> None:
    def board() -> FormulaBoard:
        return FormulaBoard(Wave(MAINS), flow(amperes, lag), flow(amperes, -lag), hz=hz)

    exact = await second(board(), record(0.02, 0.03))
    with single.context() as patch:
        narrow(patch)
        coarse = await second(board(), record(Single(0.02), Single(0.03), noise=Single(0.1)))
    assert isinstance(coarse.p[0], Single)  # nothing slipped back to 64 bits
    apparent = 230 * amperes
    assert coarse.v == pytest.approx(exact.v, rel=2e-6)
    assert coarse.f == pytest.approx(exact.f, rel=2e-6)
    assert coarse.i == pytest.approx(exact.i, rel=1e-5)
    assert coarse.p == pytest.approx(exact.p, abs=apparent * 1e-5)
    assert coarse.q == pytest.approx(exact.q, abs=apparent * 2e-5)

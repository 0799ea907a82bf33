"""Shapes and the catalogue: what each kind of load must look like."""

import itertools

import numpy as np
import pytest

from simulation import appliances, shapes
from simulation.habits import DAY_S, Day, Habit, mean_c
from simulation.mains import Mains
from simulation.noise import normal_at, smooth, stream
from simulation.shapes import Shape

FLAT_SINE = Mains(harmonics={}).phasors()
HABITS = {
    appliance.name: appliance.habit
    for appliance in (
        appliances.kettle(),
        appliances.water_heater(),
        appliances.fridge(),
        appliances.workshop_compressor(),
        appliances.power_tools(),
        appliances.washing_machine(),
        appliances.dishwasher(),
        appliances.oven(),
        appliances.microwave(),
        appliances.induction_hob(),
        appliances.hair_dryer(),
        appliances.led_lights(),
        appliances.dimmed_lamp(),
        appliances.television_and_computers(),
        appliances.standby(),
        appliances.heat_pump(),
        appliances.ev_charger(),
    )
}


def factors(shape: Shape) -> tuple[float, float]:
    """Return power factor and total harmonic distortion on a clean sine."""
    phasors = shape.phasors(FLAT_SINE)
    total = float(np.sqrt((np.abs(phasors) ** 2).sum()))
    distortion = float(np.sqrt((np.abs(phasors[1:]) ** 2).sum()) / abs(phasors[0]))
    return float(phasors[0].real) / total, distortion


@pytest.mark.parametrize(
    ("shape", "power_factor", "distortion"),
    [
        (shapes.RESISTIVE, 1.0, 0.0),
        (shapes.DIMMED, 0.71, 0.65),  # textbook, 90 degree phase cut
        (shapes.HALF_WAVE, 0.917, 0.435),  # textbook, DC left out
        (shapes.COMPRESSOR, 0.69, 0.086),
        (shapes.LED_LAMP, 0.66, 1.1),
        (shapes.SWITCHED, 0.76, 0.86),
        (shapes.SWITCHED_PFC, 0.985, 0.086),
    ],
)
def test_power_factor_and_distortion(shape: Shape, power_factor: float, distortion: float) -> None:
    found = factors(shape)
    assert found[0] == pytest.approx(power_factor, abs=0.02)
    assert found[1] == pytest.approx(distortion, abs=0.03)


def test_switched_supplies_keep_class_d() -> None:
    """IEC 61000-3-2 class D in mA per watt at 230 V."""
    limits = {3: 3.4, 5: 1.9, 7: 1.0, 9: 0.5, 11: 0.35, **{n: 3.85 / n for n in range(13, 40, 2)}}
    phasors = shapes.SWITCHED.phasors(FLAT_SINE)
    for order, milliamperes in limits.items():
        assert abs(phasors[order - 1]) * 1000 / 230 <= milliamperes


def test_small_lamps_keep_class_c() -> None:
    """Up to 25 W: third at most 86 %, fifth 61 %."""
    phasors = np.abs(shapes.LED_LAMP.phasors(FLAT_SINE))
    assert phasors[2] / phasors[0] <= 0.86
    assert phasors[4] / phasors[0] <= 0.61


def test_a_rectifier_draws_its_pulse_before_the_peak() -> None:
    """All harmonics add up where the capacitor is charged."""
    angle = np.arange(3600) * (2 * np.pi / 3600)
    orders = np.arange(1, shapes.HIGHEST_ORDER + 1)
    phasors = shapes.SWITCHED.phasors(FLAT_SINE)
    current = (np.exp(1j * angle[:, None] * orders) @ phasors).imag
    assert np.rad2deg(angle[current.argmax()]) == pytest.approx(84, abs=1)
    crest = current.max() / np.sqrt((current**2).mean())
    assert 2.2 < crest < 3.5


def test_a_sampled_cycle_gives_its_harmonics_back() -> None:
    angle = np.arange(4096) * (2 * np.pi / 4096)
    shape = shapes.of_cycle(2 * np.sin(angle - 0.5) + 0.4 * np.sin(3 * angle + 1.0))
    assert shape.displacement_deg == pytest.approx(np.rad2deg(0.5))
    assert shape.harmonics is not None
    assert shape.harmonics[3] == pytest.approx((0.2, np.rad2deg(1.0)))


def test_a_linear_load_copies_the_voltage() -> None:
    voltage = Mains().phasors()
    assert np.array_equal(shapes.RESISTIVE.phasors(voltage), voltage)


@pytest.mark.parametrize("name", sorted(HABITS))
def test_plans_stay_in_the_day_and_do_not_overlap(name: str) -> None:
    """A hundred days of each habit; everything happens at least once."""
    habit: Habit = HABITS[name]
    seen = 0
    for number in range(20_000, 20_100):
        day = Day(number, mean_c(number, -0.5), [hour < 7 or hour > 19 for hour in range(24)])
        plan = habit.plan(stream(1, number), day)
        seen += len(plan)
        for part in {segment.part for segment in plan}:
            mine = sorted(segment for segment in plan if segment.part == part)
            assert mine[0].start_s >= 0
            assert mine[-1].end_s <= DAY_S
            assert all(a.end_s <= b.start_s + 1e-6 for a, b in itertools.pairwise(mine))
            assert all(segment.end_s > segment.start_s and segment.level > 0 for segment in mine)
    assert seen > 0


def test_a_fridge_cycles_and_starts_with_an_inrush() -> None:
    day = Day(20_000, 13.0, [False] * 24)
    plan = appliances.fridge().habit.plan(stream(3), day)
    runs = [s for s in plan if s.part == 0]
    starts = [s for s in plan if s.part == 1]
    assert 15 < len(runs) < 40
    assert len(starts) == len(runs)
    assert all(0.2 < s.end_s - s.start_s < 0.3 for s in starts)
    assert 0.2 < sum(s.end_s - s.start_s for s in runs) / DAY_S < 0.45


def test_the_heat_pump_follows_the_cold() -> None:
    mild, cold = (
        sum(
            (s.end_s - s.start_s) * s.level
            for s in appliances.heat_pump().habit.plan(
                stream(1), Day(20_000, celsius, [False] * 24)
            )
        )
        for celsius in (14.0, 0.0)
    )
    assert cold > 3 * mild > 0


def test_noise_is_normal_and_knows_its_place() -> None:
    index = np.arange(200_000)
    values = normal_at((5, 1), index)
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.std() == pytest.approx(1, abs=0.01)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01
    assert np.array_equal(normal_at((5, 1), index[1000:1010]), values[1000:1010])
    assert abs(np.corrcoef(values, normal_at((1, 5), index))[0, 1]) < 0.01
    slow = smooth((5, 1), index * 1000, 60_000)
    assert slow.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(slow)).max() < 0.2

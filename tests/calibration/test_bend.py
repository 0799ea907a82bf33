"""The converter's bend is found from the shape of resistive loads' currents."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.bend import BEND, SHAPE_LEFT, Bend, Shape, bend_of
from calibration.sums import BendRow, ChannelSums, RawSums

NOISE = 3.4
LEVEL = 1000.0  # codes RMS at 230 V
SHAPES = {"sine": (0.0, 0.0), "flat-topped": (0.03, -0.02)}


def bent(x: np.ndarray, third: float, fifth: float) -> np.ndarray:
    """Return what a converter makes of codes."""
    return x + third * (x / 1600) ** 3 + fifth * (x / 1600) ** 5


def wave(harmonics: tuple[float, float]) -> np.ndarray:
    """Return a cycle of the mains, RMS 1."""
    t = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    out = np.sin(t) + harmonics[0] * np.sin(3 * t) + harmonics[1] * np.sin(5 * t)
    return np.asarray(out / np.sqrt(np.mean(out**2)))


def sums(
    volts: np.ndarray, amps: np.ndarray, random: np.random.Generator, times: int = 6
) -> RawSums:
    """Return what the firmware folds of some cycles with noise."""
    v = np.tile(volts, times) + random.normal(0, NOISE, len(volts) * times)
    i = np.tile(amps, times) + random.normal(0, NOISE, len(amps) * times)
    row = np.minimum((np.abs(v) / 256).astype(int), 7)
    rows = []
    for n in range(row.max() + 1):
        own = row == n
        mean_i = float((np.sign(v) * i)[own].mean())
        rows.append(BendRow(int(own.sum()), float(np.abs(v)[own].mean()), {"grid": mean_i}))
    rms = float(np.sqrt(np.mean(i**2)))
    channels = {"grid": ChannelSums(rms, 2048.0, 0.0, 0.0, 0)}
    return RawSums(30, 50.0, float(np.sqrt(np.mean(v**2))), 2048.0, channels, tuple(rows))


def loads(third: float, fifth: float, *amps: float, shape: str = "sine") -> list[Shape]:
    random = np.random.default_rng(7)
    x = LEVEL * wave(SHAPES[shape])
    return [
        Shape(
            "grid",
            sums(bent(x, third, fifth), bent(x * a / 23.0, third, fifth), random),
            NOISE,
        )
        for a in amps
    ]


def true_slope(third: float, fifth: float, shape: str = "sine") -> float:
    def gain(level: float) -> float:
        x = LEVEL * level * wave(SHAPES[shape])
        return float(LEVEL * level / np.sqrt(np.mean(bent(x, third, fifth) ** 2)))

    return (gain(1.15) / gain(1.0) - gain(0.85) / gain(1.0)) / 0.3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("third", "fifth"), [(8.0, 0.0), (-6.0, 4.0), (10.0, -8.0)])
def test_it_is_found_whatever_shape_the_mains_has(third: float, fifth: float, shape: str) -> None:
    found = bend_of(loads(third, fifth, 1.0, 5.0, 20.0, shape=shape))
    assert found.slope == pytest.approx(true_slope(third, fifth, shape), abs=2 * found.doubt)
    assert found.doubt < BEND / 3


def test_a_straight_converter_is_found_straight() -> None:
    found = bend_of(loads(0.0, 0.0, 5.0, 10.0))
    assert abs(found.slope) < SHAPE_LEFT


def test_without_rows_or_large_loads_no_more_is_known_than_before() -> None:
    assert bend_of([]) == Bend()
    assert bend_of(loads(8.0, 0.0, 0.3, 1.0)) == Bend()
    old = [replace(load, sums=replace(load.sums, bend=())) for load in loads(8.0, 0.0, 5.0)]
    assert bend_of(old) == Bend()
    (large,) = loads(8.0, 0.0, 5.0)
    thin = tuple(replace(row, count=1) for row in large.sums.bend)
    assert bend_of([replace(large, sums=replace(large.sums, bend=thin))]) == Bend()


def test_a_load_with_electronics_is_not_believed() -> None:
    random = np.random.default_rng(3)
    x = LEVEL * wave((0.0, 0.0))
    peaked = x * (x / LEVEL) ** 2 / 10
    assert bend_of([Shape("grid", sums(x, peaked, random), NOISE)]) == Bend()

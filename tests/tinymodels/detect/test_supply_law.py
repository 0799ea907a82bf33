"""The supply's law: silent while it holds, loud for a bypass or a reversal, deaf to a stiff one."""

import msgspec
import numpy as np
import pytest

from tinymodels.detect.signals import INDEX, NAMES
from tinymodels.detect.specials import levels, specials
from tinymodels.detect.supply_law import MOST_SUM, SupplyLaw

FIVE_MIN_MS = 300_000
SLOPE = -2.0


def blocks(count: int, seed: int, *, share: float = 1.0, slope: float = SLOPE) -> np.ndarray:
    """Return sums of dP² and dP·dV of blocks with a step in each; `share` of power is seen."""
    rng = np.random.default_rng(seed)
    rise_kw = rng.uniform(0.5, 2.0, count)
    rise_v = slope * rise_kw + rng.normal(0, 1.5, count)
    seen_kw = share * rise_kw
    return np.column_stack((seen_kw**2, seen_kw * rise_v))


def feed(law: SupplyLaw, rows: np.ndarray) -> list[tuple[float, float, float]]:
    return [law.add(square, product, FIVE_MIN_MS) for square, product in rows.tolist()]


def learned(**options: float) -> SupplyLaw:
    law = SupplyLaw()
    feed(law, blocks(400, 1, **options))
    return law


def test_it_learns_the_slope_and_stays_silent() -> None:
    law = learned()
    assert law.slope() == pytest.approx(SLOPE, abs=0.15)
    told = np.array(feed(law, blocks(1500, 2)))
    assert told[:, 0].max() < 8
    assert told[:, 1].max() < 6


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_hidden_power_is_told_within_some_dozen_steps(share: float) -> None:
    law = learned()
    told = np.array(feed(law, blocks(150, 3, share=share)))
    assert int(np.argmax(told[:, 0] > 10)) in range(1, 150)
    assert told[:, 1].max() < 4


def test_a_reversed_clamp_is_told_within_a_few_steps() -> None:
    told = np.array(feed(learned(), blocks(12, 4, share=-1.0)))
    assert told[-1, 1] > 10


def test_sums_are_bounded_and_fall_again() -> None:
    law = learned()
    told = feed(law, blocks(300, 5, share=0.4))
    assert max(one for one, _, _ in told) == MOST_SUM
    assert feed(law, blocks(200, 6))[-1][0] < 4


def test_without_steps_or_on_a_stiff_supply_nothing_is_said() -> None:
    law = SupplyLaw()
    assert law.add(0.0, 0.0, FIVE_MIN_MS)[:2] == (0.0, 0.0)
    assert np.isnan(law.add(0.0, 0.0, FIVE_MIN_MS)[2])
    stiff = learned(slope=-0.05)
    told = np.array(feed(stiff, blocks(200, 7, slope=-0.05, share=0.4)))
    assert told[:, :2].max() == 0


def test_it_survives_a_snapshot() -> None:
    law = learned()
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(law), type=SupplyLaw)
    rows = blocks(50, 8, share=0.5)
    assert feed(law, rows) == feed(again, rows)


def test_the_least_of_four_hours_is_the_same_live_and_over_the_whole() -> None:
    """And unknown where the block two hours ago is missing."""
    rng = np.random.default_rng(9)
    starts = np.delete(FIVE_MIN_MS * np.arange(200), 60)
    values = np.zeros((199, len(NAMES)))
    values[:, INDEX["base"]] = rng.uniform(1, 4, 199)
    whole = specials(starts, values)
    live: list[np.ndarray] = []
    before: list[tuple[int, float]] = []
    for at_ms, row in zip(starts.tolist(), values, strict=True):
        live.append(specials(np.array([at_ms]), row[None], before)[0])
        before.append((at_ms, float(row[INDEX["base"]])))
    assert np.allclose(whole, live)
    assert (whole[:24, 2] == 0).all()
    assert whole[83, 2] == 0
    expected = 50 * np.sinh(min(values[150, INDEX["base"]], values[126, INDEX["base"]]))
    assert whole[150, 2] == pytest.approx(expected)


def test_levels_lie_above_the_past_and_never_too_low() -> None:
    starts = FIVE_MIN_MS * np.arange(1000)
    found = np.zeros((1000, 3))
    found[500] = (12.0, 1.0, 2000.0)
    hidden, turned, base_w = levels(starts, found)
    assert hidden == pytest.approx(15.6)
    assert turned == 4.0
    assert base_w == pytest.approx(2100)

"""The bench of calibrations: its figures, and one board through it."""

from dataclasses import replace

import pytest

from bench import calibration_direct as direct
from bench.calibration import JUDGED, NOISE, Seen, figures, limits, measured
from calibration.uncertainty import Expanded


def seen(off_pct: float, stated: float) -> list[Seen]:
    """Return every load as often as it is measured, each as far off as the others."""
    left = Expanded(stated, stated, stated)
    return [
        Seen(case, off_pct, off_pct, off_pct, 0.001, 230.0, 1.0, 1.0, left) for case in measured()
    ]


def test_figures_are_of_errors_and_of_what_is_stated() -> None:
    good = figures(seen(0.1, 0.0011))
    assert good["voltage_p95_pct"] == pytest.approx(0.1)
    assert (good["covered_p"], good["covered_i"], good["covered_v"]) == (1.0, 1.0, 1.0)
    assert figures(seen(-0.1, 0.0009))["covered_v"] == 0.0
    assert {limit.figure for limit in limits()} <= set(good)


def test_one_load_that_is_not_covered_counts_by_its_share() -> None:
    rows = seen(0.1, 0.0011)
    rows = [replace(row, v=9.0) if row.case is JUDGED[0] else row for row in rows]
    assert figures(rows)["covered_v"] == pytest.approx(1 - 1 / len(JUDGED))


@pytest.mark.soak
def test_a_board_is_calibrated_and_measured_without_a_daemon() -> None:
    case = next(case for case in JUDGED if case.name == "265 V")
    ((v, i, p, pf, true, stated),) = direct.board((1, NOISE, 0.05, [case]))
    assert max(abs(v), abs(i), abs(p)) < 0.4
    assert abs(pf) < 0.005
    assert true.v == pytest.approx(265.0, rel=1e-3)
    assert 0.0002 < stated.v < 0.004

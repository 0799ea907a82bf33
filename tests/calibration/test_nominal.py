"""A record of nominal parts makes a meter read as one that has no record."""

import pytest
import tables

from calibration.nominal import nominal_record

NAMES = ["grid", "load1"]


def test_it_is_what_the_firmware_begins_with() -> None:
    made = tables.loads(nominal_record(NAMES, 7, "2026-11-22").as_json(), NAMES)
    parts = tables.nominal(NAMES)
    assert made.version == 7
    for codes in (500.0, 991.0, 1200.0):
        assert made.volts_per_code(codes) == pytest.approx(parts.volts_per_code(codes), rel=1e-6)
    for mine, theirs in zip(made.channels, parts.channels, strict=True):
        assert (mine.name, mine.sign, mine.noise) == (theirs.name, theirs.sign, theirs.noise)
        assert (mine.leak_p, mine.leak_q) == (theirs.leak_p, theirs.leak_q)
        for codes in (0.5, 1.0, 10.0, 100.0, 2000.0):
            assert mine.at(codes) == pytest.approx(theirs.at(codes), rel=1e-6)

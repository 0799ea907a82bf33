"""Every fault announces itself, shows in the numbers, and leaves the rest alone."""

import numpy as np
import pytest

from simulation.faults import Fault, FaultKind
from simulation.home import Home, Windows
from simulation.houses import family_house, flat

MIDNIGHT = 20_200 * 86_400_000
NOON = MIDNIGHT + 12 * 3_600_000
MINUTES = 60_000
BEGIN, END = 300, 900  # windows of the fault


def pair(
    kind: FaultKind, size: float | None = None, channel: str = "grid"
) -> tuple[Windows, Windows]:
    """Return 20 minutes around noon without and with a fault in minutes 5 to 15."""
    fault = Fault(kind, NOON + 5 * MINUTES, 10 * MINUTES, size, channel)
    return (
        Home(2, family_house(), since_ms=NOON).windows(NOON, 1200),
        Home(2, family_house(), since_ms=NOON, faults=[fault]).windows(NOON, 1200),
    )


@pytest.mark.parametrize("kind", list(FaultKind))
def test_only_the_windows_of_the_fault_change(kind: FaultKind) -> None:
    clean, faulty = pair(kind)
    outside = np.r_[0:BEGIN, END:1200]
    assert np.array_equal(clean.v[outside], faulty.v[outside])
    assert np.array_equal(clean.f[outside], faulty.f[outside])
    for name, channel in clean.channels.items():
        assert np.array_equal(channel.p[outside], faulty.channels[name].p[outside])
        assert np.array_equal(channel.i[outside], faulty.channels[name].i[outside])
        assert (np.diff(faulty.channels[name].in_mwh) >= 0).all()
        assert (np.diff(faulty.channels[name].out_mwh) >= 0).all()


def inside(clean: Windows, faulty: Windows, field: str, channel: str = "") -> tuple[float, float]:
    """Return the means within the fault."""
    clean_from, faulty_from = (w.channels[channel] if channel else w for w in (clean, faulty))
    return (
        float(getattr(clean_from, field)[BEGIN:END].mean()),
        float(getattr(faulty_from, field)[BEGIN:END].mean()),
    )


def test_swell_passes_the_critical_limit_and_the_inverter_leaves() -> None:
    clean, faulty = pair(FaultKind.VOLTAGE_SWELL)
    assert (faulty.v[BEGIN:END] > 1.15 * 230).all()
    assert clean.channels["solar"].p[BEGIN:END].max() > 0
    assert (faulty.channels["solar"].p[BEGIN:END] == 0).all()


def test_under_voltage_falls_below_the_standard() -> None:
    _, faulty = pair(FaultKind.UNDER_VOLTAGE)
    assert faulty.v[BEGIN:END].max() < 0.9 * 230


def test_outage_is_zero_volts_and_nothing_flows() -> None:
    _, faulty = pair(FaultKind.OUTAGE)
    assert (faulty.v[BEGIN:END] == 0).all()
    assert (faulty.f[BEGIN:END] == 0).all()
    for channel in faulty.channels.values():
        assert (channel.i[BEGIN:END] == 0).all()
        assert (channel.p[BEGIN:END] == 0).all()
        assert channel.in_mwh[END - 1] == channel.in_mwh[BEGIN - 1]


def test_frequency_moves() -> None:
    before, after = inside(*pair(FaultKind.FREQUENCY_SHIFT, -1.5), "f")
    assert after - before == pytest.approx(-1.5)


@pytest.mark.parametrize(
    ("kind", "field", "size", "rel"),
    [
        (FaultKind.STUCK_HEATER, "p", 1500.0, 0.08),
        (FaultKind.PHANTOM_LOAD, "p", 140.0, 0.08),
        (FaultKind.POOR_POWER_FACTOR, "q", 300.0, 0.08),
    ],
)
def test_added_loads_add_about_their_size(
    kind: FaultKind, field: str, size: float, rel: float
) -> None:
    """About, since a resistor's power follows the square of the voltage."""
    before, after = inside(*pair(kind, size), field, "grid")
    assert after - before == pytest.approx(size, rel=rel)


def test_reversed_clamp_turns_the_sign_and_keeps_the_current() -> None:
    clean, faulty = pair(FaultKind.REVERSED_CLAMP)
    one, other = clean.channels["grid"], faulty.channels["grid"]
    assert np.allclose(one.p[BEGIN:END], -other.p[BEGIN:END])
    assert np.allclose(one.i, other.i)
    imported = one.in_mwh[END - 1] - one.in_mwh[BEGIN - 1]
    assert other.out_mwh[END - 1] - other.out_mwh[BEGIN - 1] == pytest.approx(imported, abs=1)


def test_bypass_hides_current_but_not_the_voltage_drop() -> None:
    clean, faulty = pair(FaultKind.BYPASS, 0.4)
    assert np.allclose(
        faulty.channels["grid"].p[BEGIN:END], 0.4 * clean.channels["grid"].p[BEGIN:END]
    )
    assert np.array_equal(faulty.v, clean.v)


def test_clamp_drift_grows_with_time() -> None:
    clean, faulty = pair(FaultKind.CLAMP_DRIFT, -0.3, "solar")
    ratio = faulty.channels["solar"].i[BEGIN:END] / clean.channels["solar"].i[BEGIN:END]
    assert ratio[0] == pytest.approx(1.0)
    assert ratio[-1] == pytest.approx(0.7, abs=0.001)
    assert (np.diff(ratio) < 0).all()


def test_clipping_limits_the_current_and_says_so() -> None:
    clean, faulty = pair(FaultKind.CLIPPED_SENSOR, 1.0)
    assert faulty.clip.tolist() == [False] * 300 + [True] * 600 + [False] * 300
    assert faulty.channels["grid"].i[BEGIN:END].max() <= 1.0
    assert clean.channels["grid"].i[BEGIN:END].max() > 1.0


def test_a_lost_string_takes_its_share_of_the_sun() -> None:
    before, after = inside(*pair(FaultKind.PV_STRING_LOST, 0.4), "p", "solar")
    assert after == pytest.approx(0.6 * before, rel=0.01)


def test_voltage_sensor_off_scales_what_is_read() -> None:
    clean, faulty = pair(FaultKind.VOLTAGE_SENSOR_OFF, 1.03)
    assert np.allclose(faulty.v[BEGIN:END], 1.03 * clean.v[BEGIN:END])


def test_the_fridge_runs_on() -> None:
    night = MIDNIGHT + 2 * 3_600_000
    fault = Fault(FaultKind.FRIDGE_RUNNING, night, 3 * 3_600_000)
    clean, faulty = (
        Home(2, flat(), since_ms=night, faults=faults).windows(night, 10_800).channels["grid"].p
        for faults in ([], [fault])
    )
    assert clean.mean() + 30 < faulty.mean() < clean.mean() + 85
    assert np.ptp(faulty) < np.ptp(clean)  # no starts any more


def test_injected_later_the_past_stays() -> None:
    """A running home takes a fault for the future without losing its registers."""
    home = Home(2, flat(), since_ms=MIDNIGHT)
    before = home.windows(MIDNIGHT, 9000)
    home.inject(Fault(FaultKind.STUCK_HEATER, MIDNIGHT + 9_000_000, 60_000))
    after = home.windows(MIDNIGHT, 9060)
    assert np.array_equal(before.channels["grid"].in_mwh, after.channels["grid"].in_mwh[:9000])
    assert after.channels["grid"].p[9000:].min() > 1400


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_a_sentence(kind: FaultKind) -> None:
    sentence = Fault(kind, 0, 10 * MINUTES).sentence()
    assert sentence.endswith("for 10 minutes")
    assert "{" not in sentence


def test_sentences_carry_their_numbers() -> None:
    assert (
        Fault(FaultKind.VOLTAGE_SWELL, 0, 15_000, 1.2).sentence()
        == "the mains voltage rises to 1.20 times nominal for 15 seconds"
    )
    assert Fault(FaultKind.PV_STRING_LOST, 0, 3 * 86_400_000).sentence().startswith("40 % of")


def test_impossible_faults_are_refused() -> None:
    with pytest.raises(ValueError, match="magnitude 9"):
        Fault(FaultKind.VOLTAGE_SWELL, 0, 1000, 9)
    with pytest.raises(ValueError, match="duration_ms > 0"):
        Fault(FaultKind.OUTAGE, 0, 0)
    for fault, text in (
        (Fault(FaultKind.BYPASS, 0, 1, channel="load5"), "no channel 'load5'"),
        (Fault(FaultKind.PV_STRING_LOST, 0, 1), "no roof"),
    ):
        with pytest.raises(ValueError, match=text):
            Home(1, flat(), since_ms=MIDNIGHT, faults=[fault])

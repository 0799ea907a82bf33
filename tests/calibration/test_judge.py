"""What is wrong with a clamp, a load or a reading is said in words that tell what to do."""

import math
from dataclasses import replace

import pytest

from calibration.fit import Reference
from calibration.judge import judge_load, judge_no_load
from calibration.nominal import A_PER_CODE, V_PER_CODE
from calibration.sums import ChannelSums, RawSums
from gateway.domain.errors import BadInputError

NOISE = 3.2


def sums(amps: float, *, lag_deg: float = 0.0, share: float = 1.0, extra_a: float = 0.0,
         clipped: int = 0, name: str = "grid", windows: int = 30) -> RawSums:  # fmt: skip
    """Return what a nominal meter sums up; `share` of the current is seen."""
    v, i = 230.0 / V_PER_CODE, share * amps / A_PER_CODE
    angle = math.radians(lag_deg)
    row = ChannelSums(
        rms=math.hypot(i, NOISE, extra_a / A_PER_CODE),
        mean=2048.0,
        p=v * i * math.cos(angle),
        q=v * i * math.sin(angle),
        clipped=clipped,
    )
    return RawSums(windows, 50.0, v, 2048.0, {name: row})


def reference(amps: float) -> Reference:
    return Reference(230.0, amps, 230.0 * amps)


IDLE = sums(0.0, windows=60)


def said(got: RawSums, amps: float = 5.0, *, allow: bool = False) -> str:
    with pytest.raises(BadInputError) as error:
        judge_load("grid", got, reference(amps), IDLE, allow_reversed=allow)
    return str(error.value)


@pytest.mark.parametrize("amps", [0.1, 0.3, 1.0, 5.0, 20.0])
def test_a_good_load_is_taken(amps: float) -> None:
    judge_no_load(IDLE)
    judge_load("grid", sums(amps, lag_deg=-2.5), reference(amps), IDLE)
    judge_load("grid", sums(amps, lag_deg=178), reference(amps), IDLE, allow_reversed=True)


def test_each_nonsense_has_its_words() -> None:
    assert "wrong way round" in said(sums(5.0, lag_deg=180))
    assert "--reversed" in said(sums(5.0, lag_deg=177))
    assert "another phase" in said(sums(5.0, lag_deg=120))
    assert "another phase" in said(sums(5.0, lag_deg=-60), allow=True)
    assert "beyond the clamp's range" in said(sums(5.0, clipped=500))
    assert "around both wires of the cable" in said(sums(5.0, share=0.0))
    assert "It is open or its plug is out" in said(sums(5.0, share=0.003))
    assert "not fully closed" in said(sums(5.0, share=0.4, lag_deg=-9))
    assert "in W, not kW" in said(sums(5.0, share=25.0))
    assert "not a clean sine" in said(sums(5.0, extra_a=2.0))
    assert "no such channel" in said(sums(5.0, name="solar"))


def test_a_load_on_the_neighbouring_clamp_is_pointed_out() -> None:
    channels = {"grid": sums(0.0).channels["grid"], "load1": sums(5.0).channels["grid"]}
    both = RawSums(30, 50.0, sums(0.0).v_rms, 2048.0, channels)
    idle = replace(both, channels={"grid": IDLE.channels["grid"], "load1": IDLE.channels["grid"]})
    with pytest.raises(BadInputError, match="load1 sees this load"):
        judge_load("grid", both, reference(5.0), idle)


def test_readings_that_cannot_be() -> None:
    for wrong, words in (
        (Reference(230.0, 5.0, 900.0), "resistive load is needed"),
        (Reference(230.0, 5.0, 1500.0), "misread"),
        (Reference(230.0, 0.0, 0.0), "above zero"),
        (Reference(23.0, 50.0, 1150.0), "Check the reading"),
    ):
        with pytest.raises(BadInputError, match=words):
            judge_load("grid", sums(5.0), wrong, IDLE)


def test_without_load_means_without_load() -> None:
    with pytest.raises(BadInputError, match="about 115 VA flow although nothing should"):
        judge_no_load(sums(0.5))
    with pytest.raises(BadInputError, match="no mains voltage"):
        judge_no_load(replace(IDLE, v_rms=0.0))
    loud = replace(IDLE.channels["grid"], rms=30.0)
    with pytest.raises(BadInputError, match="too much noise"):
        judge_no_load(replace(IDLE, channels={"grid": loud}))

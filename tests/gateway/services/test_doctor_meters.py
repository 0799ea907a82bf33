"""What the doctor says of clamps, radio, versions, certificates, cloud and fences."""

import math
from dataclasses import replace

import pytest

from gateway.domain.meters import Role
from gateway.services import meter_diagnoses, system_diagnoses
from gateway.services.clamp_diagnoses import clamps, clipping
from gateway.services.clamp_facts import ClampFacts, Quarter
from gateway.services.doctor_facts import (
    CertificateFacts,
    Check,
    CloudFacts,
    DatabaseFacts,
    HardeningFacts,
    Level,
    MeterFacts,
)

QUARTER_MS = 900_000
NOW_MS = 1_763_760_000_000
METER = MeterFacts("kitchen", recorded=False, heard_ms=NOW_MS, firmware="1.2.0", calibration=3)


def quarter(at: int, p_w: float, *, angle_deg: float | None = None, v: float = 230.0) -> Quarter:
    """Return quarter-hour number `at` of a day; the angle is that of current to voltage."""
    angle = (0.0 if p_w >= 0 else 180.0) if angle_deg is None else angle_deg
    s_va = abs(p_w / math.cos(math.radians(angle))) if angle_deg is not None else abs(p_w)
    q_var = s_va * math.sin(math.radians(angle))
    return Quarter(at * QUARTER_MS, at // 4 % 24, p_w, q_var, v, s_va / v)


def day(role: Role, power: list[float], name: str | None = None) -> ClampFacts:
    """Return a day of one channel: `power` W for each hour of it."""
    quarters = [quarter(at, power[at // 4 % len(power)]) for at in range(96)]
    return ClampFacts(name or role.value, role, quarters)


def sun(peak_w: float) -> list[float]:
    return [peak_w * max(0.0, math.sin(math.pi * (hour - 6) / 12)) for hour in range(24)]


def said(checks: list[Check]) -> str:
    return " | ".join(f"{check.said} -> {check.todo}" for check in checks)


HOUSE = [300.0 + 40.0 * (hour % 5) for hour in range(24)]
WITH_SUN = [house - roof for house, roof in zip(HOUSE, sun(3000.0), strict=True)]


@pytest.mark.parametrize(
    "channels",
    [
        [day(Role.GRID, HOUSE)],
        [day(Role.GRID, WITH_SUN), day(Role.SOLAR, sun(3000.0))],  # exports at noon: as it should
        [day(Role.GRID, HOUSE), day(Role.LOAD, [200.0] * 24)],
        [day(Role.LOAD, [-1.0, 2.0, 0.0])],  # noise
        [ClampFacts("grid", Role.GRID)],  # nothing measured yet
        [ClampFacts("load1", Role.LOAD, [quarter(at, 400.0, angle_deg=60.0) for at in range(96)])],
    ],
)
def test_clamps_that_look_right_say_nothing(channels: list[ClampFacts]) -> None:
    assert clamps("kitchen", channels) == []


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ([day(Role.LOAD, [-500.0, -60.0])], ["load is on backwards", "round"]),
        ([day(Role.SOLAR, [-one for one in sun(3000.0)])], ["solar is on backwards"]),
        ([day(Role.GRID, [-one for one in HOUSE])], ["grid is on backwards"]),
        (
            [day(Role.GRID, [-one for one in WITH_SUN]), day(Role.SOLAR, sun(3000.0))],
            ["grid is on backwards", "no sun"],
        ),
        (
            [day(Role.GRID, sun(3000.0)), day(Role.SOLAR, HOUSE)],
            ["solar carries power at night", "swapped"],
        ),
        (
            [day(Role.GRID, [200.0] * 24), day(Role.LOAD, HOUSE, "load1")],
            ["load1 and grid seem to be swapped", "exchange"],
        ),
    ],
)
def test_clamps_on_backwards_or_swapped(channels: list[ClampFacts], words: list[str]) -> None:
    checks = clamps("kitchen", channels)
    assert [check.level for check in checks] == [Level.WARNING]
    assert all(word in said(checks) for word in words), said(checks)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clamp_on_another_phase_shows_120_degrees(sign: int) -> None:
    wrong = [quarter(at, -(200.0 + at), angle_deg=sign * 120.0) for at in range(96)]
    text = said(clamps("kitchen", [ClampFacts("load1", Role.LOAD, wrong)]))
    assert "another phase" in text
    assert "|PF| about 0.5" in text


def test_a_grid_at_60_degrees_is_another_phase_and_backwards() -> None:
    wrong = [quarter(at, 200.0 + at, angle_deg=60.0) for at in range(96)]
    assert "backwards" in said(clamps("kitchen", [ClampFacts("grid", Role.GRID, wrong)]))


def test_clipping_names_the_cure() -> None:
    assert clipping("kitchen", 3600, 0) == []
    assert clipping("kitchen", 3600, 2) == []  # a welder once
    assert "higher rating" in said(clipping("kitchen", 3600, 40))


@pytest.mark.parametrize(
    ("rssi", "word"), [(None, ""), (-60.0, ""), (-80.0, "weak"), (-90.0, "hardly")]
)
def test_wifi(rssi: float | None, word: str) -> None:
    checks = meter_diagnoses.radio(replace(METER, rssi_dbm=rssi))
    assert (said(checks) == "") if not word else (word in said(checks))


def test_meters_without_calibration_and_with_refused_bundles() -> None:
    facts = DatabaseFacts(1, "", False, False, 0o600, meters=[  # noqa: FBT003
        replace(METER, calibration=0, wanted={"model": 7}, refused={"model": "range z too low"}),
    ])  # fmt: skip
    text = said(meter_diagnoses.condition(facts))
    assert "meters calibrate kitchen" in text
    assert "refuses version 7 of its model: range z too low" in text


def test_firmware_that_differs_is_named() -> None:
    same = meter_diagnoses.versions([METER, replace(METER, id="garage", model=7)])
    assert [(one.level, one.said) for one in same] == [(Level.OK, "firmware 1.2.0; models 7")]
    other = meter_diagnoses.versions([METER, replace(METER, id="garage", firmware="1.1.0")])
    assert other[0].level is Level.WARNING
    assert "1.1.0: garage" in said(other)


def test_backlog_matters_when_the_cloud_is_on_and_it_is_old() -> None:
    facts = DatabaseFacts(1, "", False, False, 0o600, waiting=9, waiting_since_ms=NOW_MS)  # noqa: FBT003
    assert meter_diagnoses.backlog(facts, NOW_MS, cloud=False) == []
    assert meter_diagnoses.backlog(facts, NOW_MS, cloud=True)[0].level is Level.OK
    late = meter_diagnoses.backlog(facts, NOW_MS + 2 * 3_600_000, cloud=True)[0]
    assert (late.level, "cloud status" in late.todo) == (Level.WARNING, True)


@pytest.mark.parametrize(
    ("days", "problem", "level"),
    [
        (400.0, "", Level.OK), (20.0, "", Level.WARNING), (-3.0, "", Level.ERROR),
        (None, "no such file", Level.ERROR),
    ],
)  # fmt: skip
def test_certificates(days: float | None, problem: str, level: Level) -> None:
    (check,) = system_diagnoses.certificates([CertificateFacts("web", "/w.crt", days, problem)])
    assert check.level is level
    assert ("certificates renew" in check.todo) is (level is not Level.OK)


@pytest.mark.parametrize(
    ("facts", "level", "word"),
    [
        (CloudFacts("", account=True), Level.ERROR, "cloud.project"),
        (CloudFacts("p", account=False), Level.ERROR, "cloud login"),
        (CloudFacts("p", account=True, kept_home=True), Level.ERROR, "install --internet"),
        (CloudFacts("p", account=True, reach="no route"), Level.WARNING, "internet there"),
        (CloudFacts("p", account=True, word="behind", detail="quota"), Level.WARNING, "quota"),
        (CloudFacts("p", account=True, word="connected"), Level.OK, "connected"),
    ],
)
def test_cloud(facts: CloudFacts, level: Level, word: str) -> None:
    (check,) = system_diagnoses.cloud(facts)
    assert (check.level, word in f"{check.said} {check.todo}") == (level, True)


@pytest.mark.parametrize(
    ("facts", "levels"),
    [
        (HardeningFacts(1.5, (), 7), [Level.OK]),
        (HardeningFacts(None, (), 7), [Level.OK]),
        (HardeningFacts(2.6, (), 7), [Level.WARNING]),
        (HardeningFacts(1.5, ("/etc/wattwarden/mqtt.password (mode 0644)",), 7), [Level.ERROR]),
        (HardeningFacts(1.5, (), 7, upgrading=True), [Level.ERROR]),
    ],
)
def test_hardening(facts: HardeningFacts, levels: list[Level]) -> None:
    assert [check.level for check in system_diagnoses.hardening(facts)] == levels


def test_what_is_off_or_absent_is_not_spoken_of() -> None:
    assert system_diagnoses.cloud(None) == []
    assert system_diagnoses.hardening(None) == []

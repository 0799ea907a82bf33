"""What the doctor's facts mean."""

from dataclasses import dataclass, replace

import pytest

from gateway.domain.errors import ConfigError
from gateway.services import diagnoses, store_diagnoses
from gateway.services.doctor import examine, failed
from gateway.services.doctor_facts import (
    BrokerFacts,
    CertificateFacts,
    Check,
    ClockFacts,
    CloudFacts,
    DaemonFacts,
    DatabaseFacts,
    DiskFacts,
    HardeningFacts,
    Level,
    MachineFacts,
    MeterFacts,
    SecretFacts,
)

NOW_MS = 1_763_760_000_000
UP = DaemonFacts(holds=True, answers=True, ready=True)
DOWN = DaemonFacts(holds=False, answers=False)
BROKER = BrokerFacts("10.0.0.2:8883", tls=True, local=False, ca_days=900.0)
CLOCK = ClockFacts(
    trust="auto",
    trusted=True,
    service="chrony",
    now="2025-11-21T21:20+00:00",
    zone="Europe/Lisbon",
    zone_given=True,
)
DISK = DiskFacts("/var/lib/wattwarden", 10**9, 8 * 10**9, 10**10)
MACHINE = MachineFacts(4 * 10**9, 3 * 10**9, 48.0, 0.2, 4)
METER = MeterFacts("kitchen", recorded=False, heard_ms=NOW_MS - 1000)
DATABASE = DatabaseFacts(
    schema=1,
    damage="",
    full_check=False,
    marked_open=True,
    mode=0o100600,
    offline_days=90.0,
    meters=[METER],
)


@dataclass
class World:
    """Surroundings from memory."""

    database_facts: DatabaseFacts | None = DATABASE
    daemon_facts: DaemonFacts = UP

    def now_ms(self) -> int:
        return NOW_MS

    def secrets(self) -> list[SecretFacts]:
        return [SecretFacts("mqtt.password_file", "/etc/wattwarden/mqtt.password")]

    def disk(self) -> DiskFacts:
        return DISK

    def database(self) -> DatabaseFacts:
        if self.database_facts is None:
            msg = "storage.path: gone"
            raise ConfigError(msg)
        return self.database_facts

    def daemon(self) -> DaemonFacts:
        return self.daemon_facts

    def broker(self) -> BrokerFacts:
        return BROKER

    def clock(self) -> ClockFacts:
        return CLOCK

    def machine(self) -> MachineFacts:
        return MACHINE

    def certificates(self) -> list[CertificateFacts]:
        return [CertificateFacts("web", "/etc/wattwarden/web.crt", 700.0)]

    def cloud(self) -> CloudFacts | None:
        return CloudFacts("home-1", account=True, word="connected")

    def hardening(self) -> HardeningFacts | None:
        return HardeningFacts(1.5, (), 9)


def worst(checks: list[Check]) -> Level:
    return max((check.level for check in checks), key=list(Level).index)


def test_all_is_well() -> None:
    checks = examine(World())
    assert worst(checks) is Level.OK
    assert not failed(checks)
    assert not any(check.todo for check in checks)


def test_a_check_that_cannot_be_made_is_an_error_of_its_own() -> None:
    checks = examine(World(database_facts=None, daemon_facts=DOWN))
    assert failed(checks)
    (told,) = [check for check in checks if check.name == "database"]
    assert told.said == "storage.path: gone"
    assert [check.name for check in checks][-1] == "load"


@pytest.mark.parametrize(
    ("free", "used", "level"),
    [(99, 1000, Level.ERROR), (400, 1000, Level.WARNING), (9000, 7300, Level.WARNING),
     (9000, 7100, Level.OK)],
)  # fmt: skip
def test_disk(free: int, used: int, level: Level) -> None:
    facts = replace(DISK, free=free * 10**6, used=used * 10**6)
    assert diagnoses.disk(facts).level is level


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        (BROKER, Level.OK),
        (replace(BROKER, ca_days=5.0), Level.WARNING),
        (replace(BROKER, problem="Not authorized"), Level.ERROR),
        (replace(BROKER, problem="no such file", tried=False), Level.WARNING),
        (replace(BROKER, tls=False, ca_days=None), Level.WARNING),
        (replace(BROKER, tls=False, local=True, ca_days=None), Level.OK),
        (replace(BROKER, embedded=True), Level.OK),
    ],
)
def test_broker(facts: BrokerFacts, level: Level) -> None:
    assert diagnoses.broker(facts).level is level


def test_clock() -> None:
    assert worst(diagnoses.clock(replace(CLOCK, trusted=False))) is Level.WARNING
    assert worst(diagnoses.clock(replace(CLOCK, service=""))) is Level.WARNING
    assert worst(diagnoses.clock(replace(CLOCK, service="", trust="always"))) is Level.OK
    assert worst(diagnoses.clock(replace(CLOCK, zone_given=False))) is Level.WARNING


def test_machine() -> None:
    assert worst(diagnoses.machine(replace(MACHINE, temperature_c=80.0))) is Level.WARNING
    assert worst(diagnoses.machine(replace(MACHINE, memory_free=60 * 10**6))) is Level.WARNING
    assert worst(diagnoses.machine(replace(MACHINE, load=9.0))) is Level.WARNING
    unknown = MachineFacts(None, None, None, 0.0, 1)
    assert [check.name for check in diagnoses.machine(unknown)] == ["load"]


def test_a_secret_of_the_service_is_no_error_from_outside() -> None:
    lost = SecretFacts("mqtt.password_file", "/run/credentials/w/mqtt", "no such file")
    assert worst(diagnoses.secrets([lost])) is Level.ERROR
    assert worst(diagnoses.secrets([replace(lost, of_service=True)])) is Level.WARNING


@pytest.mark.parametrize(
    ("facts", "daemon", "level"),
    [
        (DATABASE, UP, Level.OK),
        (replace(DATABASE, damage="row 7 missing"), UP, Level.ERROR),
        (replace(DATABASE, damage=None), UP, Level.WARNING),
        (replace(DATABASE, mode=0o100644), UP, Level.WARNING),
        (DATABASE, DOWN, Level.WARNING),  # marked open, and nobody has it open
        (replace(DATABASE, offline_days=3.0), UP, Level.WARNING),
        (replace(DATABASE, offline_days=None), UP, Level.OK),
    ],
)
def test_database(facts: DatabaseFacts, daemon: DaemonFacts, level: Level) -> None:
    assert worst(store_diagnoses.database(facts, daemon)) is level


def test_judging() -> None:
    behind = replace(DATABASE, unjudged=6000)
    assert worst(store_diagnoses.judging(behind, UP)) is Level.WARNING
    assert worst(store_diagnoses.judging(behind, DOWN)) is Level.OK
    waiting = replace(DATABASE, unplaced_boots=1)
    assert worst(store_diagnoses.judging(waiting, UP)) is Level.WARNING


def test_dead_letters_matter_while_they_are_fresh() -> None:
    old = replace(DATABASE, dead={"not_json": 3}, last_dead_ms=NOW_MS - 2 * 86_400_000)
    assert store_diagnoses.dead_letters(old, NOW_MS).level is Level.OK
    fresh = store_diagnoses.dead_letters(replace(old, last_dead_ms=NOW_MS - 1000), NOW_MS)
    assert fresh.level is Level.WARNING
    assert "not_json 3" in fresh.said


@pytest.mark.parametrize(
    ("meter", "level"),
    [
        (METER, Level.OK),
        (replace(METER, heard_ms=NOW_MS - 130_000), Level.WARNING),
        (replace(METER, heard_ms=NOW_MS - 901_000), Level.ERROR),
        (replace(METER, heard_ms=NOW_MS - 901_000, recorded=True), Level.OK),
        (replace(METER, heard_ms=None), Level.WARNING),
        (replace(METER, provisional=12), Level.WARNING),
        (replace(METER, final=12), Level.OK),
        (replace(METER, kept_time=False, skew_ms=200_000), Level.WARNING),
        (replace(METER, kept_time=False, recorded=True), Level.OK),
    ],
)
def test_meters(meter: MeterFacts, level: Level) -> None:
    checks = store_diagnoses.meters(replace(DATABASE, meters=[meter]), UP, NOW_MS)
    assert worst(checks) is level
    assert checks[0].said == ("1 of 1 are well" if level is Level.OK else "0 of 1 are well")


def test_no_meter_yet() -> None:
    assert worst(store_diagnoses.meters(replace(DATABASE, meters=[]), UP, NOW_MS)) is Level.WARNING

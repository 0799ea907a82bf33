"""The doctor: asks everything around the gateway and says what each answer means."""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.domain.errors import GatewayError
from gateway.services import diagnoses, meter_diagnoses, store_diagnoses, system_diagnoses
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
    SecretFacts,
)


class Surroundings(Protocol):
    """What the doctor can look at. Each takes seconds at most and changes nothing."""

    def now_ms(self) -> int:
        """Return Unix milliseconds."""

    def secrets(self) -> Sequence[SecretFacts]:
        """Look at the files that hold passwords."""

    def disk(self) -> DiskFacts:
        """Measure the room; GatewayError when the folder is missing."""

    def database(self) -> DatabaseFacts:
        """Read the database; GatewayError when it cannot be opened."""

    def daemon(self) -> DaemonFacts:
        """Ask the daemon."""

    def broker(self) -> BrokerFacts:
        """Connect to the broker for a moment, under another name than the daemon's."""

    def clock(self) -> ClockFacts:
        """Look at the clock."""

    def machine(self) -> MachineFacts:
        """Look at the machine."""

    def certificates(self) -> Sequence[CertificateFacts]:
        """Read the certificates in use."""

    def cloud(self) -> CloudFacts | None:
        """Try the way to the cloud; None where it is off."""

    def hardening(self) -> HardeningFacts | None:
        """Look at the installed service's fences; None where none is installed."""


def examine(world: Surroundings) -> list[Check]:
    """Return every check, in the order in which one thing rests on another."""
    daemon, cloud = world.daemon(), world.cloud()
    return [
        *diagnoses.secrets(world.secrets()),
        *_tried("disk", lambda: [diagnoses.disk(world.disk())]),
        *_tried(
            "database",
            lambda: _store(world.database(), daemon, world.now_ms(), cloud=cloud is not None),
        ),
        diagnoses.daemon(daemon),
        diagnoses.broker(world.broker()),
        *system_diagnoses.certificates(world.certificates()),
        *system_diagnoses.cloud(cloud),
        *system_diagnoses.hardening(world.hardening()),
        *diagnoses.clock(world.clock()),
        *diagnoses.machine(world.machine()),
    ]


def failed(checks: Sequence[Check]) -> bool:
    """Tell whether the main job is not done."""
    return any(check.level is Level.ERROR for check in checks)


def _store(found: DatabaseFacts, daemon: DaemonFacts, now_ms: int, *, cloud: bool) -> list[Check]:
    return [
        *store_diagnoses.database(found, daemon),
        *store_diagnoses.judging(found, daemon),
        *meter_diagnoses.backlog(found, now_ms, cloud=cloud),
        store_diagnoses.dead_letters(found, now_ms),
        *store_diagnoses.meters(found, daemon, now_ms),
    ]


def _tried(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    try:
        return check()
    except GatewayError as error:
        todo = "Administrator: see storage.path in the settings, and the rights of its folder."
        return [Check(name, Level.ERROR, str(error), todo)]

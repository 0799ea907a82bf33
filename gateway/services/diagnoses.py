"""What the facts mean: each function turns some into checks. Pure."""

from collections.abc import Sequence

from gateway.services.doctor_facts import (
    BrokerFacts,
    Check,
    ClockFacts,
    DaemonFacts,
    DiskFacts,
    Figure,
    Level,
    MachineFacts,
    SecretFacts,
)

Figures = dict[str, Figure]
MEGABYTE = 1_000_000
LEAST_FREE = 100 * MEGABYTE  # the daemon raises its storage alert below it
LITTLE_FREE = 500 * MEGABYTE
NEARLY_FULL = 0.9
LEAST_MEMORY = 64 * MEGABYTE
# A Raspberry Pi slows down from 80 °C on (raspberrypi.com, Frequency management).
HOT_C = 80.0
CA_WARNING_DAYS = 30.0


def secrets(found: Sequence[SecretFacts]) -> list[Check]:
    """Judge the files that hold passwords."""
    checks = []
    for secret in found:
        name = f"secret {secret.key}"
        if not secret.problem:
            checks.append(Check(name, Level.OK, f"{secret.path}: its owner alone reads it"))
        elif secret.of_service:
            said = f"{secret.path} is there for the running service only: {secret.problem}"
            todo = "Administrator: run the doctor as root while the service runs."
            checks.append(Check(name, Level.WARNING, said, todo))
        else:
            todo = "Administrator: put the secret into that file, then chmod 600."
            checks.append(Check(name, Level.ERROR, secret.problem, todo))
    return checks


def disk(found: DiskFacts) -> Check:
    """Judge the room that is left."""
    said = (
        f"{found.used / MEGABYTE:.1f} MB of {found.allowed / MEGABYTE:.0f} MB used,"
        f" {found.free / MEGABYTE:.0f} MB free in {found.folder}"
    )
    figures = {"used_bytes": found.used, "allowed_bytes": found.allowed, "free_bytes": found.free}
    if found.free < LEAST_FREE:
        todo = (
            "Administrator: free some space now; the oldest single readings give way soon, and"
            " nothing is acknowledged when it is full."
        )
        return Check("disk", Level.ERROR, said, todo, figures)
    if found.free < LITTLE_FREE:
        return Check("disk", Level.WARNING, said, "Administrator: free some space.", figures)
    if found.used > NEARLY_FULL * found.allowed:
        todo = (
            "Administrator: raise storage.max_bytes, or accept that the oldest single readings"
            " are retired early; rollups, registers and alerts stay."
        )
        return Check("disk", Level.WARNING, said, todo, figures)
    return Check("disk", Level.OK, said, figures=figures)


def daemon(found: DaemonFacts) -> Check:
    """Judge whether somebody takes readings."""
    if not found.holds and not found.answers:
        todo = "Administrator: systemctl start wattwarden, then journalctl -u wattwarden -e."
        return Check("daemon", Level.ERROR, "no daemon is running; meters keep readings", todo)
    if not found.answers:
        said = f"a process holds the database but does not answer: {found.problem}"
        todo = "Administrator: run as root or wattwarden; else systemctl restart wattwarden."
        return Check("daemon", Level.ERROR, said, todo)
    if found.ready is False:
        todo = "Administrator: journalctl -u wattwarden -e tells more; see the other checks."
        return Check("daemon", Level.ERROR, f"it runs but is not ready: {found.problem}", todo)
    said = "it runs and answers" + ("" if found.ready is None else ", and says it is ready")
    return Check("daemon", Level.OK, said)


def broker(found: BrokerFacts) -> Check:
    """Judge the way to the broker."""
    figures: Figures = {"where": found.where, "tls": found.tls, "ca_days_left": found.ca_days}
    if found.embedded:
        return Check("broker", Level.OK, "inside the daemon (mqtt.embedded), for trying out only")
    if not found.tried:
        said = f"{found.where} was not tried: {found.problem}"
        todo = "Administrator: run the doctor as root while the service runs."
        return Check("broker", Level.WARNING, said, todo, figures)
    if found.problem:
        todo = (
            "Administrator: systemctl status mosquitto; check mqtt.host, mqtt.port,"
            " mqtt.username, mqtt.password_file and mqtt.ca_file."
        )
        said = f"{found.where} does not let us in: {found.problem}"
        return Check("broker", Level.ERROR, said, todo, figures)
    said = f"{found.where} lets us in" + (", by TLS" if found.tls else "")
    if not found.tls and not found.local:
        todo = "Administrator: set mqtt.ca_file; the password crosses the network readably."
        return Check("broker", Level.WARNING, said, todo, figures)
    if found.ca_days is not None and found.ca_days < CA_WARNING_DAYS:
        said += f"; the authority in mqtt.ca_file expires in {found.ca_days:.0f} days"
        return Check("broker", Level.WARNING, said, "Administrator: renew it.", figures)
    return Check("broker", Level.OK, said, figures=figures)


def clock(found: ClockFacts) -> list[Check]:
    """Judge the wall clock and the time zone."""
    figures: Figures = {"trusted": found.trusted, "service": found.service, "trust": found.trust}
    service = found.service or "no time service"
    if not found.trusted:
        said = f"the clock is not believed ({service}, clock.trust = {found.trust})"
        todo = "Administrator: timedatectl; readings are stored, and placed in time afterwards."
        first = Check("clock", Level.WARNING, said, todo, figures)
    elif not found.service and found.trust == "auto":
        said = "believed, since no time service says otherwise; it may drift"
        todo = "Administrator: apt-get install systemd-timesyncd (or chrony)."
        first = Check("clock", Level.WARNING, said, todo, figures)
    else:
        first = Check("clock", Level.OK, f"believed ({service})", figures=figures)
    said = f"{found.zone}, where it is {found.now}"
    if found.zone_given:
        return [first, Check("time zone", Level.OK, said)]
    todo = "Administrator: set site.timezone, which decides where a day begins."
    return [first, Check("time zone", Level.WARNING, f"{said} (by default)", todo)]


def machine(found: MachineFacts) -> list[Check]:
    """Judge memory, temperature and load."""
    checks = []
    if found.memory_free is not None and found.memory_total is not None:
        said = f"{found.memory_free / 1e6:.0f} MB of {found.memory_total / 1e6:.0f} MB available"
        figures = {"available_bytes": found.memory_free, "total_bytes": found.memory_total}
        low = found.memory_free < LEAST_MEMORY
        todo = "Administrator: end what else runs on this machine." if low else ""
        level = Level.WARNING if low else Level.OK
        checks.append(Check("memory", level, said, todo, figures))
    if found.temperature_c is not None:
        hot = found.temperature_c >= HOT_C
        checks.append(
            Check(
                "temperature",
                Level.WARNING if hot else Level.OK,
                f"{found.temperature_c:.0f} °C",
                "Installer: give it air or a heat sink; it slows down." if hot else "",
                {"celsius": found.temperature_c},
            )
        )
    said = f"{found.load:.2f} over the last 5 minutes on {found.cores} cores"
    busy = found.load > 2 * found.cores
    todo = "Administrator: see with top what keeps the machine busy." if busy else ""
    level = Level.WARNING if busy else Level.OK
    checks.append(Check("load", level, said, todo, {"load": found.load, "cores": found.cores}))
    return checks

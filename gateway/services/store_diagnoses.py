"""What the database's facts mean: its own health, and that of meters and judging. Pure."""

from gateway.services.doctor_facts import Check, DaemonFacts, DatabaseFacts, Level, MeterFacts
from gateway.services.meter_diagnoses import condition

DAY_MS = 86_400_000
LATE_S = 120.0  # contract, section 5: meter_silent
SILENT_S = 900.0
FEW_DAYS = 7.0
BEHIND = 5000  # readings; judging takes far more than that in a second's pauses
OPEN_TO_OTHERS = 0o077


def database(found: DatabaseFacts, daemon: DaemonFacts) -> list[Check]:
    """Judge the file itself."""
    figures = {"schema": found.schema, "offline_days_left": found.offline_days}
    name = "integrity_check" if found.full_check else "quick_check"
    if found.damage:
        todo = (
            "Administrator: wattwarden backup FILE now, replace the card or disk, then restore"
            " the newest good backup."
        )
        checks = [Check("database", Level.ERROR, f"damaged: {found.damage}", todo, figures)]
    elif found.damage is None:
        said = f"schema {found.schema}; {name} did not end in time"
        todo = "Administrator: wattwarden doctor --full takes the time it needs."
        checks = [Check("database", Level.WARNING, said, todo, figures)]
    else:
        said = f"schema {found.schema}; {name} ok"
        checks = [Check("database", Level.OK, said, figures=figures)]
    if found.mode & OPEN_TO_OTHERS:
        said = f"other accounts may read it (mode {found.mode & 0o777:o}); it holds password hashes"
        checks.append(Check("database", Level.WARNING, said, "Administrator: chmod 600."))
    if found.marked_open and not daemon.holds:
        said = "the last run did not end in order; nothing that was acknowledged is lost"
        todo = "Administrator: start the daemon, it checks the file; look at the power supply."
        checks.append(Check("last stop", Level.WARNING, said, todo))
    return [*checks, *_room(found)]


def _room(found: DatabaseFacts) -> list[Check]:
    days = found.offline_days
    if days is None:
        return [Check("offline days", Level.OK, "not known before an hour of readings")]
    figures = {"days": days}
    said = f"readings of {days:.0f} more days fit"
    if days >= FEW_DAYS:
        return [Check("offline days", Level.OK, said, figures=figures)]
    todo = (
        "Administrator: free space or raise storage.max_bytes; after that the oldest single"
        " readings give way."
    )
    return [Check("offline days", Level.WARNING, said, todo, figures)]


def judging(found: DatabaseFacts, daemon: DaemonFacts) -> list[Check]:
    """Judge whether alerts keep up with the readings."""
    figures = {"readings": found.unjudged}
    said = f"{found.unjudged} readings wait to be judged"
    if found.unjudged > BEHIND and daemon.answers:
        todo = "Administrator: look again in a minute; when it grows, see load and the journal."
        checks = [Check("judging", Level.WARNING, said, todo, figures)]
    else:
        checks = [Check("judging", Level.OK, said, figures=figures)]
    if found.unplaced_boots:
        said = "some readings wait for a trusted clock to be placed in time"
        todo = "Administrator: see the check of the clock."
        checks.append(Check("judging", Level.WARNING, said, todo))
    return checks


def dead_letters(found: DatabaseFacts, now_ms: int) -> Check:
    """Judge messages that could not be stored."""
    if not found.dead:
        return Check("dead letters", Level.OK, "every message could be read")
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(found.dead.items()))
    figures = dict(found.dead)
    recent = found.last_dead_ms is not None and now_ms - found.last_dead_ms < DAY_MS
    if not recent:
        return Check(
            "dead letters", Level.OK, f"none in the last day; ever: {reasons}", "", figures
        )
    todo = "Installer: some device sends what the contract does not allow; see docs/protocol.md."
    said = f"messages that cannot be stored came within a day; by reason: {reasons}"
    return Check("dead letters", Level.WARNING, said, todo, figures)


def meters(found: DatabaseFacts, daemon: DaemonFacts, now_ms: int) -> list[Check]:
    """Judge each meter; those that are well share one line."""
    if not found.meters:
        todo = "Installer: give a meter the broker's address, name and password."
        return [Check("meters", Level.WARNING, "no meter is known yet", todo)]
    checks = [check for meter in found.meters for check in _meter(meter, daemon, now_ms)]
    checks += condition(found)
    ill = {check.name for check in checks if check.level is not Level.OK}
    well = sum(f"meter {meter.id}" not in ill for meter in found.meters)
    said = f"{well} of {len(found.meters)} are well"
    return [Check("meters", Level.OK, said, figures={"meters": len(found.meters)}), *checks]


def _meter(meter: MeterFacts, daemon: DaemonFacts, now_ms: int) -> list[Check]:
    name = f"meter {meter.id}"
    figures = {
        "heard": meter.heard_ms, "provisional": meter.provisional, "final": meter.final,
        "skew_ms": meter.skew_ms,
    }  # fmt: skip
    checks = []
    if not meter.recorded and daemon.answers:
        checks += _silence(name, meter.heard_ms, now_ms)
    if meter.provisional:
        said = f"{meter.provisional} windows have not come yet (provisional gaps)"
        todo = f"Nobody yet: it resends them. If it never will: meters gaps {meter.id} --final."
        checks.append(Check(name, Level.WARNING, said, todo, figures))
    if not meter.recorded and not meter.kept_time:
        apart = "sends no time" if meter.skew_ms is None else f"is {meter.skew_ms / 1000:.0f} s off"
        said = f"its clock {apart}; the gateway's is used instead"
        todo = "Installer: see that the meter reaches its time server."
        checks.append(Check(name, Level.WARNING, said, todo, figures))
    return checks


def _silence(name: str, heard_ms: int | None, now_ms: int) -> list[Check]:
    todo = "Homeowner: is it powered, and does Wi-Fi reach it? It keeps what it measures."
    if heard_ms is None:
        return [Check(name, Level.WARNING, "registered, but never heard of", todo)]
    silent_s = (now_ms - heard_ms) / 1000
    if silent_s <= LATE_S:
        return []
    level = Level.ERROR if silent_s > SILENT_S else Level.WARNING
    return [Check(name, level, f"silent for {_long(silent_s)}", todo, {"silent_s": silent_s})]


def _long(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 2 * 60:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"

"""What a meter says of itself: its Wi-Fi, and the versions it runs. Pure."""

from collections.abc import Sequence

from gateway.services.clamp_diagnoses import clamps, clipping
from gateway.services.doctor_facts import Check, DatabaseFacts, Level, MeterFacts

# Below it packets are lost and repeated; below the second an ESP32 drops out for minutes.
WEAK_DBM, LOST_DBM = -75.0, -85.0
CLOUD_LATE_MS = 3_600_000


def condition(found: DatabaseFacts) -> list[Check]:
    """Judge radio, clamps, clipping and versions of all meters."""
    checks = []
    for meter in found.meters:
        if meter.recorded:
            continue
        checks += radio(meter)
        checks += clamps(meter.id, meter.clamps)
        checks += clipping(meter.id, meter.windows, meter.clipped)
        checks += _calibrated(meter)
        checks += _bundles(meter)
    return [*checks, *versions(found.meters)]


def radio(meter: MeterFacts) -> list[Check]:
    """Judge how well the access point is heard."""
    signal = meter.rssi_dbm
    if signal is None or signal >= WEAK_DBM:
        return []
    bad = signal < LOST_DBM
    said = f"Wi-Fi is {'hardly heard' if bad else 'weak'} where it hangs ({signal:.0f} dBm)"
    todo = (
        "Homeowner: move the access point nearer, or add one; a metal cabinet door shields the"
        " meter, an aerial outside it helps."
    )
    return [Check(f"meter {meter.id}", Level.WARNING, said, todo, {"rssi_dbm": signal})]


def _calibrated(meter: MeterFacts) -> list[Check]:
    if meter.calibration is None or (meter.calibration > 0 and not meter.nominal):
        return []
    said = "is not calibrated: it measures by the clamps' nominal ratio"
    todo = f"Installer: wattwarden meters calibrate {meter.id} (docs/calibration.md)."
    evidence = {"calibration": meter.calibration}
    return [Check(f"meter {meter.id}", Level.WARNING, said, todo, evidence)]


def _bundles(meter: MeterFacts) -> list[Check]:
    """Judge what the meter was given to load and does not run."""
    runs = {
        "model": meter.model, "calibration": meter.calibration,
    }  # fmt: skip
    checks = []
    for kind, why in meter.refused.items():
        said = f"refuses version {meter.wanted.get(kind)} of its {kind}: {why}"
        todo = "Administrator: it goes on with what it has; publish a version that suits it."
        checks.append(Check(f"meter {meter.id}", Level.WARNING, said, todo))
    for kind, version in meter.wanted.items():
        has = runs.get(kind)
        if kind not in meter.refused and has is not None and has != version:
            said = f"runs version {has} of its {kind}, version {version} is announced"
            todo = "Nobody yet: it loads it when it is on line."
            checks.append(Check(f"meter {meter.id}", Level.OK, said, todo))
    return checks


def versions(meters: Sequence[MeterFacts]) -> list[Check]:
    """Tell which versions are in use; different firmware is worth a look."""
    live = [meter for meter in meters if not meter.recorded and meter.firmware]
    if not live:
        return []
    known = sorted({meter.firmware for meter in live})
    models = sorted({meter.model for meter in live if meter.model is not None})
    figures = {"firmware": ", ".join(known), "models": ", ".join(map(str, models))}
    said = f"firmware {', '.join(known)}" + (
        f"; models {', '.join(map(str, models))}" if models else ""
    )
    if len(known) == 1:
        return [Check("versions", Level.OK, said, "", figures)]
    of = {word: [one.id for one in live if one.firmware == word] for word in known}
    named = "; ".join(f"{word}: {', '.join(names)}" for word, names in of.items())
    todo = "Installer: make flash for those that are behind."
    return [Check("versions", Level.WARNING, f"firmware differs: {named}", todo, figures)]


def backlog(found: DatabaseFacts, now_ms: int, *, cloud: bool) -> list[Check]:
    """Judge what waits for cloud and archive."""
    if not found.waiting:
        return [Check("backlog", Level.OK, "nothing waits for the cloud")] if cloud else []
    figures = {"documents": found.waiting, "since": found.waiting_since_ms}
    said = f"{found.waiting} documents wait for the cloud"
    since_ms = found.waiting_since_ms
    late = cloud and since_ms is not None and now_ms - since_ms > CLOUD_LATE_MS
    if late:
        todo = "Administrator: wattwarden cloud status tells why; nothing is lost meanwhile."
        return [Check("backlog", Level.WARNING, f"{said}, for more than an hour", todo, figures)]
    return [Check("backlog", Level.OK, said, "", figures)] if cloud else []

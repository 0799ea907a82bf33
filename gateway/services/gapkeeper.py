"""Rule G: a hole becomes a provisional gap after ten minutes, and final when it cannot heal."""

from gateway.services.ledger import Boot, Ledger, Meter
from gateway.services.planner import Planner

PROVISIONAL_S = 600.0
FINAL_UP_MS = 24 * 3_600_000  # a newer boot has run so long


def sweep_gaps(planner: Planner, ledger: Ledger, mono_s: float, now_ms: int) -> None:
    """Look at every hole of every boot once."""
    for meter in ledger.meters.values():
        newest_up_ms = 0
        for boot in reversed(meter.ordered()):
            holes = boot.holes()
            if holes and newest_up_ms >= FINAL_UP_MS:
                for first, last in holes:
                    planner.finalise(meter, boot, first, last, "newer boot ran for 24 h", now_ms)
            elif holes:
                _suspect(planner, boot, holes, mono_s, now_ms)
            elif boot.hole_since_s:
                boot.hole_since_s.clear()
            newest_up_ms = max(newest_up_ms, boot.last_up_ms)


def _suspect(
    planner: Planner, boot: Boot, holes: list[tuple[int, int]], mono_s: float, now_ms: int
) -> None:
    since = {first: boot.hole_since_s.get(first, mono_s) for first, _ in holes}
    boot.hole_since_s = since
    for first, last in holes:
        if mono_s - since[first] >= PROVISIONAL_S and boot.provisional.get(first) != last:
            planner.suspect(boot, first, last, now_ms)


def finalise_by_have(
    planner: Planner, meter: Meter, current: Boot, have: dict[int, int], now_ms: int
) -> None:
    """Apply what a `state` says the meter still holds (contract, section 2).

    Windows below a listed boot's `from` are final; so is all that is missing of boots which
    are not listed and older than the one that speaks.
    """
    ordered = meter.ordered()
    for boot in ordered[: ordered.index(current) + 1]:
        if boot.boot in have:
            last = min(have[boot.boot] - 1, boot.received.highest)
        elif boot is current:
            continue
        else:
            last = boot.received.highest
        if last >= 0:
            planner.finalise(meter, boot, 0, last, "no longer held by the meter", now_ms)

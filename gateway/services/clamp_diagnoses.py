"""What quarter-hours tell of clamps: turned round, on the wrong wire, too small. Pure.

Signs follow the contract: a load and the grid's import are positive, and so is a solar roof's
generation. Power factor and angle: P = V·I·cos(φ); a clamp on another phase of a three-phase
supply turns φ by 120°, one put on backwards by 180° (docs/calibration.md).
"""

from collections.abc import Callable, Sequence
from functools import partial

from gateway.domain.meters import Role
from gateway.services.clamp_facts import ClampFacts, Quarter
from gateway.services.doctor_facts import Check, Level

LEAST_W = 50.0  # below it signs are noise
LEAST_VA = 100.0  # ... and angles
FEW = 8  # two hours of quarter-hours
MOST_OF = 0.9
DARK_W = 10.0
NIGHT = range(5)  # local hours without sun everywhere but near the poles
OTHER_PHASE_DEG = 120.0
ANGLE_TOLERANCE_DEG = 12.0
SUM_SLACK = 1.1
CLIPPED_SHARE = 0.001


def clamps(meter: str, channels: Sequence[ClampFacts]) -> list[Check]:
    """Judge every clamp of a meter; nothing is said of those that look right."""
    checks = []
    for channel in channels:
        said = _wrong_phase(channel) or _reversed(channel, channels) or _solar_at_night(channel)
        if said:
            checks.append(_check(meter, channel, *said))
    if swapped := _more_than_the_house(channels):
        checks.append(_check(meter, swapped[0], *swapped[1]))
    return checks


def _check(meter: str, channel: ClampFacts, said: str, todo: str) -> Check:
    figures = {"quarters": len(channel.quarters)}
    text = f"clamp of {channel.name} {said}"
    return Check(f"meter {meter}", Level.WARNING, text, f"Installer: {todo}", figures)


def _reversed(channel: ClampFacts, others: Sequence[ClampFacts]) -> tuple[str, str] | None:
    quarters = channel.quarters
    if channel.role is Role.GRID:
        quarters = _without_sun(channel, others)
    told = [quarter for quarter in quarters if abs(quarter.p_w) >= LEAST_W]
    if len(told) < FEW or _share(told, lambda quarter: quarter.p_w < 0) < MOST_OF:
        return None
    when = " while no sun shines" if channel.role is Role.GRID else ""
    return (
        f"is on backwards: it measures negative power{when}, in {len(told)} quarter-hours",
        f"turn the clamp of {channel.name} round, its arrow towards the load; then look again",
    )


def _without_sun(grid: ClampFacts, others: Sequence[ClampFacts]) -> Sequence[Quarter]:
    """Return the quarter-hours in which the house can only take."""
    dark: set[int] | None = None
    for other in others:
        if other.role is Role.SOLAR:
            low = {one.start_ms for one in other.quarters if abs(one.p_w) < DARK_W}
            dark = low if dark is None else dark & low
    if dark is None:
        return [quarter for quarter in grid.quarters if quarter.hour in NIGHT]
    return [quarter for quarter in grid.quarters if quarter.start_ms in dark]


def _wrong_phase(channel: ClampFacts) -> tuple[str, str] | None:
    told = [one for one in channel.quarters if one.s_va >= LEAST_VA and one.angle_deg is not None]
    if len(told) < FEW:
        return None
    # A motor may well run at 60°, a house or a roof as a whole does not; nothing runs at 120°.
    angles = [OTHER_PHASE_DEG]
    if channel.role is not Role.LOAD:
        angles.append(180.0 - OTHER_PHASE_DEG)
    for angle in angles:
        if _share(told, partial(_near, angle_deg=angle)) >= MOST_OF:
            turned = "" if angle == OTHER_PHASE_DEG else ", and backwards"
            return (
                (
                    f"seems to be on another phase than its voltage{turned}: current and voltage"
                    f" are {angle:.0f}° apart in {len(told)} quarter-hours (|PF| about 0.5)"
                ),
                (
                    f"put the clamp of {channel.name} on the phase the meter's voltage comes from,"
                    " or give the channel the voltage of its own phase"
                ),
            )
    return None


def _near(quarter: Quarter, angle_deg: float) -> bool:
    found = quarter.angle_deg
    return found is not None and abs(abs(found) - angle_deg) <= ANGLE_TOLERANCE_DEG


def _solar_at_night(channel: ClampFacts) -> tuple[str, str] | None:
    if channel.role is not Role.SOLAR:
        return None
    night = [quarter for quarter in channel.quarters if quarter.hour in NIGHT]
    if len(night) < FEW or _share(night, lambda one: abs(one.p_w) >= LEAST_W) < MOST_OF:
        return None
    return (
        (
            f"carries power at night, in {len(night)} quarter-hours: it is not on the solar roof's"
            " wire, perhaps swapped with another clamp"
        ),
        f"compare the clamps' plugs with the drawing; or change the role of {channel.name}",
    )


def _more_than_the_house(
    channels: Sequence[ClampFacts],
) -> tuple[ClampFacts, tuple[str, str]] | None:
    """Find a load that takes more than all that comes into the house."""
    grid = next((one for one in channels if one.role is Role.GRID), None)
    if grid is None:
        return None
    comes = {quarter.start_ms: quarter.p_w for quarter in grid.quarters}
    for one in channels:
        if one.role is Role.SOLAR:
            for quarter in one.quarters:
                if quarter.start_ms in comes:
                    comes[quarter.start_ms] += quarter.p_w
    for load in channels:
        if load.role is not Role.LOAD:
            continue
        told = [one for one in load.quarters if one.start_ms in comes and one.p_w >= LEAST_W]
        more = _share(told, lambda one: one.p_w > SUM_SLACK * comes[one.start_ms] + LEAST_W)
        if len(told) >= FEW and more >= MOST_OF:
            return load, (
                (
                    f"measures more than the whole house takes, in {len(told)} quarter-hours:"
                    f" {load.name} and {grid.name} seem to be swapped"
                ),
                f"exchange the plugs of {load.name} and {grid.name}, or the channels' roles",
            )
    return None


def clipping(meter: str, windows: int, clipped: int) -> list[Check]:
    """Judge how many of a meter's newest windows went beyond what its inputs can show."""
    if not windows or clipped < max(1, CLIPPED_SHARE * windows):
        return []
    said = f"{clipped} of its newest {windows} windows were clipped"
    todo = (
        "Installer: current or voltage goes beyond what the input can show; use clamps of a"
        " higher rating (docs/wiring.md)."
    )
    figures = {"windows": windows, "clipped": clipped}
    return [Check(f"meter {meter}", Level.WARNING, said, todo, figures)]


def _share(quarters: Sequence[Quarter], is_so: Callable[[Quarter], bool]) -> float:
    return sum(map(is_so, quarters)) / len(quarters) if quarters else 0.0

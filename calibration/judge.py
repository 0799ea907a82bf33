"""What is wrong with a measurement before it is fitted, said so that one can mend it."""

import math

from calibration.fit import Reference
from calibration.nominal import A_PER_CODE, V_PER_CODE, chance, live
from calibration.sums import RawSums
from gateway.domain.errors import BadInputError

NOISE_MOST = 400.0  # codes²: what a record may say (docs/firmware/calibration.md)
IDLE_MOST_W = 10.0  # crosstalk on a board gives a few; more is a load that is still on
CLIPPED_MOST = 2  # samples a window: spikes alone may do that
SEEN_LEAST = 0.02  # of what the load should give, by nominal parts
SIGMAS = 4.0
PHASE_MOST_DEG = 20.0
GAPING_DEG, GAPING = 6.0, 1.4  # a core with an air gap gives less, and leads
FACTOR_LEAST = 0.98
NOMINAL_MOST = 20.0  # times off what a record may say
VOLTS_MOST = 5.0
UNLIKE_OTHERS = 0.15  # the curve of a clamp bends by some percent over its whole range
STRAY_A = 0.05


def judge_no_load(sums: RawSums) -> None:
    """Raise BadInputError when this is not a meter at rest with its clamps on."""
    if sums.windows < 1 or sums.v_rms <= 0:
        msg = "the meter sees no mains voltage: plug in its voltage adapter, then measure again"
        raise BadInputError(msg)
    for name, row in sums.channels.items():
        power = math.hypot(row.p, row.q) * V_PER_CODE * A_PER_CODE
        if power > IDLE_MOST_W and row.p**2 + row.q**2 > (SIGMAS * chance(row, sums)) ** 2:
            msg = (
                f"channel {name}: about {power:.0f} VA flow although nothing should."
                " Switch off or unplug everything behind this clamp, then measure again"
            )
            raise BadInputError(msg)
        if row.rms**2 > NOISE_MOST:
            msg = (
                f"channel {name}: far too much noise ({row.rms * A_PER_CODE:.2f} A without a load)."
                " Check that the clamp's plug is fully in, and keep its cable away from others"
            )
            raise BadInputError(msg)


def judge_reference(reference: Reference, where: str) -> None:
    """Raise BadInputError when readings cannot be those of a resistive load."""
    if min(reference.v, reference.i, reference.p) <= 0:
        msg = f"{where}: the reference's V, A and W must all be above zero"
        raise BadInputError(msg)
    factor = reference.p / (reference.v * reference.i)
    if factor > 2 - FACTOR_LEAST:
        msg = (
            f"{where}: {reference.v:g} V times {reference.i:g} A are"
            f" {reference.v * reference.i:.0f} W, but {reference.p:g} W were read."
            " One of the three is misread; read them again"
        )
        raise BadInputError(msg)
    if factor < FACTOR_LEAST:
        msg = (
            f"{where}: power factor {factor:.2f} at the reference. A resistive load is needed:"
            " a kettle, an iron, a heater without a fan, a filament lamp"
        )
        raise BadInputError(msg)


def judge_load(
    channel: str,
    sums: RawSums,
    reference: Reference,
    no_load: RawSums,
    *,
    allow_reversed: bool = False,
) -> None:
    """Raise BadInputError, with what to do about it, when a clamp cannot have seen this load."""
    where = f"channel {channel}, {reference.i:.3g} A"
    judge_reference(reference, where)
    row, idle = sums.channels.get(channel), no_load.channels.get(channel)
    if row is None or idle is None:
        msg = f"{where}: the meter has no such channel"
        raise BadInputError(msg)
    if row.clipped > CLIPPED_MOST * sums.windows:
        msg = (
            f"{where}: the clamp's signal is cut off at the converter's end. This load is beyond"
            " the clamp's range: take a smaller load, or a clamp for more current"
        )
        raise BadInputError(msg)
    _check_voltage(sums, reference, where)
    _check_seen(channel, sums, reference, no_load, where)
    leak = complex(idle.p, idle.q) / no_load.v_rms**2
    power = complex(row.p, row.q) - leak * sums.v_rms**2
    _check_direction(power, reference, where, allow_reversed=allow_reversed)
    _check_others(channel, sums, no_load, where)


def _check_voltage(sums: RawSums, reference: Reference, where: str) -> None:
    nominal_v = sums.v_rms * V_PER_CODE
    if not 1 / VOLTS_MOST < reference.v / max(nominal_v, 1e-9) < VOLTS_MOST:
        msg = (
            f"{where}: the reference reads {reference.v:g} V where the meter sees about"
            f" {nominal_v:.0f} V. Check the reading, and the adapter's trimmer"
        )
        raise BadInputError(msg)


def _check_seen(
    channel: str, sums: RawSums, reference: Reference, no_load: RawSums, where: str
) -> None:
    """Tell a clamp that sees nothing, and why."""
    row, idle = sums.channels[channel], no_load.channels[channel]
    expected = reference.p / (V_PER_CODE * A_PER_CODE)
    seen = math.hypot(row.p, row.q)
    noise = chance(idle, sums)
    if seen > max(SEEN_LEAST * expected, SIGMAS * noise):
        return
    if SIGMAS * noise > 2 * SEEN_LEAST * expected and seen > 2 * noise:
        return  # so small a load drowns in noise: longer measuring tells
    others = [
        name
        for name in sums.channels
        if name != channel and abs(live(sums, name).p - live(no_load, name).p) > 0.5 * reference.p
    ]
    if others:
        msg = f"{where}: {others[0]} sees this load. Swap the two clamps, or measure {others[0]}"
    elif seen > SIGMAS * noise:
        msg = (
            f"{where}: the clamp shows only stray hum. It is open or its plug is out: close it"
            " until it clicks and push the plug in. If it is closed, it is around both wires"
        )
    else:
        msg = (
            f"{where}: the clamp shows nothing at all. It is around both wires of the cable, whose"
            " fields cancel, or around none: put it around the live wire alone"
        )
    raise BadInputError(msg)


def _check_direction(
    power: complex, reference: Reference, where: str, *, allow_reversed: bool
) -> None:
    angle = math.degrees(math.atan2(power.imag, power.real))
    gain = reference.p / (V_PER_CODE * A_PER_CODE * abs(power))
    if not 1 / NOMINAL_MOST < gain < NOMINAL_MOST:
        msg = (
            f"{where}: the clamp sees {1 / gain:.3g} times what the reference reads."
            " Is the reading in W, not kW, and the clamp of the usual kind?"
        )
        raise BadInputError(msg)
    backward = abs(angle) > 180 - PHASE_MOST_DEG
    if backward and not allow_reversed:
        msg = (
            f"{where}: the clamp is on the wrong way round. Turn it: its arrow points from the"
            " grid to the load. Where it cannot be turned, allow it with --reversed"
        )
        raise BadInputError(msg)
    if backward or abs(angle) <= PHASE_MOST_DEG:
        if gain > GAPING and -angle > GAPING_DEG and not backward:
            msg = f"{where}: the clamp is not fully closed; press it until it clicks"
            raise BadInputError(msg)
        return
    msg = (
        f"{where}: the current is {abs(angle):.0f} degrees off the voltage, so the clamp is on"
        " another phase than the voltage adapter. Plug the adapter into a socket of the same"
        " phase as this load, or move the clamp"
    )
    raise BadInputError(msg)


def _check_others(channel: str, sums: RawSums, no_load: RawSums, where: str) -> None:
    """Refuse a load that does not stand alone on a clamp that should be at rest."""
    row, idle = sums.channels[channel], no_load.channels[channel]
    # All of the current must be the load's: what else flows shows in I without P.
    apparent = math.sqrt(max(row.rms**2 - idle.rms**2, 0.0)) * sums.v_rms
    active = math.hypot(row.p, row.q)
    stray_a = math.sqrt(max(apparent**2 - active**2, 0.0)) / sums.v_rms * A_PER_CODE
    if stray_a > max(STRAY_A, UNLIKE_OTHERS * active / sums.v_rms * A_PER_CODE):
        msg = (
            f"{where}: the current is not a clean sine ({stray_a:.2f} A beside the load). Switch"
            " off what else hangs on this wire, and use a load without electronics"
        )
        raise BadInputError(msg)

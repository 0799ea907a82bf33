"""Rule R: cumulative energy registers, compared in seq order, that fall, glitch or jump."""

from typing import NamedTuple

from gateway.domain.meters import ChannelInfo
from gateway.domain.readings import Channel

# What the contract's ranges allow at most; used where no rating is known.
LARGEST_POWER_W = 500_000.0
# Above the rating a clamp saturates; 1.5 leaves room for its tolerance and short overloads.
RATING_MARGIN = 1.5
# The widest supply voltage a register may have been driven with, as a multiple of nominal
# (the critical limit of the wire contract, section 5).
VOLTAGE_MARGIN = 1.15
REGISTER_SLACK_WH = 2.0  # rounding, and a window's edge
MS_PER_HOUR = 3_600_000


class Register(NamedTuple):
    """One cumulative register: its last value, and the value it fell from, if it fell.

    A logger that writes a 0 between true values (seen in the field) falls and comes back to
    `high_wh`; what lies between was counted before and must not be counted again.
    """

    wh: float
    high_wh: float | None = None


Registers = dict[str, tuple[Register | None, Register | None]]  # channel -> (in, out)


def step(before: Register | None, now_wh: float | None) -> Register | None:
    """Return the register after one reading; a null value changes nothing."""
    if now_wh is None:
        return before
    if before is None:
        return Register(now_wh)
    wh, high_wh = before
    if now_wh < wh:
        return Register(now_wh, wh if high_wh is None else max(wh, high_wh))
    if high_wh is None:
        return Register(now_wh)
    return Register(now_wh, None if now_wh >= high_wh else high_wh)


def counted_wh(before: Register | None, now_wh: float | None) -> float:
    """Return the energy in Wh that a reading adds: never negative, a fall counts as zero."""
    if before is None or now_wh is None:
        return 0.0
    if before.high_wh is not None and now_wh >= before.high_wh:
        return now_wh - before.high_wh
    return max(0.0, now_wh - before.wh)


def carry(before: Registers, channels: dict[str, Channel]) -> Registers:
    """Return all registers after a reading."""
    after = dict(before)
    for name, channel in channels.items():
        wh_in, wh_out = before.get(name, (None, None))
        after[name] = (step(wh_in, channel.wh_in), step(wh_out, channel.wh_out))
    return after


def fell(before: Registers, channels: dict[str, Channel]) -> bool:
    """Tell whether any register is below its predecessor."""
    for name, channel in channels.items():
        pair = before.get(name)
        if pair is not None and (_below(pair[0], channel.wh_in) or _below(pair[1], channel.wh_out)):
            return True
    return False


def impossible_rise(
    before: Registers,
    channels: dict[str, Channel],
    infos: dict[str, ChannelInfo],
    elapsed_ms: int,
    nominal_voltage_v: float,
) -> str:
    """Say which register rose by more than its channel can carry, "" when none did."""
    for name, channel in channels.items():
        pair = before.get(name)
        if pair is None:
            continue
        for label, known, now_wh in (
            ("wh_in", pair[0], channel.wh_in),
            ("wh_out", pair[1], channel.wh_out),
        ):
            if known is None or now_wh is None or now_wh - known.wh <= REGISTER_SLACK_WH:
                continue
            rise_wh = counted_wh(known, now_wh)
            limit_wh = largest_rise_wh(infos.get(name), elapsed_ms, nominal_voltage_v)
            if rise_wh > limit_wh:
                return (
                    f"{name}.{label} rose by {rise_wh:.6g} Wh in {elapsed_ms} ms; "
                    f"at most {limit_wh:.6g} Wh is possible"
                )
    return ""


def largest_rise_wh(info: ChannelInfo | None, elapsed_ms: int, nominal_voltage_v: float) -> float:
    """Return the most energy in Wh that a channel can have counted in `elapsed_ms`."""
    if info is None or info.rating_a is None:
        power_w = LARGEST_POWER_W
    else:
        power_w = info.rating_a * RATING_MARGIN * nominal_voltage_v * VOLTAGE_MARGIN
    return power_w * elapsed_ms / MS_PER_HOUR + REGISTER_SLACK_WH


def _below(known: Register | None, now_wh: float | None) -> bool:
    return known is not None and now_wh is not None and now_wh < known.wh

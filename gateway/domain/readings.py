"""A meter's reading as the wire carries it, and as the gateway stores it.

Field names are those of the wire contract (docs/protocol.md, section 3): SI units throughout,
V, A, W, var, Hz, Wh; times are Unix milliseconds UTC. `msgspec` checks types and ranges in C.
"""

from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

UINT32_MAX = 0xFFFF_FFFF

MeterId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,31}\Z")]
ChannelName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,15}\Z")]
Uint32 = Annotated[int, Meta(ge=0, le=UINT32_MAX)]
TimeMs = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Millis = Annotated[int, Meta(ge=0, le=2**53)]
DurationMs = Annotated[int, Meta(ge=100, le=86_400_000)]
Windows = Annotated[int, Meta(ge=1, le=86_400)]
Volts = Annotated[float, Meta(ge=0, le=500)]
Hertz = Annotated[float, Meta(ge=0, le=70)]
Amperes = Annotated[float, Meta(ge=0, le=1000)]
Watts = Annotated[float, Meta(ge=-500_000, le=500_000)]
WattHours = Annotated[float, Meta(ge=0, le=1e15)]
Score = Annotated[float, Meta(ge=0)]
Flag = Annotated[str, Meta(max_length=32)]
AuxName = Annotated[str, Meta(max_length=32)]


class Channel(Struct, gc=False, frozen=True):
    """One current channel over one window.

    `i` A rms, `p` W signed, `q` var (+ inductive), `v` V rms where it is on another phase,
    `wh_in`/`wh_out` cumulative registers in Wh, `z` the meter's own anomaly score.
    """

    i: Amperes | None
    p: Watts | None
    wh_in: WattHours | None
    wh_out: WattHours | None
    q: Watts | None = None
    v: Volts | None = None
    z: Score | None = None


class Reading(Struct, gc=False, frozen=True):
    """One window of whole mains cycles (or `n` of them, a spool record)."""

    boot: Uint32
    seq: Uint32
    up: Millis
    t: TimeMs | None
    dt: DurationMs
    v: Volts | None
    f: Hertz | None
    ch: Annotated[dict[ChannelName, Channel], Meta(min_length=1, max_length=6)]
    n: Windows = 1
    aux: Annotated[dict[AuxName, float], Meta(max_length=16)] | None = None
    flags: Annotated[tuple[Flag, ...], Meta(max_length=8)] = ()


class Mark:
    """What the gateway noted about a stored reading (bits of `marks`)."""

    ANCHORED = 1  # `t` was not kept: placed by the boot's anchor plus `up`
    NEIGHBOURED = 2  # no anchor either: placed between the neighbouring boots
    PHYSICS = 4  # |p| above v·i beyond the sensor's tolerance
    REGISTER_FELL = 8  # a cumulative register is below its predecessor's
    LATE = 16  # came behind the meter's judged time
    UNPLACED = 32  # waits for a trusted clock


MARK_NAMES = {
    Mark.ANCHORED: "time_anchored",
    Mark.NEIGHBOURED: "time_neighboured",
    Mark.PHYSICS: "physics",
    Mark.REGISTER_FELL: "register_fell",
    Mark.LATE: "came_late",
    Mark.UNPLACED: "unplaced",
}


class Stored(Struct, gc=False):
    """A reading that is safe on disk and placed in time.

    `row` rises in the order of commits; `at_ms` is the placed wall time of the window's end;
    `received_ms` the gateway's clock when it came; `marks` are bits of `Mark`.
    """

    row: int
    meter: str
    boot: int
    seq: int
    n: int
    up_ms: int
    t_ms: int | None
    at_ms: int
    received_ms: int
    dt_ms: int
    marks: int
    v: float | None
    f: float | None
    ch: dict[str, Channel]
    flags: tuple[str, ...] = ()
    aux: dict[str, float] | None = None


def apparent_power_va(voltage_v: float | None, current_a: float | None) -> float | None:
    """Return S = V·I in VA (IEC 80000-6), or None where either is not measured."""
    return None if voltage_v is None or current_a is None else voltage_v * current_a


def power_factor(power_w: float | None, apparent_va: float | None) -> float | None:
    """Return |P|/S, or None below 1 VA, where the ratio is only noise (contract, section 3)."""
    if power_w is None or apparent_va is None or apparent_va < 1:
        return None
    return abs(power_w) / apparent_va


class GapSpan(NamedTuple):
    """A time for which windows are missing (rule G); `state` provisional or final."""

    from_ms: int
    to_ms: int
    state: str

"""Turn rows of the readings table back into readings."""

from typing import Any

import msgspec

from gateway.domain.readings import Channel, Stored

COLUMNS = "row, boot_no, seq, n, up_ms, t_ms, at_ms, received_ms, dt_ms, marks, body"
_Values = tuple[
    float | None, float | None, float | None, float | None, float | None, float | None, float | None
]


class _Body(msgspec.Struct, array_like=True, gc=False):
    """What `pack` (services/planner.py) wrote; channel values in the order of `Channel`."""

    v: float | None
    f: float | None
    names: list[str]
    values: list[_Values]
    flags: tuple[str, ...]
    aux: dict[str, float] | None


_decode = msgspec.msgpack.Decoder(_Body).decode


def stored(row: tuple[Any, ...], meter: str, boot: int) -> Stored:
    """Return one row (in the order of COLUMNS) as a reading; unplaced ones have `at_ms` 0."""
    number, _, seq, n, up_ms, t_ms, at_ms, received_ms, dt_ms, marks, body = row
    parts = _decode(body)
    channels = {
        name: Channel(*values) for name, values in zip(parts.names, parts.values, strict=True)
    }
    return Stored(
        number, meter, boot, seq, n, up_ms, t_ms, 0 if at_ms is None else at_ms, received_ms,
        dt_ms, marks, parts.v, parts.f, channels, parts.flags, parts.aux,
    )  # fmt: skip

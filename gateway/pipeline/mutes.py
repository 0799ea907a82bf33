"""Kinds of alerts that somebody does not want to hear of."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.domain.alerts import AlertKey, AlertKind


@dataclass(frozen=True, slots=True)
class Mute:
    """One kind of one meter ("" = the gateway); `channel` None = all of it.

    `until_ms` None = until somebody removes it.
    """

    id: str
    meter: str
    channel: str | None
    kind: AlertKind
    until_ms: int | None
    created_ms: int
    created_by: str

    def covers(self, key: AlertKey, now_ms: int) -> bool:
        """Tell whether an alert of this key is not to be heard of now."""
        meter, channel, kind = key
        return (
            (meter, kind) == (self.meter, self.kind)
            and self.channel in (None, channel)
            and (self.until_ms is None or now_ms < self.until_ms)
        )


class MuteBook:
    """All mutes, in memory."""

    def __init__(self, mutes: Iterable[Mute] = ()) -> None:
        self.mutes = {mute.id: mute for mute in mutes}

    def covers(self, key: AlertKey, now_ms: int) -> bool:
        """Tell whether nobody wants to hear of this now."""
        return any(mute.covers(key, now_ms) for mute in self.mutes.values())

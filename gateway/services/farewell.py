"""Takes back what the broker retains of meters that were removed."""

from collections.abc import Callable
from typing import Final

from gateway.services.ledger import Ledger, Meter
from gateway.services.live import FIELDS
from gateway.services.rollout import Send

_TAILS: Final = ("state", "ack", "desired")  # contract, section 2: what is retained, and `live`


class Farewell:
    """Publishes an empty retained message for each topic of a removed meter.

    At its removal; when its last will arrives, which the broker sends a little later; and at each
    new connection, since the broker may not have been there at the removal.
    """

    def __init__(self, send: Send, ledger: Callable[[], Ledger]) -> None:
        self._send = send
        self._ledger = ledger

    def clear(self, meter: str) -> None:
        """Take all back; a no-op for a meter that is not removed."""
        if self._ledger().is_removed(meter):
            self._clear(self._ledger().meters[meter])

    def stated(self, meter: str, payload: bytes) -> None:
        """Hear a `state` message: a removed meter's is not to stay."""
        if payload:  # else it is our own
            self.clear(meter)

    def linked(self) -> None:
        """Do it for all removed meters, on a new connection."""
        for known in self._ledger().meters.values():
            if known.removed:
                self._clear(known)

    def _clear(self, meter: Meter) -> None:
        live = [f"live/{name}/{field}" for name in meter.info.channels for field in FIELDS]
        for tail in (*_TAILS, *live):
            self._send(meter.info.id, tail, b"", retain=True)

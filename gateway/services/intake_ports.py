"""What the intake needs from storage and from a broker."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Protocol

from gateway.services.batches import Ack, Batch
from gateway.services.ledger import Ledger

Deliver = Callable[[str, bytes, int, bool], None]  # topic, payload, token, retained


class IntakeStore(Protocol):
    """What the intake needs from storage."""

    async def load_ledger(self) -> Ledger:
        """Read what every meter has delivered."""

    def submit(self, batch: Batch) -> Future[None]:
        """Write a batch; the future is done when it is safe on disk."""


class Link(Protocol):
    """What the intake needs from a connected broker."""

    def acknowledge(self, tokens: Iterable[int]) -> None:
        """Tell the broker that these messages are safe."""

    def send_ack(self, ack: Ack, now_ms: int | None) -> None:
        """Tell a meter what is safe; a newer ack replaces one that waits."""

    def publish_live(self, topic: str, payload: str) -> None:
        """Publish a retained value at QoS 0."""

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1; what a broken connection swallows is sent again by whoever cares."""

    def pause(self) -> None:
        """Stop reading from the socket."""

    def resume(self) -> None:
        """Go on reading from the socket."""

    async def closed(self) -> None:
        """Return never; raise BrokerLostError when the connection is gone."""


class Session(Protocol):
    """A connection being made and ended."""

    async def __aenter__(self) -> Link:
        """Connect and subscribe, or raise BrokerLostError."""

    async def __aexit__(self, *error: object) -> None:
        """Disconnect; the broker keeps the session."""


Connect = Callable[[Deliver], Session]  # prepares a connection that hands messages over

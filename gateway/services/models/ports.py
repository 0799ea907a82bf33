"""What pulling needs of a repository, and how it says what went wrong."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from gateway.domain.errors import GatewayError


class Why(StrEnum):
    """What is wrong with what a repository says, in a word."""

    EXPIRED = "expired"
    ROLLBACK = "rollback"
    SIGNATURE = "signature"
    CONTENT = "content"
    ENDLESS = "endless"
    METADATA = "metadata"


class RegistryRefusedError(GatewayError):
    """What the repository offers must not be believed: its publisher must look at it."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(f"{why}: {detail}")
        self.why = why
        self.detail = detail


class Offer(NamedTuple):
    """A target that signed metadata names; `custom` is what the publisher says of it.

    `expires_ms` is until when what vouches for it is good.
    """

    path: str
    length: int
    sha256: str
    custom: Mapping[str, Any]
    expires_ms: int


class Registry(Protocol):
    """A repository's verified view. All methods block: call them in a thread.

    They raise RegistryRefusedError, TransientError where the repository cannot be reached (which
    is normal), and StorageError where this machine's disk does not take what must be kept.
    """

    def offers(self, at_ms: int) -> Sequence[Offer]:
        """Look what there is, expiry judged as at that time (UTC ms)."""

    def fetch(self, offer: Offer) -> bytes:
        """Return an offered file, as long as its metadata says and with its hash."""


class Tried(NamedTuple):
    """What became of trying a model here: µs per minute of data, or why it must not run."""

    step_us: float | None
    why: str = ""


class Tryout(Protocol):
    """Tries a model where it can do no harm."""

    async def __call__(self, content: bytes) -> Tried:
        """Return its time per minute of data, or why it must not run here."""

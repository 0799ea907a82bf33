"""What fitted models have in common, whatever their kind: a limit, and bytes."""

from typing import Any, ClassVar, Protocol, Self

import msgspec

from tinymodels.detect.minutes import STEP_MS


class _Limited(Protocol):
    clear_part: ClassVar[float]

    @property
    def limit(self) -> float: ...


class FittedModel(msgspec.Struct, frozen=True):
    """A base for the parts of `contract.Model` that do not depend on how scores are made.

    What derives from it has a field `limit`.
    """

    clear_part: ClassVar[float] = 0.7  # of the limit

    @property
    def step_ms(self) -> int:
        """Five minutes."""
        return STEP_MS

    @property
    def clear_limit(self: _Limited) -> float:
        """Return the score below which all is usual again."""
        return self.clear_part * self.limit

    def with_limit(self, limit: float) -> Self:
        """Return the same model with another limit."""
        return msgspec.structs.replace(self, limit=limit)

    def to_bytes(self) -> bytes:
        """Return the model as msgpack."""
        return msgspec.msgpack.encode(self)

    def dump_state(self, state: Any) -> bytes:  # noqa: ANN401 - each kind has its own
        """Return the state as msgpack."""
        return msgspec.msgpack.encode(state)

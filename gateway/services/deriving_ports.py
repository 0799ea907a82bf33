"""What judging needs from storage, and of the bench that tries models from elsewhere."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from gateway.domain.alerts import Alert
from gateway.domain.meters import MeterInfo
from gateway.domain.readings import Stored
from gateway.pipeline.rollups import Bucket
from gateway.services.effects import Effects
from gateway.services.fitting import History
from gateway.services.tracks import Track

OWN = "combined"  # the kind of model the gateway fits by itself


class MeterRecord(NamedTuple):
    """One meter as the store knows it, with its stored position (row 0 = none)."""

    no: int
    info: MeterInfo
    channel_nos: dict[str, int]
    row: int
    at_ms: int
    state: bytes | None
    models: dict[str, bytes]  # channel -> what the gateway has fitted


class Next(NamedTuple):
    """One committed reading; `placed` False while it waits for a trusted clock."""

    meter_no: int
    placed: bool
    reading: Stored


class DeriveStore(Protocol):
    """What judging needs from storage."""

    async def load_meters(self) -> list[MeterRecord]:
        """Read every meter with its position."""

    async def load_alerts(self) -> tuple[list[Alert], list[Alert]]:
        """Read the alerts that are not resolved, and those resolved in the last day."""

    async def looked_at(self) -> int:
        """Read the row up to which nothing is left to do."""

    async def rows_after(self, row: int, limit: int) -> list[Next]:
        """Read committed readings in the order of their rows."""

    async def dirty(self) -> list[tuple[int, int, int, int]]:
        """Read (no, meter_no, from_ms, to_ms) of intervals that must be computed again."""

    async def history(
        self, channel_no: int, meter: str, channel: str, from_ms: int, until_ms: int
    ) -> History:
        """Read a channel's minutes in [from, until), and the alerts about it in that time."""

    async def commit(self, effects: Effects) -> None:
        """Write everything in one transaction, or raise StorageError."""


class ModelBench(Protocol):
    """Where models from elsewhere are tried. Called from the loop, quick, and never raises."""

    async def load(self) -> None:
        """Read what there is, before judging begins. Raises StorageError."""

    def chosen(self, meter: str) -> Mapping[str, Any]:
        """Return the models that shall judge a meter, by channel, in place of its own ones."""

    def memory(self, meter: str, channel: str) -> bytes | None:
        """Return what a chosen model remembers that begins to judge now, once; else None."""

    def minute(self, track: Track, channel: str, bucket: Bucket) -> None:
        """Take a minute that is over, in commit order; a part of one may come again."""

    def failed(self, meter: str, channel: str, error: str) -> None:
        """Hear that a channel's model failed; channel "": the judge did, whoever's fault it is."""


class NoBench:
    """Satisfies `ModelBench` where no models come from elsewhere."""

    async def load(self) -> None:
        """Read nothing."""

    def chosen(self, meter: str) -> Mapping[str, Any]:  # noqa: ARG002 - the port's
        """Return nothing."""
        return {}

    def memory(self, meter: str, channel: str) -> bytes | None:  # noqa: ARG002 - the port's
        """Return nothing."""
        return None

    def minute(self, track: Track, channel: str, bucket: Bucket) -> None:
        """Take no notice."""

    def failed(self, meter: str, channel: str, error: str) -> None:
        """Take no notice."""

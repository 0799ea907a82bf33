"""What is kept of a meter's judging, to go on from after a start."""

import msgspec

from gateway.pipeline.rollups import ChannelRoll

# Windows of one boot may end a little out of order when the meter's clock is slewed.
LATE_MS = 2000


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A model that is being fitted: as of when, and whether the channel's history waits for it."""

    at_ms: int
    before_ms: int
    is_historic: bool


class Snapshot(msgspec.Struct, array_like=True):
    """What is stored with a judged position; the judge's part is opaque."""

    channels: dict[str, ChannelRoll]
    judge: bytes
    judge_failed: bool = False
    unjudged_from: int = 0
    asked: dict[str, Asked] = {}  # by channel; a crash must not cost a model, nor a day of it

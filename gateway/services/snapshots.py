"""What is kept of a meter's judging, to go on from after a start."""

import msgspec

from gateway.pipeline.rollups import ChannelRoll

# Windows of one boot may end a little out of order when the meter's clock is slewed.
LATE_MS = 2000


class Snapshot(msgspec.Struct, array_like=True):
    """What is stored with a judged position; the judge's part is opaque."""

    channels: dict[str, ChannelRoll]
    judge: bytes
    judge_failed: bool = False
    unjudged_from: int = 0

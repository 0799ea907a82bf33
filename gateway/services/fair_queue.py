"""What waits for the planner: in its order while it is little, by meter once it is a crowd.

A meter keeps each reading until an `ack` covers it, and sends it again. So readings that one meter
has too many of may go, undecoded, while others wait for their turn (decision 24).
"""

import asyncio
from collections import deque
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

log = structlog.get_logger()
MAX_BATCH_MESSAGES = 1000
MAX_BATCH_BYTES = 1_000_000  # some 5,000 readings, of a kilobyte each once they are taken apart
# A crowd begins here. A quarter of what the shipped broker lets be in flight: three batches of
# fewer than that, one planned and two being written, leave it room for the others' messages.
CROWD_MESSAGES = 500
CROWD_BYTES = MAX_BATCH_BYTES
# In a crowd a message weighs its bytes and this: small ones fill the broker's window by number.
MESSAGE_WEIGHT = 16_000
ROOM_WEIGHT = 4_000_000  # 250 small messages: below that nothing is dropped
SHARE_WEIGHT = ROOM_WEIGHT // 4  # of one meter; a meter's backlog goes by few messages at a time
MOST_OF_ONE = MAX_BATCH_MESSAGES // 4  # messages in a batch, while other meters are about
# A flood crowds out the others again and again for so long, without a pause of PAUSE_S. What is
# left of an outage, or was sent in one go, is stored before that.
FLOOD_S, PAUSE_S = 20.0, 5.0
ABOUT_S = 90.0  # a meter tells its state every minute
LOG_EVERY_S = 60.0
READ_ON_STEP_S, READ_ON_STEPS = 0.004, 25


class Message(NamedTuple):
    """One message from the broker; `token` acknowledges it."""

    topic: str
    payload: bytes
    token: int
    retained: bool
    received_ms: int


@dataclass(slots=True)
class _Lane:
    """What waits of one meter."""

    messages: deque[Message] = field(default_factory=deque)
    weight: int = 0
    is_over: bool = False  # has too much, until half of its share is free
    given: int = 0  # to the batch that is being taken


@dataclass(slots=True)
class _Crowding:
    """Since when, and when last, a meter had more than its share of a crowd."""

    since_s: float
    last_s: float


class FairQueue:
    """First come, first served within a meter, and turn by turn between meters in a crowd.

    The caller appends to `fresh`, adds to `size_bytes`, and calls `sort` once `fresh` has
    CROWD_MESSAGES, or `size_bytes` has grown beyond `sort_at_bytes`.
    """

    def __init__(self) -> None:
        self.fresh: deque[Message] = deque()
        self.size_bytes = 0  # of all that waits
        self.sort_at_bytes = CROWD_BYTES
        self.dropped = 0  # messages since the last batch
        self.heard_s: dict[str, float] = {}  # meter -> when (monotonic) it was answered
        self._lanes: dict[str, _Lane] = {}
        self._sorted = 0  # messages in lanes
        self._weight = 0  # of all lanes
        self._crowding: dict[str, _Crowding] = {}

    def __len__(self) -> int:
        return len(self.fresh) + self._sorted

    def sort(self, now_s: float) -> list[Message]:
        """Give what is fresh to the meters' lanes; return the readings that are too many.

        Those no longer wait. Only a meter that has held more than its share of a crowd, and twice
        what the others have on average, for FLOOD_S loses some; one that is alone never does.
        """
        about = self._about(now_s)
        dropped: list[Message] = []
        for message in self.fresh:
            topic, size = message.topic, len(message.payload)
            meter = meter_of(topic)
            lane = self._lanes.get(meter)
            if lane is None:
                lane = self._lanes[meter] = _Lane()
                about.add(meter)
            if lane.weight > SHARE_WEIGHT:
                others = len(about) - 1
                lane.is_over = self._floods(meter, lane, others, now_s) or lane.is_over
            elif lane.weight < SHARE_WEIGHT // 2:
                lane.is_over = False
            if lane.is_over and topic.endswith("/readings"):
                self.size_bytes -= size
                dropped.append(message)
                continue
            lane.messages.append(message)
            lane.weight += size + MESSAGE_WEIGHT
            self._weight += size + MESSAGE_WEIGHT
            self._sorted += 1
        self.fresh.clear()
        self.dropped += len(dropped)
        self.sort_at_bytes = self.size_bytes + CROWD_BYTES
        return dropped

    def take(self, now_s: float) -> list[Message]:
        """Return the next batch; in a crowd it must have been sorted."""
        self.dropped = 0
        if self._lanes:
            return self._take_in_turn(now_s)
        taken, self.fresh = list(self.fresh), deque()
        self.size_bytes = 0
        self.sort_at_bytes = CROWD_BYTES
        return taken

    def is_crowd(self) -> bool:
        """Tell whether what waits has to be sorted before a batch is taken."""
        return bool(self._lanes) or len(self.fresh) >= CROWD_MESSAGES

    def _take_in_turn(self, now_s: float) -> list[Message]:
        most = MOST_OF_ONE if len(self._about(now_s)) > 1 else MAX_BATCH_MESSAGES
        turn = deque(self._lanes.items())
        sated: list[tuple[str, _Lane]] = []
        taken: list[Message] = []
        size = 0
        while turn and len(taken) < MAX_BATCH_MESSAGES and size < MAX_BATCH_BYTES:
            meter, lane = turn.popleft()
            message = lane.messages.popleft()
            taken.append(message)
            size += len(message.payload)
            lane.weight -= len(message.payload) + MESSAGE_WEIGHT
            lane.given += 1
            if lane.messages:
                (turn if lane.given < most else sated).append((meter, lane))
        self._lanes = dict((*turn, *sated))  # who had no turn comes first in the next batch
        for lane in self._lanes.values():
            lane.given = 0
        self._sorted -= len(taken)
        self._weight -= size + len(taken) * MESSAGE_WEIGHT
        self.size_bytes -= size
        self.sort_at_bytes = self.size_bytes + CROWD_BYTES
        return taken

    def _about(self, now_s: float) -> set[str]:
        """Return the meters that have sent lately."""
        lately = {meter for meter, heard_s in self.heard_s.items() if now_s - heard_s < ABOUT_S}
        return lately | self._lanes.keys()

    def _floods(self, meter: str, lane: _Lane, others: int, now_s: float) -> bool:
        """Tell whether a meter that crowds out the others has done so for long."""
        if not self._crowds_out(lane, others):
            return False
        known = self._crowding.get(meter)
        if known is None or now_s - known.last_s > PAUSE_S:
            known = self._crowding[meter] = _Crowding(now_s, now_s)
        known.last_s = now_s
        return now_s - known.since_s >= FLOOD_S

    def _crowds_out(self, lane: _Lane, others: int) -> bool:
        rest = self._weight - lane.weight
        return others > 0 and self._weight > ROOM_WEIGHT and lane.weight * others >= 2 * rest


async def read_on(queue: FairQueue) -> None:
    """Let the loop read while a flood lasts, up to 0.1 s: it must not wait in the broker."""
    for _ in range(READ_ON_STEPS):
        before = queue.dropped
        await asyncio.sleep(READ_ON_STEP_S)
        if queue.dropped == before:
            return


def meter_of(topic: str) -> str:
    """Return the meter's part of a topic under ww/v1/."""
    return topic.split("/", 3)[2]


class BabbleBook:
    """Counts what was dropped, and says so in the log once a minute."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts
        self._told_s = -LOG_EVERY_S

    def tell(self, dropped: Iterable[Message], known: Container[str], now_s: float) -> None:
        """Add these messages to the counts; meters that are not `known` share one."""
        names = [meter_of(message.topic) for message in dropped]
        for name in names:
            key = name if name in known else ""
            self._counts[key] = self._counts.get(key, 0) + 1
        if now_s - self._told_s >= LOG_EVERY_S:
            self._told_s = now_s
            log.warning("meter_babbles", meters=sorted(set(names)), dropped_messages=self._counts)

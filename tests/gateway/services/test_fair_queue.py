"""Who gets a turn when more comes than the gateway can plan, and whose readings go."""

from gateway.services import fair_queue
from gateway.services.fair_queue import (
    ABOUT_S,
    FLOOD_S,
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    MOST_OF_ONE,
    PAUSE_S,
    BabbleBook,
    FairQueue,
    Message,
)

NOW_S = 1000.0
ARRAY = b"x" * 25_000  # 120 readings


def put(
    queue: FairQueue, meter: str, count: int, kind: str = "readings", what: bytes = b"{}"
) -> None:
    for _ in range(count):
        token = queue.size_bytes + len(queue)
        queue.fresh.append(Message(f"ww/v1/{meter}/{kind}", what, token, False, 0))  # noqa: FBT003 - a field
        queue.size_bytes += len(what)


def crowd(meters: int, each: int, what: bytes = b"{}") -> FairQueue:
    """Return a queue that holds so many messages of each meter, meter by meter."""
    queue = FairQueue()
    for number in range(meters):
        put(queue, f"m{number}", each, what=what)
    return queue


def crowd_on(queue: FairQueue, meter: str = "m0", what: bytes = b"{}") -> float:
    """Let a meter go on until it is a flood, of which nothing went yet; return when that is."""
    for second in range(0, int(FLOOD_S), 4):
        put(queue, meter, 1, what=what)
        assert queue.sort(NOW_S + second) == []
    return NOW_S + FLOOD_S


def meters_of(messages: list[Message]) -> list[str]:
    return [fair_queue.meter_of(message.topic) for message in messages]


def test_a_few_go_in_the_order_they_came() -> None:
    queue = crowd(3, 10)
    assert not queue.is_crowd()
    assert meters_of(queue.take(NOW_S)) == ["m0"] * 10 + ["m1"] * 10 + ["m2"] * 10
    assert (len(queue), queue.size_bytes) == (0, 0)


def test_in_a_crowd_a_quiet_meter_is_in_the_next_batch() -> None:
    queue = crowd(2, 2000)
    put(queue, "quiet", 1)
    assert queue.is_crowd()
    queue.sort(NOW_S)
    taken = meters_of(queue.take(NOW_S))
    assert taken[:3] == ["m0", "m1", "quiet"]
    assert taken.count("m0") == taken.count("m1") == MOST_OF_ONE


def test_who_had_no_turn_is_first_in_the_next_batch() -> None:
    queue = crowd(100, 2, ARRAY)
    queue.sort(NOW_S)
    first, second = meters_of(queue.take(NOW_S)), meters_of(queue.take(NOW_S))
    assert len(first) == MAX_BATCH_BYTES / len(ARRAY)
    assert not set(first) & set(second)


def test_one_meter_that_floods_loses_readings_and_the_others_none() -> None:
    queue = FairQueue()
    put(queue, "quiet", 3)
    put(queue, "m0", 2000)
    flood_s = crowd_on(queue)  # until then it may be all that it has
    put(queue, "m0", 2000)
    put(queue, "m0", 2, "events")
    put(queue, "quiet", 2)
    total = len(queue)
    dropped = queue.sort(flood_s)
    assert {message.topic for message in dropped} == {"ww/v1/m0/readings"}
    assert len(dropped) == 2000  # the broker's window stays open for others
    assert len(queue) + len(dropped) == total
    left = []
    while queue:
        left += queue.take(flood_s)
    assert meters_of(left).count("quiet") == 5
    assert [m.topic for m in left].count("ww/v1/m0/events") == 2
    assert queue.size_bytes == 0
    order = [m.token for m in left if m.topic == "ww/v1/m0/readings"]
    assert order == sorted(order)


def test_a_pause_makes_it_another_crowd() -> None:
    queue = FairQueue()
    put(queue, "quiet", 1)
    put(queue, "m0", 2000)
    flood_s = crowd_on(queue) + PAUSE_S
    put(queue, "m0", 1)
    assert queue.sort(flood_s) == []


def test_a_crowd_that_is_over_in_time_loses_nothing() -> None:
    queue = FairQueue()
    put(queue, "quiet", 1)
    for second in range(0, int(4 * FLOOD_S), int(PAUSE_S) + 1):
        put(queue, "m0", 2000)
        assert queue.sort(NOW_S + second) == []
        while len(queue):
            queue.take(NOW_S + second)


def test_large_messages_count_by_their_bytes() -> None:
    queue = crowd(1, 400, ARRAY)
    put(queue, "quiet", 1)
    queue.sort(NOW_S)  # it was alone when its messages came
    flood_s = crowd_on(queue, what=ARRAY)
    put(queue, "m0", 100, what=ARRAY)
    assert len(queue.sort(flood_s)) == 100


def test_a_meter_that_is_alone_loses_nothing() -> None:
    queue = crowd(1, 5000)
    assert queue.sort(NOW_S) == []
    assert len(queue.take(NOW_S)) == MAX_BATCH_MESSAGES
    queue.heard_s = {"m0": NOW_S, "gone": NOW_S - ABOUT_S}
    put(queue, "m0", 1000)
    assert queue.sort(NOW_S) == []
    assert queue.sort(crowd_on(queue)) == []


def test_one_that_was_heard_lately_makes_it_a_crowd() -> None:
    queue = crowd(1, 1000)
    queue.heard_s = {"quiet": NOW_S - 10}  # its message may stand behind these in the broker
    flood_s = crowd_on(queue)
    put(queue, "m0", 10)
    assert len(queue.sort(flood_s)) == 10


def test_meters_with_equal_backlogs_lose_nothing() -> None:
    queue = FairQueue()
    for _ in range(200):
        for number in range(20):
            put(queue, f"m{number}", 1)
    assert queue.sort(NOW_S) == []
    crowd_on(queue, "m3")
    taken = meters_of(queue.take(NOW_S))
    assert {taken.count(f"m{number}") for number in range(20)} == {MAX_BATCH_MESSAGES // 20}


def test_it_takes_readings_again_once_there_is_room() -> None:
    queue = crowd(1, 1000)
    queue.heard_s = {"quiet": NOW_S}
    flood_s = crowd_on(queue)
    put(queue, "m0", 1)
    assert queue.sort(flood_s)
    while len(queue):
        queue.take(flood_s)
    put(queue, "m0", 30)
    assert queue.sort(flood_s) == []


def test_strangers_share_one_count() -> None:
    counts: dict[str, int] = {}
    book = BabbleBook(counts)
    queue = crowd(3, 5)
    book.tell(list(queue.fresh), {"m0"}, NOW_S)
    assert counts == {"m0": 5, "": 10}

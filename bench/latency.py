"""Publish at a steady rate and time each reading until an application ack covers it.

The ack follows the commit, so this is an upper bound of publish → committed.
"""

import time
from dataclasses import dataclass

import msgspec

from bench.load import BOOT, METERS, Ack, messages, meter_name
from bench.traffic import Wire

WARM_UP_S = 3.0  # let the gateway see the rate before it counts
SHORTEST_WINDOW_MS = 100  # of the protocol


@dataclass
class Outcome:
    """Latencies of the measured readings, in ms, and how many got no ack."""

    latencies_ms: list[float]
    unanswered: int


class LatencyProbe:
    """One connection that publishes in a fixed rhythm and follows the acks."""

    def __init__(self, port: int) -> None:
        self._sent: dict[str, list[float]] = {meter_name(i): [] for i in range(METERS)}
        self._done: dict[str, list[float]] = {meter_name(i): [] for i in range(METERS)}
        self._decode = msgspec.json.Decoder(Ack).decode
        self._wire = Wire(port, "bench-latency")
        self._wire.subscribe("ww/v1/+/ack")

    def _listen(self, until_s: float) -> None:
        """Send what waits; follow the acks until a moment (monotonic s)."""
        for topic, body in self._wire.turn(until_s):
            now = time.monotonic()
            ack = self._decode(body)
            meter = topic.split("/", 3)[2]
            if ack.boot != BOOT or meter not in self._done:
                continue
            done = self._done[meter]
            newly = min(ack.upto + 1, len(self._sent[meter])) - len(done)
            done.extend([now] * max(newly, 0))

    def run(self, rate: int, seconds: float) -> Outcome:
        """Publish `rate` readings a second, all meters in turn; wait for the last acks.

        Where a window would be shorter than any may be, the meters' time runs faster than
        ours and starts as much earlier, so that no reading is in the future. A reading's clock
        starts when it was due: a machine that is late with it has no excuse.
        """
        total = int(rate * (seconds + WARM_UP_S))
        window_ms = max(SHORTEST_WINDOW_MS, 1000 * METERS // rate)
        ahead_ms = window_ms * total // METERS - int((seconds + WARM_UP_S) * 1000)
        windows = messages(int(time.time() * 1000) - ahead_ms, window_ms)
        with self._wire:
            began = time.monotonic()
            for count, (meter, _, body) in enumerate(windows):
                if count == total:
                    break
                due = began + count / rate
                if due > time.monotonic():
                    self._listen(due)
                self._sent[meter].append(due)
                self._wire.publish(f"ww/v1/{meter}/readings", body)
            self._wait_all(within_s=15)
        return self._outcome(began + WARM_UP_S)

    def _wait_all(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self._listen(time.monotonic() + 0.05)
            if all(len(self._sent[m]) == len(self._done[m]) for m in self._sent):
                return

    def _outcome(self, since: float) -> Outcome:
        latencies: list[float] = []
        unanswered = 0
        for meter, sent in self._sent.items():
            done = self._done[meter]
            unanswered += len(sent) - len(done)
            pairs = zip(sent, done, strict=False)  # those without an ack are counted above
            latencies += [(end - start) * 1000 for start, end in pairs if start >= since]
        return Outcome(latencies, unanswered)


def measure(port: int, rate: int, seconds: float) -> Outcome:
    """Measure one rate against a gateway that has never seen these meters."""
    return LatencyProbe(port).run(rate, seconds)

"""A meter that does not wait for its acks: it sends what it holds over and over, at a rate."""

import contextlib
import json
import threading
import time
from itertools import cycle
from typing import Final, Self

from tests.support.meter_client import MeterClient
from tests.support.readings import Reading, recent_house

ARRAY: Final = 120  # the most one message may hold
BOOT: Final = 99
WINDOW: Final = 20  # arrays that a meter that behaves sends before it waits
CHANNELS: Final = ("grid", *(f"load{n}" for n in range(1, 6)))


def widened(reading: Reading) -> Reading:
    """Return a reading with as many channels as a meter may have: the most work for a gateway."""
    return reading | {"ch": dict.fromkeys(CHANNELS, reading["ch"]["grid"])}


class Babbler:
    """Publishes arrays of 120 readings, `rate` messages a second; a context manager.

    `distinct` arrays are its memory: once all were sent it begins again, whatever was covered.
    """

    def __init__(self, meter: str, port: int, rate: float, *, distinct: int = 200) -> None:
        self.meter = MeterClient(meter, port, boot=BOOT, announce=False)
        house = recent_house(windows=distinct * ARRAY, boot=BOOT, dt_ms=100)
        self.readings: list[Reading] = [widened(house.next()) for _ in range(distinct * ARRAY)]
        self.sent = 0  # messages
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._babble, daemon=True)
        self._arrays = [
            json.dumps(self.readings[at : at + ARRAY]).encode()
            for at in range(0, len(self.readings), ARRAY)
        ]

    def __enter__(self) -> Self:
        self.meter.connect()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.meter.close()

    def stop(self) -> None:
        """Babble no more."""
        self._stop.set()
        self._thread.join(timeout=60)

    def behave(self, *, within_s: float) -> None:
        """Send again what no ack covers, as the contract asks, until all is covered."""
        deadline = time.monotonic() + within_s
        while (upto := self.meter.covered()) + 1 < len(self.readings):
            if time.monotonic() > deadline:
                msg = f"covered up to {upto} of {len(self.readings)}"
                raise TimeoutError(msg)
            self._send_window((upto + 1) // ARRAY)

    def _send_window(self, first: int) -> None:
        """Send some arrays and wait for their ack; as the contract has it, for ten seconds."""
        window = self._arrays[first : first + WINDOW]
        for array in window:
            self.meter.publish_raw(array)
        end = (first + len(window)) * ARRAY - 1
        with contextlib.suppress(TimeoutError):
            self.meter.wait(lambda: self.meter.covered() >= end, 10, "no ack")

    def _babble(self) -> None:
        began_s = time.monotonic()
        for array in cycle(self._arrays):
            if self._stop.wait(max(0.0, began_s + self.sent / self._rate - time.monotonic())):
                return
            self.meter.publish_unheard(array)
            self.sent += 1

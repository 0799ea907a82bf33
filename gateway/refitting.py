"""The process that fits a model: `python -m gateway.refitting`, order on stdin, model on stdout.

Its work takes seconds and tens of megabytes. Here it has a low priority, shares no
interpreter lock with the judging, can be stopped, and gives all memory back when it ends.
"""

import os
import resource
import sys
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.errors import BadInputError
from gateway.services.fitting import Fitted, History, fit_channel
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.contract import Options

LENGTH_BYTES = 4
LOW_PRIORITY = 10  # well behind the judging, and not starved by what else a machine does
MOST_CPU_S = 600
MOST_MEMORY_BYTES = 1 << 30


class Order(msgspec.Struct, array_like=True):
    """What to fit; the history's table (`History.table`) follows it."""

    spans: list[tuple[int, int]]
    zone: str
    alarms_per_month: float
    voltage: bool
    seed: int
    champion: bytes
    before_ms: int


class Answer(msgspec.Struct, array_like=True):
    """The model ("" and why where there is none, or an error) and the most memory it took."""

    model: bytes = b""
    memory: bytes = b""
    why: str = ""
    error: str = ""
    peak_mb: float = 0.0

    def fitted(self) -> Fitted | None:
        """Return the model, None where the old one stays."""
        if not self.model:
            return None
        return Fitted(CombinedModel.from_bytes(self.model), self.memory, self.why, self.peak_mb)


def order_of(
    history: History, options: Options, champion: CombinedModel | None, before_ms: int
) -> tuple[bytes, memoryview]:
    """Return the two pieces of an order as they go to the process, one after the other.

    The second is the history itself: eight weeks of it are 8 MB, and nobody makes a copy.
    """
    table, spans = history.table()
    order = msgspec.msgpack.encode(
        Order(
            spans, options.zone.key or "UTC", options.alarms_per_month, options.voltage,
            options.seed, champion.to_bytes() if champion else b"", before_ms,
        )
    )  # fmt: skip
    return len(order).to_bytes(LENGTH_BYTES, "big") + order, table


def work(orders: BinaryIO) -> Answer:
    """Do what an order says."""
    length = int.from_bytes(orders.read(LENGTH_BYTES), "big")
    order = msgspec.msgpack.decode(orders.read(length), type=Order)
    history = History.of_table(orders.read(), order.spans)
    champion = CombinedModel.from_bytes(order.champion) if order.champion else None
    zone = ZoneInfo(order.zone)
    options = Options(zone, order.alarms_per_month, voltage=order.voltage, seed=order.seed)
    made = fit_channel(history, options, champion, order.before_ms)
    return Answer() if made is None else Answer(made.model.to_bytes(), made.memory, made.why)


def peak_mb() -> float:
    """Return the most memory that this program had resident; 0 where Linux does not tell.

    `ru_maxrss` would count the process that started this one: it lives on through exec.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def main() -> None:
    """Fit what stdin says, where it takes nothing from anybody."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what is logged goes elsewhere
    os.nice(LOW_PRIORITY)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    try:
        answer = work(sys.stdin.buffer)
    except (BadInputError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        answer = Answer(error=f"{type(error).__name__}: {error}"[:500])
    answer.peak_mb = peak_mb()
    answers.write(msgspec.msgpack.encode(answer))
    answers.flush()


if __name__ == "__main__":
    main()

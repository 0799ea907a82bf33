"""What the tests of the meter's keeping share: windows, power cuts, a gateway by the contract."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from unittest import mock

import checked
import records
import spool
from keeper import Keeper
from registers import Registers


@dataclass(slots=True)
class Window:
    """What the keeper reads of a window."""

    up_ms: int
    dt_ms: int = 1000
    v: float | None = 230.1
    f: float | None = 49.98
    i: list[float] = field(default_factory=list)
    p: list[float] = field(default_factory=list)
    q: list[float] = field(default_factory=list)
    flags: int = 0


class PowerCutError(BaseException):
    """The power fails; no program catches that."""


class Cuts:
    """Counts what is done to files, and cuts the power in the middle of one such step."""

    def __init__(self) -> None:
        self.steps = 0
        self.at: int | None = None  # cut at this step
        self.fail: Callable[[int], bool] = lambda _step: False  # `error` at this step
        self.error: Exception = OSError(5, "input/output error")
        self.part = 0.5  # how much of the write gets to the disk

    def due(self, *, may_fail: bool = True) -> bool:
        """Count a step and tell whether the power fails in it."""
        self.steps += 1
        if may_fail and self.fail(self.steps):
            raise self.error
        return self.at is not None and self.steps >= self.at


class _File:
    """A file opened for writing whose every step may be the last."""

    def __init__(self, file: IO[bytes], cuts: Cuts) -> None:
        self._file = file
        self._cuts = cuts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, where: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None and self._cuts.due():
            raise PowerCutError

    def write(self, data: bytes) -> int:
        if self._cuts.due():
            self._file.write(data[: int(len(data) * self._cuts.part)])
            self._file.close()
            raise PowerCutError
        return self._file.write(data)


class _Files:
    """Stands in for `os` where the firmware changes files."""

    listdir = staticmethod(os.listdir)
    stat = staticmethod(os.stat)

    def __init__(self, cuts: Cuts) -> None:
        self._cuts = cuts

    def open(self, path: str, mode: str) -> Any:  # noqa: ANN401 - as open itself
        """Open a file; for writing, that is a step of its own."""
        if mode not in {"wb", "ab"}:
            return Path(path).open(mode)
        if self._cuts.due():
            if self._cuts.part > 0.5:  # made, or truncated, and nothing written
                Path(path).open(mode).close()
            raise PowerCutError
        return _File(Path(path).open(mode), self._cuts)

    def remove(self, path: str) -> None:
        """Remove a file, or not before the power fails."""
        if self._cuts.due(may_fail=False):
            raise PowerCutError
        os.remove(path)  # noqa: PTH107 - it stands in for this

    def mkdir(self, path: str) -> None:
        """Make a directory, or not before the power fails."""
        if self._cuts.due():
            raise PowerCutError
        os.mkdir(path)  # noqa: PTH102 - it stands in for this


@contextmanager
def power(cuts: Cuts) -> Iterator[None]:
    """Have every change of files by the firmware go through `cuts`."""
    files = _Files(cuts)
    with ExitStack() as stack:
        for module in (spool, checked):
            stack.enter_context(mock.patch.object(module, "os", files))
            stack.enter_context(mock.patch.object(module, "open", files.open, create=True))
        yield


def on_flash(root: Path) -> list[tuple[int, int, int]]:
    """Return (boot, first, last) of every record on flash, read without the product's spool."""
    found = []
    for path in sorted((root / "spool").glob("*.seg")):
        number = int(path.stem, 16)
        with path.open("rb") as file:
            payload = records.read_frame(file, number)
            if payload is None:
                continue
            base = records.decode_header(payload)
            codec, minute = records.Codec(base), records.Minute(len(base.names))
            while (payload := records.read_frame(file, number)) is not None:
                if payload[0] & 3 == records.MINUTE:
                    codec.decode(payload, minute)
                    found.append((base.boot, minute.seq - minute.n + 1, minute.seq))
    return found


class Home:
    """A meter's flash, its keeper, and a load that changes with the window's number."""

    def __init__(self, root: Path, channels: int = 1, dt_ms: int = 1000) -> None:
        self.root = root
        self.names = ["grid", "solar", "load1", "load2", "load3", "load4"][:channels]
        self.dt_ms = dt_ms
        self.bootn = 0
        self.quota = 1 << 20
        self.up_ms = 0
        self.keeper: Keeper
        self.registers: Registers

    def boot(self) -> int:
        """Start the meter; return the boot's number."""
        self.bootn += 1
        self.up_ms = 0
        self.registers = Registers(str(self.root), self.names)
        self.keeper = Keeper(str(self.root), self.names, 1000 + self.bootn, self.bootn, self.quota)
        return self.keeper.boot

    def window(self, power_w: float = 500.0) -> int:
        """Make a window; return its seq."""
        self.up_ms += self.dt_ms
        count = len(self.names)
        window = Window(self.up_ms, self.dt_ms)
        window.p = [power_w * (1 - 2 * (k == 1)) + k for k in range(count)]
        window.i = [abs(p) / 230 for p in window.p]
        window.q = [p * 0.1 for p in window.p]
        for k in range(count):
            self.registers.add(k, window.p[k], self.dt_ms)
        return self.keeper.add(window, self.registers, None)


def in_ram(keeper: Keeper) -> range:
    """Return the windows in the keeper's ring."""
    ring = keeper._ring  # noqa: SLF001 - what it holds is what the tests are about
    return range(ring.lo, ring.end)


def untold(keeper: Keeper, boot: int) -> set[int]:
    """Return the windows of a boot that the keeper knows to be dropped, told or not."""
    ranges = keeper._drops._ranges  # noqa: SLF001 - as above
    return {seq for r in ranges if r.boot == boot for seq in range(r.first, r.last + 1)}


class Gateway:
    """The contract's other side: rows, gaps and acks, and a complaint about what it forbids."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[tuple[int, int], dict[str, Any]]] = {}
        self.done: dict[int, set[int]] = {}
        self.replaced = 0

    def readings(self, text: str | bytes) -> list[tuple[int, int, int]]:
        """Take a `readings` payload in; return (boot, first, last) of its readings."""
        assert len(text) <= 6000
        batch = json.loads(text)
        assert 1 <= len(batch) <= 120
        return [self._reading(reading) for reading in batch]

    def _reading(self, reading: dict[str, Any]) -> tuple[int, int, int]:
        boot, last = reading["boot"], reading["seq"]
        first = last - reading.get("n", 1) + 1
        rows = self.rows.setdefault(boot, {})
        done = self.done.setdefault(boot, set())
        inside = [row for row in rows if row[0] <= last and row[1] >= first]
        if first == last and inside:
            return boot, first, last  # a repetition
        for low, high in inside:
            assert first <= low, f"{first}…{last} overlaps {low}…{high} in part"
            assert high <= last, f"{first}…{last} overlaps {low}…{high} in part"
            self.replaced += 1
            del rows[low, high]
        rows[first, last] = reading
        done.update(range(first, last + 1))
        return boot, first, last

    def dropped(self, boot: int, first: int, last: int) -> None:
        """Take a `dropped` event in."""
        self.done.setdefault(boot, set()).update(range(first, last + 1))

    def state(self, boot: int, have: list[dict[str, int]]) -> None:
        """Take the `have` of a `state` in."""
        held = {entry["boot"]: entry["from"] for entry in have}
        for number, done in self.done.items():
            highest = max((high for _, high in self.rows.get(number, {})), default=-1)
            if number in held:
                done.update(range(min(held[number], highest + 1)))
            elif number < boot:  # the tests' boots are numbered in their order
                done.update(range(highest + 1))

    def upto(self, boot: int) -> int:
        """Return how far a boot is safe."""
        done = self.done.get(boot, set())
        upto = -1
        while upto + 1 in done:
            upto += 1
        return upto

    def ack(self) -> dict[str, object]:
        """Return an ack for every boot."""
        boots = sorted(self.done)
        entries = [{"boot": boot, "upto": self.upto(boot)} for boot in boots]
        if not entries:
            return {}
        newest = entries.pop()
        return {**newest, "more": entries, "now": None, "regs": {}}

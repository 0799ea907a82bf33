"""Runs in the MicroPython VM: keeper and registers, in RAM alone or over a littlefs image.

Arguments: what to do, and its own (see the functions). Prints one line of JSON at the end.
"""

import gc
import json
import os
import sys

from bootcount import next_boot
from keeper import Keeper
from registers import Registers
from ticks import ticks_diff, ticks_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from simflash import Flash

NAMES = ["grid", "solar", "load1", "load2", "load3", "load4"]


class Window:
    """A window of a home that changes all the time; numbers from a small generator."""

    def __init__(self, channels: int, seed: int) -> None:
        self.up_ms = 0
        self.dt_ms = 1000
        self.v: float | None = 230.0
        self.f: float | None = 50.0
        self.flags = 0
        self.i = [0.0] * channels
        self.p = [0.0] * channels
        self.q = [0.0] * channels
        self._seed = seed
        self._base = [200.0] * channels

    def _random(self, below: int) -> int:
        self._seed = (self._seed * 1103515245 + 12345) & 0x3FFFFFFF
        return (self._seed >> 8) % below

    def step(self, dt_ms: int = 1000) -> None:
        """Go on by a window: loads switch now and then, everything is noisy."""
        self.up_ms += dt_ms
        self.dt_ms = dt_ms
        self.v = 228.0 + self._random(500) / 100
        self.f = 49.95 + self._random(100) / 1000
        for k in range(len(self.p)):
            if self._random(120) == 0:
                self._base[k] = float((60, 200, 900, 2400, 5500)[self._random(5)])
            power = self._base[k] * (1 + self._random(100) / 2000)
            self.p[k] = -power if k == 1 else power
            self.q[k] = power * (self._random(40) - 10) / 100
            self.i[k] = (self.p[k] * self.p[k] + self.q[k] * self.q[k]) ** 0.5 / 230.0


def ram(root: str, channels: int, windows: int) -> "dict[str, object]":
    """Add and take for many windows with acks 5 behind; heap after each quarter, time a window."""
    names = NAMES[:channels]
    registers = Registers(root, names)
    keeper = Keeper(root, names, 7, 1)
    keeper.connected()
    window = Window(channels, 1)
    heap, busy_us, text_bytes = [], 0, 0
    for at in range(windows):
        window.step()
        begun = ticks_us()
        for k in range(channels):
            registers.add(k, window.p[k], 1000)
        seq = keeper.add(window, registers, None)
        while True:
            taken = keeper.take(window.up_ms, None)
            if taken is None:
                break
            text_bytes += len(taken[0])
        keeper.covered({"boot": 7, "upto": seq - 5})
        if at % 60 == 0:
            registers.save()
            keeper.minute(window.up_ms, None)
        busy_us += ticks_diff(ticks_us(), begun)
        if at % (windows // 4) == windows // 8:
            gc.collect()
            heap.append(gc.mem_alloc())  # type: ignore[attr-defined]
    return {"heap": heap, "us": busy_us / windows, "bytes": text_bytes / windows,
            "held": keeper.backlog()}  # fmt: skip


def days(root: str, channels: int, count: int) -> "dict[str, object]":
    """Spool `count` minutes of one window each 10 s; how many bytes they took."""
    names = NAMES[:channels]
    registers = Registers(root, names)
    keeper = Keeper(root, names, 7, 1)
    window = Window(channels, 5)
    begun = ticks_us()
    for _ in range(count):
        for _ in range(6):
            window.step(10000)
            for k in range(channels):
                registers.add(k, window.p[k], 10000)
            keeper.add(window, registers, [1.5] * channels)
        keeper.minute(window.up_ms, 1763760000000)
    size = 0
    for name in os.listdir(root + "/spool"):
        size += os.stat(root + "/spool/" + name)[6]
    minutes_us = ticks_diff(ticks_us(), begun) / count
    found = {"bytes": size, "us": minutes_us, "held": keeper.backlog(), "have": keeper.have(),
             "dropped": keeper.dropped()}  # fmt: skip
    del keeper
    gc.collect()
    begun = ticks_us()
    keeper = Keeper(root, names, 8, 2)
    found["scan_us"] = ticks_diff(ticks_us(), begun)
    found["after"] = keeper.backlog()
    return found


def told(line: "dict[str, object]") -> None:
    """Tell the parent, which sees it even when this process is killed a moment later."""
    text = json.dumps(line) + "\n"
    with open(sys.argv[-1], "a") as log:
        log.write(text)


def life(root: str, seed: int, windows: int, flash: "Flash | None") -> "dict[str, object]":
    """Be a meter with one clamp, offline, until the power is cut; tell what must be there then."""
    assert flash is not None
    registers = Registers(root, NAMES[:1])
    before = registers.mwh_in[0]
    boot, bootn = next_boot(root, lambda: seed)
    keeper = Keeper(root, NAMES[:1], boot, bootn)
    told({"begun": before, "bootn": bootn, "have": keeper.have(), "backlog": keeper.backlog(),
          "failed": keeper.failed_writes})  # fmt: skip
    window = Window(1, seed)
    for at in range(1, windows + 1):
        window.step(10000)
        registers.add(0, 3600.0, 10000)
        keeper.add(window, registers, None)
        gc.collect()  # as the app does
        if at % 6 == 0:
            told({"count": registers.mwh_in[0], "seq": keeper.seq})
            registers.save()
            keeper.minute(window.up_ms, None)
            told({"saved": registers.mwh_in[0], "backlog": keeper.backlog()})
    return {"writes": flash.writes, "erases": flash.erases}


def count_by_block() -> "list[int]":
    """Have the flash count the erases of each block."""
    import simflash  # noqa: PLC0415 - only with an image

    blocks = [0] * 1024
    plain = simflash.Flash.ioctl

    def counted(flash: "Flash", what: int, argument: int) -> "int | None":
        if what == simflash.ERASE:
            blocks[argument] += 1
        return plain(flash, what, argument)

    simflash.Flash.ioctl = counted  # type: ignore[method-assign, assignment]
    return blocks


def wear(
    root: str, channels: int, minutes: int, flash: "Flash | None", blocks: "list[int]"
) -> "dict[str, object]":
    """Be a meter for some minutes; block erases with registers alone, then offline with a spool."""
    assert flash is not None
    names = NAMES[:channels]
    registers = Registers(root, names)
    keeper = Keeper(root, names, 9, 1)
    window = Window(channels, 3)
    erases = []
    for online in (True, False):
        before = flash.erases
        for _ in range(minutes):
            for _ in range(6):
                window.step(10000)
                for k in range(channels):
                    registers.add(k, window.p[k], 10000)
                seq = keeper.add(window, registers, [1.5] * channels)
                if online:
                    keeper.covered({"boot": 9, "upto": seq})
            registers.save()
            keeper.minute(window.up_ms, None)
        erases.append(flash.erases - before)
    return {"online": erases[0], "offline": erases[1], "worst": max(blocks),
            "used": sum([1 for erased in blocks if erased])}  # fmt: skip


def main() -> None:
    """Run what the first argument names; `image:cut` mounts a littlefs first."""
    what, place, first, second = sys.argv[1:5]
    flash: Flash | None = None
    blocks: list[int] = []
    root = place
    if ":" in place:
        import simflash  # noqa: PLC0415 - only with an image

        image, size, cut = place.split(":")
        blocks = count_by_block()  # before mounting: littlefs keeps the methods it finds
        flash = simflash.mount(image, int(size), int(cut) or None, "/flash")
        root = "/flash"
    if what == "ram":
        done = ram(root, int(first), int(second))
    elif what == "days":
        done = days(root, int(first), int(second))
    elif what == "life":
        done = life(root, int(first), int(second), flash)
    else:
        done = wear(root, int(first), int(second), flash, blocks)
    print(json.dumps(done))


main()

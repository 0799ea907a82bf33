"""The board page of the ESP32 (and S3, C3): pins, converter, Wi-Fi, watchdog, relay.

An external converter would be attached here and nowhere else: `readers` returns its
read functions (unsigned 16-bit, the code in the upper 12 bits) instead of those of
ADC1, and `linear` becomes `straight()`.
"""

import asyncio
import gc
import os
import struct

import machine
import network
from linear import Pairs, straight, table
from ticks import ticks_add, ticks_diff, ticks_ms, ticks_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

# Wiring by chip, see docs/wiring.md: (voltage and clamps, relay, lamp). Inputs are of ADC1,
# since ADC2 is Wi-Fi's; pins that set how the chip boots (S3: 3, C3: 2) are no inputs.
# The ESP32's modules lead out six pins of ADC1: one voltage, five clamps.
WIRING = (
    ("ESP32S3", (1, 2, 4, 5, 6, 7, 8), 9, 21),
    ("ESP32C3", (0, 1, 3, 4), 10, 8),
    ("ESP32", (36, 39, 34, 35, 32, 33), 26, 2),
)
FRAME_US = 250
READ_US = 35
WATCHDOG_MS = 20_000  # several windows, and longer than any single wait of the firmware
WIFI_MS = 20_000
PAIRS = 6000  # about 0.7 s: 35 cycles, so that every part of the swing is seen often
RETRY_BURSTS = 400  # about a minute
CAUSES = ("", "power", "hard", "watchdog", "sleep", "soft")


def wiring(name: str) -> "tuple[tuple[int, ...], int, int]":
    """Return the pins of the chip in a machine's name. ValueError for an unknown one."""
    for chip, inputs, relay, lamp in WIRING:
        if name.endswith(chip):
            return inputs, relay, lamp
    raise ValueError(name)


class Board:
    """See typings/hardware.pyi. ValueError for more clamps than the chip has pins."""

    frame_us = FRAME_US
    read_us = READ_US
    root = ""

    def __init__(self, clamps: int) -> None:
        pins, relay, lamp = wiring(os.uname().machine)
        if not 0 < clamps < len(pins):
            msg = f"clamps: 1 to {len(pins) - 1} on this chip"
            raise ValueError(msg)
        self.clamps = clamps
        self._relay = machine.Pin(relay, machine.Pin.OUT, value=0)
        self._lamp = machine.Pin(lamp, machine.Pin.OUT, value=0)
        atten = machine.ADC.ATTN_11DB
        self._inputs = [machine.ADC(machine.Pin(p), atten=atten) for p in pins[: clamps + 1]]
        self.calibrated = False
        self._bursts = 0
        self.linear: array[int] = straight()
        self.linearise()
        self._wlan = network.WLAN(network.STA_IF)
        self._up_ms = 0
        self._mark = ticks_ms()
        self._dog: machine.WDT | None = None

    def linearise(self) -> bool:
        """Learn the chip's eFuse calibration; False where no mains sweep the scale yet.

        MicroPython tells calibrated µV only of the input as it is now (read_uv makes its
        own conversion), while read_u16, which is fast, is raw. Both are read in turn
        while the mains move the voltage input over its swing: the calibration is a smooth
        function of the code (a line with a bend), so means of many pairs give it.
        """
        pairs = Pairs()
        adc = self._inputs[0]
        for _ in range(PAIRS):
            before = adc.read_u16() >> 4
            uv = adc.read_uv()
            pairs.add(before, uv, adc.read_u16() >> 4)
        learnt = table(pairs.points())
        if learnt is not None:
            self.linear = learnt
            self.calibrated = True
        return self.calibrated

    def open(self, frames: int) -> None:  # noqa: ARG002 - the simulated board needs it
        """Prepare a burst: collect garbage, and now and then try again to linearise."""
        gc.collect()
        if not self.calibrated:
            self._bursts += 1
            if self._bursts % RETRY_BURSTS == 0:
                self.linearise()

    def readers(self) -> "tuple[Callable[[], int], ...]":
        """Return the µs tick's reader, the voltage's and each clamp's."""
        reads: list[Callable[[], int]] = [adc.read_u16 for adc in self._inputs]
        reads.insert(0, ticks_us)
        return tuple(reads)

    async def pace(self) -> None:
        """Let the other tasks run once."""
        await asyncio.sleep(0)

    def up_ms(self) -> int:
        """Return ms since boot; ticks wrap after 12 days, so ask at least once a day."""
        now = ticks_ms()
        self._up_ms += ticks_diff(now, self._mark)
        self._mark = now
        return self._up_ms

    def feed(self) -> None:
        """Feed the watchdog; the first call starts it, and nothing can stop it then."""
        if self._dog is None:
            self._dog = machine.WDT(timeout=WATCHDOG_MS)
        self._dog.feed()

    def reset(self) -> None:
        """Boot again as after power-on."""
        machine.reset()

    def relay(self, on: bool) -> None:
        """Switch the relay."""
        self._relay.value(int(on))

    def identify(self, on: bool) -> None:
        """Switch the lamp."""
        self._lamp.value(int(on))

    def random32(self) -> int:
        """Return 32 bits of the hardware's generator."""
        return int(struct.unpack("<I", os.urandom(4))[0])

    def free_heap(self) -> int:
        """Return the heap's free bytes."""
        return int(gc.mem_free())  # type: ignore[attr-defined]  # MicroPython's alone

    def rssi(self) -> "int | None":
        """Return the signal in dBm while connected."""
        return self._wlan.status("rssi") if self._wlan.isconnected() else None

    async def wifi(self, ssid: str, password: str) -> bool:
        """Connect to a network within 20 s. False when it is not there or refuses us."""
        wlan = self._wlan
        try:
            wlan.active(True)
            # Power saving answers a broker only at every third beacon.
            wlan.config(pm=wlan.PM_NONE)
            if wlan.isconnected():
                wlan.disconnect()
            wlan.connect(ssid, password)
            until = ticks_add(ticks_ms(), WIFI_MS)
            while not wlan.isconnected() and ticks_diff(until, ticks_ms()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        except OSError:
            return False  # the driver is busy with the former try
        return wlan.isconnected()

    def chip(self) -> str:
        """Return the machine, its id and why it booted."""
        return f"{os.uname().machine} {machine.unique_id().hex()} {CAUSES[machine.reset_cause()]}"

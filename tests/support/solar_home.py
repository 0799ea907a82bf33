"""A house with panels and two loads whose meter tells of weeks, and then goes on live."""

import contextlib
import math
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

from tests.support.meter_client import MeterClient

MS_PER_HOUR = 3_600_000
DAY_MS = 24 * MS_PER_HOUR
FINE_MS = 300_000
COARSE_MS = 900_000
HOUR_S = 3600.0
PEAK_W = 3900.0
LARGEST_GROUP = 120


@dataclass
class SolarHome:
    """Repeatable powers by time of day; registers follow them. `solar` False: a flat.

    `kettle_w` is a load on top that may be switched at will.
    """

    solar: bool = True
    seed: int = 3
    kettle_w: float = 0.0
    registers: dict[str, list[float]] = field(default_factory=dict)

    def powers_w(self, at_s: float) -> dict[str, float]:
        """Return grid, solar and loads in W at a Unix time; grid is what remains."""
        hour = at_s / HOUR_S % 24
        day = int(at_s // 86_400)
        cloud = 0.45 + 0.55 * random.Random(f"{self.seed}/{day}").random()
        wave = 1 + 0.05 * math.sin(at_s / 97)
        heat = 900.0 * (math.sin(at_s / 2400 + day) > 0.2) * wave
        base = 190 + 60 * math.sin(at_s / 611) + 95 * (at_s % 2400 < 900) + self.kettle_w
        people = 850 * math.exp(-((hour - 7.5) ** 2)) + 1500 * math.exp(-((hour - 19.5) ** 2) / 4)
        people *= 0.7 + 0.5 * random.Random(f"{self.seed}/{int(at_s // 1200)}").random()
        if not self.solar:
            return {"grid": base + 0.6 * people}
        sun = PEAK_W * cloud * max(0.0, math.sin(math.pi * (hour - 6) / 13)) ** 1.3
        sun *= 1 + 0.04 * math.sin(at_s / 31) if sun else 0
        car = 2300.0 * (day % 3 == 0 and 12 <= hour < 15)
        loads = {"load1": heat, "load2": car}
        return {"grid": base + people + heat + car - sun, "solar": sun, **loads}

    def window(self, boot: int, seq: int, end_ms: int, dt_ms: int, volts: float) -> dict[str, Any]:
        """Return one window that ends at `end_ms`; `up` counts from the boot's first window."""
        channels = {}
        for name, exact in self.powers_w((end_ms - dt_ms / 2) / 1000).items():
            watts = round(exact, 1)
            wh = self.registers.setdefault(name, [41_200.0, 8_100.0])
            wh[watts < 0] = round(wh[watts < 0] + abs(watts) * dt_ms / MS_PER_HOUR, 4)
            reactive = round(-0.12 * abs(watts), 1)
            amperes = math.ceil(math.hypot(watts, reactive) / volts * 1000) / 1000
            registers = {"wh_in": wh[0], "wh_out": wh[1]}
            channels[name] = {"i": amperes, "p": watts, "q": reactive, **registers}
        hertz = round(50 + 0.02 * math.sin(end_ms / 7000), 3)
        head = {"boot": boot, "seq": seq, "up": end_ms % 10**10, "t": end_ms, "dt": dt_ms}
        return {**head, "v": volts, "f": hertz, "ch": channels}


def volts_at(at_ms: int) -> float:
    """Return a usual mains voltage."""
    return round(231.5 + 2.2 * math.sin(at_ms / 3_900_000) + 0.6 * math.sin(at_ms / 41_000), 2)


class LiveHome:
    """A meter in a SolarHome; a context manager that sends a window each second.

    `days` of quarter hours, the last one in windows of five minutes, come first, with a hole
    of three hours two days ago.
    `volts` may be set to make the supply bad, `paused` to make the meter silent.
    """

    def __init__(self, port: int, meter: str, *, days: float, solar: bool = True) -> None:
        self.home = SolarHome(solar=solar)
        self.meter = MeterClient(meter, port, array=LARGEST_GROUP, window=20_000)
        self.volts: float | None = None
        self.paused = False
        self._days = days
        self._seq = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.meter.connect()
        self._send_past()
        self.meter.array = 1
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        with contextlib.suppress(RuntimeError):
            self.meter.close()

    def _next(self, end_ms: int, dt_ms: int) -> dict[str, Any]:
        seq, self._seq = self._seq, self._seq + 1
        volts = self.volts or volts_at(end_ms)
        return self.home.window(self.meter.boot, seq, end_ms, dt_ms, volts)

    def _send_past(self) -> None:
        now_ms = int(time.time() * 1000)
        end_ms = now_ms - int(self._days * DAY_MS)
        hole = range(now_ms - 50 * MS_PER_HOUR, now_ms - 47 * MS_PER_HOUR)
        readings = []
        while True:
            dt_ms = FINE_MS if now_ms - end_ms < DAY_MS else COARSE_MS
            end_ms += dt_ms
            if end_ms > now_ms - 1000:
                break
            if end_ms not in hole:
                readings.append(self._next(end_ms, dt_ms))
        self.meter.send(readings)
        if readings:
            self.meter.wait_covered(within_s=60)

    def _run(self) -> None:
        while not self._stop.wait(1.0 - time.time() % 1.0):
            if not self.paused:
                self.meter.send([self._next(int(time.time()) * 1000, 1000)])

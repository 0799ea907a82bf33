"""The operations of calibrations over memory, with a nominal meter of any clamps."""

import asyncio
import json
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from calibration.apply import Applied, applied
from calibration.nominal import A_PER_CODE, V_PER_CODE
from calibration.sums import parse
from gateway.adapters.memory_care import MemoryBundles, MemoryCalibrations, MemoryCommands
from gateway.domain.meters import MeterInfo
from gateway.services.calibrating import Calibrating
from gateway.services.calibration_operations import calibration_operations
from gateway.services.commands import Commands
from gateway.services.ledger import Ledger, Meter
from gateway.services.rollout import Rollout
from tests.gateway.services.site_rig import FakeNow
from tests.support.signing import Signer

NOISE = 3.2
INSTRUMENT = {"name": "PM-231", "class_pct": 0.2, "digit_v": 0.0, "digit_p": 0.0}


class Rig:
    """The operations, and the meter `kitchen`: 230 V, and through each clamp its `amps`.

    `runs` is the calibration it says it has; where it `obeys`, that is the one it was given last.
    """

    def __init__(self, channels: Sequence[str] = ("grid",)) -> None:
        self.ledger = Ledger()
        self.ledger.meters["kitchen"] = Meter(1, MeterInfo("kitchen"))
        self.amps = dict.fromkeys(channels, 0.0)
        self.off, self.refusal = 1.0, ""
        self.runs, self.obeys = 4, False
        self.random = np.random.default_rng(3)
        self.desired: list[dict[str, Any]] = []
        self.audit: list[str] = []
        self.now = FakeNow()
        self.commands = Commands(
            MemoryCommands(), self._send, lambda: self.ledger, self.now, self._note
        )
        self.rollout = Rollout(MemoryBundles(), self._send, lambda: self.ledger, self.now)
        self.store = MemoryCalibrations()
        self.calibrating = Calibrating(
            self.store, commands=self.commands, rollout=self.rollout,
            key=lambda: cast("Any", Signer(5)), latest=self._latest, now=self.now,
        )  # fmt: skip
        self.names = calibration_operations(self.calibrating, self._note, "home")

    async def _note(self, who: str, what: str, detail: str) -> None:
        self.audit.append(f"{who} {what} {detail}")

    def _send(self, meter: str, tail: str, payload: bytes, *, retain: bool = False) -> bool:
        body = json.loads(payload)
        assert retain == (tail == "desired")
        if tail == "desired":
            self.desired = body["bundles"]
            if self.obeys:
                asyncio.get_running_loop().call_soon(self._obey, meter)
        else:
            asyncio.get_running_loop().call_soon(self._answer, meter, body)
        return True

    def _obey(self, meter: str) -> None:
        self.runs = self.desired[0]["version"]
        told = {"kind": "model", "bundle": "calibration", "version": self.runs, "ok": True}
        self.rollout.event(meter, told)

    def _answer(self, meter: str, cmd: dict[str, Any]) -> None:
        told = {"up": 5, "versions": {"calibration": self.runs}}
        data = told if cmd["kind"] == "report" else self.sums()
        answer = {"id": cmd["id"], "ok": not self.refusal, "error": self.refusal, "data": data}
        self.commands.heard(meter, json.dumps(answer).encode())

    def _latest(self, meter: str) -> Any:  # noqa: ANN401 - what of a reading is looked at
        """Return a reading by the record that the meter runs, None where that is not from here."""
        if (meter, self.runs) not in self.store.kept:
            return None
        rows = {name: self.reads(name) for name in self.amps}
        volts = next(iter(rows.values())).v
        return SimpleNamespace(up_ms=5000, dt_ms=1000, v=volts, ch=rows)

    def reads(self, channel: str) -> Applied:
        """Return what the meter shows of a channel by the record that it runs."""
        record = self.store.kept["kitchen", self.runs].record
        return applied(record, channel, parse(self.sums()))

    def sums(self) -> dict[str, Any]:
        v = 230 / V_PER_CODE
        rows = {name: self._row(v, amps) for name, amps in self.amps.items()}
        return {"windows": 5, "f": 50.0, "v": {"rms": v, "mean": 2048.0}, "ch": rows}

    def _row(self, v: float, amps: float) -> dict[str, float]:
        i, chance = amps * self.off / A_PER_CODE, NOISE * v / math.sqrt(5 * 3000)
        p, q = v * i + self.random.normal(0, chance), self.random.normal(0, chance)
        return {"rms": math.hypot(i, NOISE), "mean": 2048.0, "p": p, "q": q, "clipped": 0}

    async def op(self, name: str, **args: object) -> Any:  # noqa: ANN401 - JSON
        return await self.names[f"calibration.{name}"]({"id": "kitchen", **args}, "ada")

    async def stretches(
        self, amps: float, n: int = 6, channel: str = "grid"
    ) -> list[dict[str, Any]]:
        self.amps = dict.fromkeys(self.amps, 0.0) | {channel: amps}
        return [(await self.op("collect", seconds=5))["sums"] for _ in range(n)]

    async def pairs(self, amps: float, channel: str = "grid") -> list[dict[str, Any]]:
        true = {"v": 230.0, "i": amps, "p": 230 * amps}
        found = await self.stretches(amps, channel=channel)
        return [{"sums": sums, "reference": true} for sums in found]

    async def measured(self, *loads: float, channels: Sequence[str] = ("grid",)) -> None:
        await self.op("begin", instrument=INSTRUMENT)
        await self.op("no_load", parts=await self.stretches(0.0, 12))
        for channel in channels:
            for amps in loads:
                await self.op("load", channel=channel, pairs=await self.pairs(amps, channel))

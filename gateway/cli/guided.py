"""The guided calibration: asks for loads, measures, says when it is enough, sends, checks."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import msgspec

from calibration.nominal import live
from calibration.points import Pair, settled
from calibration.sums import RawSums, combined
from gateway.cli.references import ReferenceSource, Say, Wanted
from gateway.domain.errors import BadInputError, GatewayError, TransientError

NO_LOAD_S = 60
LONGEST_S = 180  # of one load; what is not steady by then will not be
CONFIRM_S = 300.0
ASK_EVERY_S = 0.5
FAILURES_MOST = 20
COLLECT_TRIES, AGAIN_S = 3, 2.0

Ask = Callable[[str, dict[str, object]], dict[str, Any]]


class Person(Protocol):
    """Who can be asked, or nobody."""

    def wait(self, text: str) -> None:
        """Tell what to do, and wait until it is done."""

    def again(self, problem: str) -> bool:
        """Tell what is wrong with a load; return whether to measure it once more."""

    def back(self, problem: str) -> bool:
        """Tell what is wrong with the calibration; return whether to take it back."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be calibrated, and how."""

    meter: str
    instrument: dict[str, object]
    channels: Sequence[str] = ()  # empty: all
    stretch_s: int = 5
    reversed_ok: bool = False
    fresh: bool = False
    check: bool = True


class Guide:
    """One session; `ask` does the daemon's operations, which keep every step on disk."""

    def __init__(self, plan: Plan, ask: Ask, say: Say, person: Person) -> None:
        self._plan = plan
        self._ask = ask
        self._say = say
        self._person = person

    def sees(self, channel: str) -> float:
        """Return what flows through a clamp now, in W by nominal parts."""
        return live(self._collect(1)[0], channel).p

    def run(self, source: ReferenceSource) -> dict[str, Any]:
        """Go through the session; return the calibration. GatewayError says what to do."""
        plan = self._plan
        done = self._op("begin", instrument=plan.instrument, fresh=plan.fresh)
        if done["version"]:
            self._check_begun(done)
            self._say(f"going on with calibration {done['version']}, which was fitted already")
        else:
            done = self._measure(done, source)
        made = self._op("finish")
        self._say(f"calibration {made['version']} is signed and on its way to the meter")
        self._confirmed(int(made["version"]))
        if plan.check:
            self._check(done, source, int(made["version"]))
        self._op("drop")
        return self._op("show")

    def _check_begun(self, done: dict[str, Any]) -> None:
        """Refuse channels that a calibration which is fitted already did not measure."""
        measured = _channels_of(done)
        missing = [name for name in self._plan.channels if name not in measured]
        if missing:
            msg = (
                f"--channel: calibration {done['version']}, which is not finished, did not measure"
                f" {missing[0]}; begin anew: --fresh"
            )
            raise BadInputError(msg)

    def _measure(self, done: dict[str, Any], source: ReferenceSource) -> dict[str, Any]:
        if done["channels"]:
            self._say(f"going on: {len(done['loads'])} loads are measured already")
        else:
            done = self._no_load()
        for channel in self._channels(done):
            done = self._loads(channel, done, source)
        return done

    def _channels(self, done: dict[str, Any]) -> list[str]:
        known = list(done["channels"])
        unknown = [name for name in self._plan.channels if name not in known]
        if unknown:
            msg = f"--channel: the meter has no {unknown[0]!r}; it has {', '.join(known)}"
            raise BadInputError(msg)
        return list(self._plan.channels) or known

    # -- measuring ------------------------------------------------------------------------------

    def _no_load(self) -> dict[str, Any]:
        self._person.wait(
            "Without load: close every clamp around its wire, and switch off or unplug everything"
            " behind them."
        )
        parts: list[RawSums] = []
        while sum(part.windows for part in parts) < NO_LOAD_S - self._plan.stretch_s // 2:
            parts.append(self._collect(self._plan.stretch_s)[0])
            whole = combined(parts)
            noise = ", ".join(
                f"{name} {live(whole, name).i * 1000:.0f} mA" for name in whole.channels
            )
            self._say(f"  no load, {whole.windows} s: noise {noise}")
        return self._op("no_load", parts=[_plain(part) for part in parts])

    def _loads(self, channel: str, done: dict[str, Any], source: ReferenceSource) -> dict[str, Any]:
        failures = 0
        while True:
            own = [one["i"] for one in done["loads"] if one["channel"] == channel]
            # What was measured last may still be on, for another clamp.
            last = [one["i"] for one in done["loads"][-1:]]
            wanted = Wanted(channel, len(own) + 1, [*own, *last])
            if not source.ready(wanted):
                break
            pairs, _ = self._watch(wanted, done, source)
            try:
                done = self._op(
                    "load", channel=channel, pairs=[_plain(pair) for pair in pairs],
                    reversed=self._plan.reversed_ok,
                )  # fmt: skip
            except BadInputError as error:
                failures += 1
                if failures >= FAILURES_MOST or not self._person.again(str(error)):
                    raise
        if not any(one["channel"] == channel for one in done["loads"]):
            msg = f"channel {channel}: no load was measured"
            raise BadInputError(msg)
        return done

    def _watch(
        self, wanted: Wanted, done: dict[str, Any], source: ReferenceSource
    ) -> tuple[list[Pair], list[dict[str, Any]]]:
        """Measure a load until it is enough; return stretches, and what the meter showed."""
        pairs: list[Pair] = []
        seen: list[dict[str, Any]] = []
        idle = float(done["idle_rms"].get(wanted.channel, 0.0))
        planned = source.readings()
        while True:
            began_s = time.time()
            parts = []
            first = source.read(began_s, began_s) if planned is not None else None
            for _ in range(source.stretches):
                sums, shown = self._collect(self._plan.stretch_s, shown=wanted.is_check)
                parts.append(sums)
                seen.append(shown)
            reference = first or source.read(began_s, time.time())
            pairs.append(Pair(combined(parts), reference))
            if self._is_enough(wanted, pairs, idle, planned):
                return pairs, seen

    def _is_enough(
        self, wanted: Wanted, pairs: Sequence[Pair], idle: float, planned: int | None
    ) -> bool:
        """Say how it stands, and whether it will do."""
        parts = [pair.sums for pair in pairs]
        if wanted.channel not in parts[-1].channels:
            return True  # the daemon will say so
        state = settled(wanted.channel, pairs, idle)
        figures = live(combined(parts), wanted.channel, idle**2)
        last = pairs[-1].reference
        scatter = "" if state.error > 1 else f", ± {100 * state.error:.2f} %"
        self._say(
            f"  {wanted.channel} {figures.i:.3g} A, {figures.p:.4g} W, {figures.v:.1f} V"
            f" (reference {last.p:.4g} W){scatter}, {state.windows} s"
            + (" - the load is restless" if state.restless else "")
        )
        if planned is not None:
            return len(pairs) >= planned
        if state.windows >= LONGEST_S and state.restless:
            self._say("  it does not keep still; what it scatters counts as uncertainty")
        if state.enough:
            self._say("  steady enough")
        return state.enough or state.windows >= LONGEST_S

    def _collect(self, seconds: int, *, shown: bool = False) -> tuple[RawSums, dict[str, Any]]:
        found = self._patiently("collect", seconds=seconds, shown=shown)
        return msgspec.convert(found["sums"], RawSums), dict(found["shown"])

    # -- afterwards -----------------------------------------------------------------------------

    def _confirmed(self, version: int) -> None:
        """Wait until the meter has taken the record. GatewayError tells why it did not."""
        until_s = time.monotonic() + CONFIRM_S
        told = ""
        while time.monotonic() < until_s:
            status = self._op("status")
            state = str(status.get("state", "")) if status.get("version") == version else ""
            if state != told:
                told = state
                self._say(f"  the meter: {state or 'waiting'}")
            if state == "running":
                return
            if state == "refused":
                why, detail = status.get("why"), status.get("detail")
                msg = (
                    f"the meter refused calibration {version}: {why} {detail or ''}. The one before"
                    f" stays in force; {_remedy(str(why))}"
                )
                raise GatewayError(msg)
            time.sleep(ASK_EVERY_S)
        msg = (
            f"the meter has not confirmed calibration {version} within {CONFIRM_S:.0f} s. It is"
            " announced and will be taken when the meter is back; then run this again to check it"
        )
        raise GatewayError(msg)

    def _check(self, done: dict[str, Any], source: ReferenceSource, version: int) -> None:
        """Check each channel that was measured, but none that agreed before an interruption."""
        agreed = {c["channel"]: c["passed"] for c in self._op("show", version=version)["checks"]}
        last = [one["i"] for one in done["loads"][-1:]]  # A, which may still be on
        for channel in self._plan.channels or _channels_of(done):
            if agreed.get(channel):
                continue
            wanted = Wanted(channel, len(done["loads"]) + 1, last, is_check=True)
            if not source.ready(wanted):
                self._say(f"  {channel} was not checked on another load")
                continue
            pairs, seen = self._watch(wanted, done, source)
            last = [pairs[-1].reference.i]
            mine = _mean([one[channel] for one in seen if channel in one])
            if mine is None:
                msg = f"channel {channel}: no reading of the meter came while it was checked"
                raise GatewayError(msg)
            args = {"pairs": [_plain(pair) for pair in pairs], "shown": mine}
            self._judged(channel, version, self._op("check", channel=channel, **args))

    def _judged(self, channel: str, version: int, check: dict[str, Any]) -> None:
        """Say how meter and reference agree. GatewayError when they do not, or it is taken back."""
        self._say(
            f"  check: the meter reads {check['error_pct']:+.2f} % off; ±"
            f" {check['allowed_pct']:.2f} % are explained"
        )
        if check["passed"]:
            return
        problem = (
            f"channel {channel}: the meter is {check['error_pct']:+.2f} % off at the check,"
            f" where ± {check['allowed_pct']:.2f} % are explained. Was the reference read"
            f" well, and nothing else running? Calibration {version} is in force all the same."
        )
        if self._person.back(problem):
            back = self._op("rollback")
            msg = (
                f"calibration {version} was taken back: the meter is given {back['version']},"
                f" {back['note']}"
            )
            raise GatewayError(msg)
        msg = (
            f"{problem} Calibrate again with --fresh, or go back to what was before, nominal parts"
            f" where nothing was: wattwarden meters calibration rollback {self._plan.meter}"
        )
        raise GatewayError(msg)

    def _patiently(self, name: str, **args: object) -> dict[str, Any]:
        """Do what a meter with a weak Wi-Fi may need another try for, and nothing is lost by."""
        for _ in range(COLLECT_TRIES - 1):
            try:
                return self._op(name, **args)
            except TransientError:
                self._say("  the meter has not measured in time; asking it again")
                time.sleep(AGAIN_S)
        return self._op(name, **args)

    def _op(self, name: str, **args: object) -> dict[str, Any]:
        return self._ask(f"calibration.{name}", {"id": self._plan.meter, **args})


def _channels_of(done: dict[str, Any]) -> list[str]:
    """Return the channels that have loads."""
    return list(dict.fromkeys(one["channel"] for one in done["loads"]))


def _remedy(why: str) -> str:
    known = {
        "signature": "its site key is not this gateway's: provision it again",
        "version": "it has had a higher one: run this again with --fresh",
        "size": "too many loads: take fewer",
    }
    return known.get(why, "run this again with --fresh")


def _plain(value: Pair | RawSums) -> dict[str, Any]:
    return asdict(value)


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Return the means of what a meter showed, None when it showed nothing."""
    if not rows:
        return None
    return {key: sum(row[key] for row in rows) / len(rows) for key in ("v", "i", "p", "q")}

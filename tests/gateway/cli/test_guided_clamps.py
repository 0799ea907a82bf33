"""The guided session over the daemon's own operations: meters with two clamps."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from calibration.nominal import nominal_channel
from gateway.cli import guided
from gateway.cli.guided import Guide, Plan
from gateway.cli.references import Listed
from gateway.domain.errors import BadInputError, GatewayError
from gateway.services import calibrating
from tests.gateway.services.calibrating_rig import INSTRUMENT, Rig

LOADS_A, CHECK_A = (1.0, 5.0), 3.0
BOTH = ("grid", "load1")


class Session:
    """Somebody with a file of readings, and a meter of two clamps that obeys."""

    def __init__(self, path: Path, loop: asyncio.Runner) -> None:
        self.rig = Rig(BOTH)
        self.rig.runs, self.rig.obeys = 0, True
        self.said: list[str] = []
        self._path, self._loop = path, loop

    def ask(self, name: str, args: dict[str, object]) -> dict[str, Any]:
        async def call() -> dict[str, Any]:
            done = await self.rig.names[name](args, "ada")
            await asyncio.sleep(0)  # the meter obeys
            return done

        return self._loop.run(call())

    def op(self, name: str, **args: object) -> dict[str, Any]:
        return self.ask(f"calibration.{name}", {"id": "kitchen", **args})

    def calibrate(
        self, *listed: str, unchecked: str = "", channels: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Go through a session with readings of these channels."""
        rows = ["load,channel,v,i,p"]
        for channel in listed:
            labels = [(str(k), amps) for k, amps in enumerate(LOADS_A, 1)]
            for label, amps in labels + [("check", CHECK_A)] * (channel != unchecked):
                rows += [f"{label},{channel},230,{amps},{230 * amps}"] * 3
        self._path.write_text("\n".join(rows) + "\n")
        plan = Plan("kitchen", {**INSTRUMENT}, channels)
        guide = Guide(plan, self.ask, self._say, self)
        return guide.run(Listed.load(self._path, guide.sees, self._say, 5.0))

    def _say(self, text: str) -> None:
        self.said.append(text)
        name, waiting, watts = text.partition(": waiting for about ")
        if waiting:
            self._put(name.split()[-1], float(watts.split()[0]) / 230)

    def _put(self, channel: str, amps: float) -> None:
        self.rig.amps = dict.fromkeys(self.rig.amps, 0.0) | {channel: amps}

    def wait(self, _: str) -> None:
        """Switch everything off."""
        self._put("grid", 0.0)

    def again(self, _: str) -> bool:
        """Give up."""
        return False

    def back(self, _: str) -> bool:
        """Leave it in force."""
        return False


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(calibrating, "LOOK_S", 0.001)  # readings come at once
    monkeypatch.setattr(guided, "ASK_EVERY_S", 0.001)
    monkeypatch.setattr(guided, "CONFIRM_S", 2.0)
    with asyncio.Runner() as loop:
        yield Session(tmp_path / "readings.csv", loop)


def channel(made: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a channel of a calibration's record."""
    return next(one for one in made["record"]["channels"] if one["name"] == name)


def is_over(session: Session) -> bool:
    """Tell whether no session is left; begins one."""
    return not session.op("begin", instrument=INSTRUMENT)["channels"]


def test_each_clamp_is_measured_and_checked(session: Session) -> None:
    made = session.calibrate(*BOTH)
    assert [one["channel"] for one in made["checks"]] == ["grid", "load1"]
    assert all(one["passed"] for one in made["checks"])
    assert made["state"] == "running"
    assert "grid was not checked" not in str(session.said)
    assert is_over(session)


def test_a_clamp_that_is_not_checked_ends_nothing(session: Session) -> None:
    made = session.calibrate(*BOTH, unchecked="grid")
    assert "  grid was not checked on another load" in session.said
    assert [one["channel"] for one in made["checks"]] == ["load1"]
    assert is_over(session)


def test_killed_between_two_checks_it_goes_on_with_the_second(session: Session) -> None:
    ask, checks = session.ask, 0

    def killed(name: str, args: dict[str, object]) -> dict[str, Any]:
        nonlocal checks
        checks += name == "calibration.check"
        if checks == 2:
            raise KeyboardInterrupt
        return ask(name, args)

    session.ask = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        session.calibrate(*BOTH)
    session.ask = ask  # type: ignore[method-assign]
    made = session.calibrate(*BOTH)
    assert [one["channel"] for one in made["checks"]] == ["grid", "load1"]
    assert is_over(session)


def test_one_clamp_alone_leaves_the_other_as_it_was(session: Session) -> None:
    first = session.calibrate("load1", channels=["load1"])
    assert [one["channel"] for one in first["points"]] == ["load1", "load1"]
    assert first["note"] == "grid by nominal parts"
    assert channel(first, "grid") == msgspec.to_builtins(nominal_channel("grid"))
    session.rig.off = 1.01  # the other one's constants will differ
    second = session.calibrate("grid", channels=["grid"])
    assert second["note"] == f"load1 as version {first['version']}"
    assert channel(second, "load1") == channel(first, "load1")
    assert channel(second, "grid") != channel(first, "grid")
    assert [one["channel"] for one in second["checks"]] == ["grid"]
    assert is_over(session)


def test_one_clamp_of_a_meter_whose_calibration_is_not_known_here(session: Session) -> None:
    session.rig.runs = 9
    with pytest.raises(BadInputError, match=r"load1 was not measured, and .* 9 was not made here"):
        session.calibrate("grid", channels=["grid"])


def test_going_on_with_a_clamp_that_was_not_measured(session: Session) -> None:
    session.rig.obeys = False
    with pytest.raises(GatewayError, match="not confirmed"):
        session.calibrate("grid", channels=["grid"])
    with pytest.raises(BadInputError, match="did not measure load1; begin anew: --fresh"):
        session.calibrate("load1", channels=["load1"])

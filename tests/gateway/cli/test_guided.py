"""The guided session on the terminal: what it asks, when it is satisfied, what ends it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest
from click.testing import CliRunner

from calibration.nominal import A_PER_CODE, V_PER_CODE
from gateway.cli import guided, references
from gateway.cli.calibrate import calibrate
from gateway.cli.guided import Guide, Plan
from gateway.cli.references import Listed, Logged, Typed, Wanted
from gateway.domain.errors import BadInputError, GatewayError, TransientError

UTC = ZoneInfo("UTC")
FIRST = Wanted("grid", 1, [])


class Daemon:
    """The operations of a daemon whose meter sees `amps`; `problems` are refusals to come."""

    def __init__(self) -> None:
        self.amps = 0.0
        self.calls: list[str] = []
        self.loads: list[float] = []
        self.channels: list[str] = []
        self.version = 0
        self.problems: list[str] = []
        self.silences = 0  # so often the meter does not answer
        self.state = {"version": 7, "state": "running"}
        self.passed = True

    def ask(self, name: str, args: dict[str, object]) -> dict[str, Any]:
        self.calls.append(name.removeprefix("calibration."))
        answer = getattr(self, "_" + self.calls[-1])(args)
        return dict(answer)

    def _session(self) -> dict[str, Any]:
        loads = [{"channel": "grid", "i": amps} for amps in self.loads]
        return {"version": self.version, "channels": self.channels, "loads": loads,
                "idle_rms": {"grid": 3.2}}  # fmt: skip

    def _begin(self, _: object) -> dict[str, Any]:
        return self._session()

    def _collect(self, args: dict[str, Any]) -> dict[str, Any]:
        if self.silences:
            self.silences -= 1
            msg = "meter kitchen got the order to measure too late"
            raise TransientError(msg)
        v, i = 230 / V_PER_CODE, self.amps / A_PER_CODE
        row = {"rms": (i * i + 10) ** 0.5, "mean": 2048.0, "p": v * i, "q": 0.0, "clipped": 0}
        sums = {"windows": args["seconds"], "f_hz": 50.0, "v_rms": v, "v_mean": 2048.0,
                "channels": {"grid": row}}  # fmt: skip
        shown = {"grid": {"v": 230.0, "i": self.amps, "p": 230 * self.amps, "q": 0.0}}
        return {"sums": sums, "shown": shown if args.get("shown") else {}}

    def _no_load(self, args: dict[str, Any]) -> dict[str, Any]:
        assert sum(part["windows"] for part in args["parts"]) >= 55
        self.channels = ["grid"]
        return self._session()

    def _load(self, args: dict[str, Any]) -> dict[str, Any]:
        if self.problems:
            raise BadInputError(self.problems.pop(0))
        self.loads.append(args["pairs"][0]["reference"]["i"])
        return self._session()

    def _finish(self, _: object) -> dict[str, Any]:
        self.version = 7
        return {"version": 7}

    def _status(self, _: object) -> dict[str, Any]:
        return self.state

    def _check(self, args: dict[str, Any]) -> dict[str, Any]:
        assert args["shown"]["p"] == pytest.approx(230 * self.amps)
        return {"passed": self.passed, "error_pct": 0.1, "allowed_pct": 0.3}

    def _drop(self, _: object) -> dict[str, Any]:
        return {}

    def _rollback(self, _: object) -> dict[str, Any]:
        return {"version": 8, "note": "nominal parts, as before version 7"}

    def _show(self, _: object) -> dict[str, Any]:
        return {"version": 7, "checks": []}


class Person:
    """Does what is asked, and gives up after `patience` problems."""

    def __init__(self, patience: int = 9) -> None:
        self.heard: list[str] = []
        self.patience = patience
        self.goes_back = False

    def wait(self, text: str) -> None:
        self.heard.append(text)

    def again(self, problem: str) -> bool:
        self.heard.append(problem)
        self.patience -= 1
        return self.patience >= 0

    def back(self, problem: str) -> bool:
        self.heard.append(problem)
        return self.goes_back


@pytest.fixture
def said() -> list[str]:
    return []


def listed(daemon: Daemon, path: Path, say: Callable[[str], None], *rows: str) -> Listed:
    path.write_text("load,channel,v,i,p\n" + "\n".join(rows) + "\n")

    def sees(_: str) -> float:
        return 230 * daemon.amps

    def told(text: str) -> None:
        say(text)
        if "waiting for about" in text:
            daemon.amps = float(text.split()[-2]) / 230

    return Listed.load(path, sees, told, 0.5)


ROWS = ("1,grid,230,1,230", "1,grid,230,1,230", "2,grid,230,,1150", "2,grid,230,,1150",
        "check,grid,230,3,690", "check,grid,230,3,690")  # fmt: skip


def guide(daemon: Daemon, said: list[str], person: Person | None = None, **plan: Any) -> Guide:  # noqa: ANN401
    chosen = Plan("kitchen", {"name": "x", "class_pct": 1.0}, **plan)
    return Guide(chosen, daemon.ask, said.append, person or Person())


def test_readings_of_a_file_make_a_session(tmp_path: Path, said: list[str]) -> None:
    daemon, person = Daemon(), Person()
    source = listed(daemon, tmp_path / "r.csv", said.append, *ROWS)
    made = guide(daemon, said, person).run(source)
    assert made["version"] == 7
    assert daemon.loads == pytest.approx([1.0, 5.0])
    assert "switch off or unplug everything" in person.heard[0]
    assert any("the meter reads +0.10 % off" in line for line in said)
    assert daemon.calls[-3:] == ["check", "drop", "show"]


def test_a_meter_that_does_not_answer_is_asked_again(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guided, "AGAIN_S", 0.0)
    daemon = Daemon()
    daemon.silences = 2
    source = listed(daemon, tmp_path / "r.csv", said.append, *ROWS)
    assert guide(daemon, said).run(source)["version"] == 7
    assert sum("asking it again" in line for line in said) == 2
    daemon = Daemon()
    daemon.silences = 3
    with pytest.raises(TransientError, match="too late"):
        guide(daemon, said).run(source)


def test_what_was_done_before_is_not_done_again(tmp_path: Path, said: list[str]) -> None:
    daemon = Daemon()
    daemon.channels, daemon.loads = ["grid"], [1.0]
    source = listed(daemon, tmp_path / "r.csv", said.append, *ROWS)
    guide(daemon, said).run(source)
    assert "no_load" not in daemon.calls
    assert daemon.loads == pytest.approx([1.0, 5.0])
    again = Daemon()
    again.version = 7
    guide(again, said, check=False).run(source)
    assert again.calls == ["begin", "finish", "status", "drop", "show"]


def test_a_load_that_was_wrong_is_measured_again_or_ends_it(
    tmp_path: Path, said: list[str]
) -> None:
    daemon, person = Daemon(), Person()
    daemon.problems = ["the clamp is on the wrong way round"]
    guide(daemon, said, person).run(listed(daemon, tmp_path / "r.csv", said.append, *ROWS))
    assert "wrong way round" in person.heard[-1]
    daemon = Daemon()
    daemon.problems = ["around both wires"]
    with pytest.raises(BadInputError, match="around both wires"):
        guide(daemon, said, Person(patience=0)).run(
            listed(daemon, tmp_path / "r.csv", said.append, *ROWS)
        )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"state": "refused", "why": "signature"}, "provision it again"),
        ({"state": "refused", "why": "version"}, "had a higher one"),
        ({"state": "refused", "why": "selftest", "detail": "range"}, "stays in force"),
    ],
)
def test_a_meter_that_refuses_is_quoted(
    tmp_path: Path, said: list[str], state: dict[str, Any], words: str
) -> None:
    daemon = Daemon()
    daemon.state = {"version": 7, **state}
    with pytest.raises(GatewayError, match=words):
        guide(daemon, said).run(listed(daemon, tmp_path / "r.csv", said.append, *ROWS))


def test_a_check_that_fails_says_what_to_do(tmp_path: Path, said: list[str]) -> None:
    daemon = Daemon()
    daemon.passed = False
    with pytest.raises(GatewayError, match=r"in force all the same.* calibration rollback kitchen"):
        guide(daemon, said).run(listed(daemon, tmp_path / "r.csv", said.append, *ROWS))
    assert "drop" not in daemon.calls  # the same command checks once more


def test_a_check_that_fails_can_be_taken_back_at_once(tmp_path: Path, said: list[str]) -> None:
    daemon, person = Daemon(), Person()
    daemon.passed, person.goes_back = False, True
    with pytest.raises(GatewayError, match="taken back: the meter is given 8, nominal parts"):
        guide(daemon, said, person).run(listed(daemon, tmp_path / "r.csv", said.append, *ROWS))
    assert "in force all the same" in person.heard[-1]
    assert daemon.calls[-1] == "rollback"


def test_unknown_channels_are_named(tmp_path: Path, said: list[str]) -> None:
    daemon = Daemon()
    with pytest.raises(BadInputError, match="no 'solar'; it has grid"):
        guide(daemon, said, channels=["solar"]).run(
            listed(daemon, tmp_path / "r.csv", said.append, *ROWS)
        )


def test_a_log_is_read_while_it_grows(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "log.csv"
    now_s = time.time()

    def row(ago_s: float, amps: float) -> str:
        return f"{(now_s - ago_s) * 1000:.0f},230,{amps},{230 * amps}"

    rows = [row(50, 9.0), *(row(k / 100, 2.0 + k / 1000) for k in range(5, 0, -1)), "half a li"]
    path.write_text("t,v,i,p\n" + "\n".join(rows))
    log = Logged(path, said.append, loads=2, wait_s=0.3, zone=UTC)
    found = log.read(now_s - 1, now_s + 1)
    assert found.i == pytest.approx(2.003)
    assert not log.ready(Wanted("grid", 3, []))
    with pytest.raises(GatewayError, match="no new steady load"):
        log.ready(FIRST)  # what it holds is of before
    later = [f"{(time.time() + 0.05) * 1000:.0f},230,5,1150"] * 5
    path.write_text("t,v,i,p\n" + "\n".join(later) + "\n")
    assert log.ready(FIRST)
    path.write_text("t,v,i,p\n" + "\n".join(later) + "\n")
    with pytest.raises(GatewayError, match="no new steady load"):
        log.ready(Wanted("grid", 2, [4.9]))  # the same load again


def test_a_long_log_is_read_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MOST_LOG_BYTES", 100)
    path = tmp_path / "log.csv"
    path.write_text("t,v,i,p\n" + "".join(f"{1000 * k},230,1,{k}\n" for k in range(1, 500)))
    log = Logged(path, lambda _: None, loads=1, wait_s=0.1, zone=UTC)
    assert [row.p for _, row in log._rows()][-1] == 499  # noqa: SLF001 - what it read
    assert len(log._rows()) < 10  # noqa: SLF001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column 'load'"),
        ("load,channel,v,p\n", "has no readings"),
        ("load,channel,v,p\n1,grid,230,x\n", "line 2: v, i and p must be numbers"),
        ("load,channel,v,p\n1,grid,230,99\ncheck,grid,230,9\n", "channel grid has .* fewer than 2"),
        (
            "load,channel,v,p\n1,grid,230,9\n2,grid,230,99\n1,pump,230,9\n1,pump,230,9\n",
            "channel pump has readings of fewer than 2 loads",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match=words):
        Listed.load(path, lambda _: 0.0, lambda _: None, 1.0)


def test_a_person_types_readings(said: list[str]) -> None:
    @click.command()
    def session() -> None:
        source = Typed(said.append, 2)
        assert source.ready(FIRST)
        assert source.readings() == 2
        first, second = source.read(0, 0), source.read(0, 0)
        click.echo(f"{first.v} {first.i} {first.p} {second.i}")
        assert not source.ready(Wanted("grid", 3, [1.0, 5.0]))

    done = CliRunner().invoke(session, input="\n230\n460\n2.01\n230\n460\n\nq\n")
    assert done.exit_code == 0, done.output
    assert "230.0 2.01 460.0 2.0" in done.output
    assert "a kettle, an iron" in said[0]


@pytest.mark.parametrize(
    ("words", "said_"),
    [(["--yes"], "needs --readings or --reference-log"), ([], "needed where nobody can be asked")],
)
def test_who_tells_what_is_true(tmp_path: Path, words: list[str], said_: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'[storage]\npath = "{tmp_path}/w.db"\n')
    done = CliRunner().invoke(calibrate, ["kitchen", "--config", str(config), *words])
    assert said_ in str(done.exception)

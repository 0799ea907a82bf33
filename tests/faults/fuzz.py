"""Feed a parser with atheris for a while: `python -m tests.faults.fuzz NAME SECONDS [CORPUS]`.

Ends with status 0 where nothing but the errors of the parser's contract came out of it.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import atheris

with atheris.instrument_imports(include=["gateway", "tinymodels", "msgspec"]):
    from gateway.domain.errors import BadInputError, ConfigError
    from gateway.domain.meters import MeterInfo
    from gateway.pipeline import times
    from gateway.pipeline.decode import decode
    from gateway.pipeline.tabular import parse_map
    from gateway.services.ledger import Ledger
    from gateway.services.messages import StateKeeper, take_event
    from gateway.services.planner import Planner, PlanRules
    from gateway.services.views import read_cursor
    from gateway.settings import Settings
    from tests.gateway.services.site_rig import FakeNow, spool, windows
    from tinymodels.detect.kinds import load
    from tinymodels.detect.package import unpack

ZONE = ZoneInfo("Europe/Lisbon")
MS = FakeNow().wall
Harness = Callable[[bytes], object]


def _planner() -> Planner:
    planner = Planner(Ledger(), PlanRules(auto_register=True, nominal_voltage_v=230.0), FakeNow())
    planner.register(MeterInfo("home", registered_ms=MS))
    planner.message("t", "home", decode(json.dumps(windows(0, 9)).encode()), MS)
    return planner


def readings(data: bytes) -> None:
    """Decode a `readings` message and plan it."""
    planner = _planner()
    planner.message("t", "home", decode(data), MS)
    planner.finish()


def state(data: bytes) -> None:
    """Take a `state` message."""
    keeper = StateKeeper()
    keeper.planner = _planner()
    keeper.take("t", "home", data, MS, retained=False)
    keeper.planner.finish()


def events(data: bytes) -> None:
    """Take an `events` message."""
    planner = _planner()
    take_event(planner, "t", "home", data, MS)
    planner.finish()


def time_text(data: bytes) -> None:
    """Parse a time as of the command line and the API."""
    try:
        times.parse(data.decode(errors="replace"), ZONE, name="start")
    except BadInputError:
        return


def cursor(data: bytes) -> None:
    """Read a cursor of a paged list."""
    try:
        read_cursor(data.decode(errors="replace"))
    except BadInputError:
        return


def mapping(data: bytes) -> None:
    """Parse `--map`."""
    try:
        parse_map([data.decode(errors="replace")], ["t", "p", "v"])
    except BadInputError:
        return


def settings(data: bytes) -> None:
    """Load a settings file."""
    path = Path(tempfile.gettempdir()) / "wattwarden-fuzz.toml"
    path.write_bytes(data)
    try:
        Settings.load(path)
    except ConfigError:
        return


def model(data: bytes) -> None:
    """Read a stored model of each kind, and a model's file."""
    for kind in ("gaussian", "charts", "combined"):
        with suppress(BadInputError):
            load(kind, data)
    with suppress(BadInputError):
        unpack(data)


PARSERS: dict[str, tuple[Harness, tuple[bytes, ...]]] = {
    "readings": (
        readings,
        (json.dumps(windows(5, 12)).encode(), json.dumps(spool(20, 10)).encode(), b"[]"),
    ),
    "state": (
        state,
        (b'{"online":true,"boot":1,"bootn":2,"up":9,"have":[{"boot":1,"bootn":2,"from":3}]}',),
    ),
    "events": (
        events,
        (
            b'{"boot":1,"seq":20,"up":1,"t":1,"kind":"dropped","from":11,"to":19}',
            b'{"boot":1,"seq":2,"up":1,"t":1,"kind":"anomaly","channel":"grid","z":4.5}',
        ),
    ),
    "time": (time_text, (b"2026-03-29T01:30:00", b"1763760000250", b"20260101", b"9" * 5000)),
    "cursor": (cursor, (b"MTIzNDU6YWJjZGVm",)),
    "map": (mapping, (b"p=p:1000", b"p=p-v")),
    "settings": (settings, (b'[site]\nid = "home"\n[mqtt]\nport = 1883\n',)),
    "model": (model, (b"\x9c\x00", b"WWM1")),
}


def main() -> None:
    """Run one harness; libFuzzer ends the process itself, with 0 where nothing was found."""
    name, seconds, *given = sys.argv[1:]
    harness, seeds = PARSERS[name]
    corpus = Path(given[0]) if given else Path(tempfile.mkdtemp(prefix="ww-fuzz-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=8192",
        "-len_control=0",
        "-timeout=5",
        "-rss_limit_mb=1024",
    ]
    options.append(f"-artifact_prefix={corpus}/found-")
    atheris.Setup([sys.argv[0], *options, str(corpus)], harness)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

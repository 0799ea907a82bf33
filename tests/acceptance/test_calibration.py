"""The guided calibration against a meter that runs the real firmware: numbers, words, kills."""

import base64
import json
import random
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.adapters.site_key import SiteKey
from simulation.sources import Load
from tests.support.api import Api
from tests.support.calibration_rig import Bench, OtherPhase, around_both, reverse
from tests.support.firmware import needs_vm
from tests.support.gateway_stub import until
from tests.support.meter_site import MeterSite

pytestmark = [needs_vm, pytest.mark.timeout(1100)]
NAMES = ["bench-a", "bench-b"]


@pytest.fixture(scope="module")
def benches() -> Iterator[dict[str, Bench]]:
    """Run two boards, each with a reference of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as directory,
        MeterSite(Path(directory), NAMES) as site,
    ):
        key = SiteKey.load_or_create(site.daemon.database.with_name("site_key.pem"))
        keys = {"site": [base64.b64encode(key.public).decode()]}
        # Time is what has been sampled: a busy machine is slower then, and no board any noisier.
        made = {
            "bench-a": Bench(site, "bench-a", 0, keys=keys, speed=0.0, rest_ms=6),
            "bench-b": Bench(site, "bench-b", 1, keys=keys, speed=0.0, rest_ms=8, canned=True),
        }
        site.fleet.start()
        for name in NAMES:
            site.known(name)
        with made["bench-a"].reference, made["bench-b"].reference:
            yield made
        print(site.logs(20))  # noqa: T201 - shown only when a test fails


def in_force(bench: Bench) -> int:
    return int(bench.site.watcher.ask(bench.name, "report")["versions"]["calibration"])


@pytest.mark.soak  # test_installer goes the same way
def test_a_session_makes_a_meter_right_and_says_how_right(benches: dict[str, Bench]) -> None:
    bench = benches["bench-a"]
    status, said, errors = bench.calibrate()
    assert status == 0, said + errors
    assert "steady enough" in said
    assert in_force(bench) == 1
    with Api.logged_in(bench.site.daemon) as api:
        shown = api.get(f"meters/{bench.name}/calibration")
        page = api.http.get(f"/api/v1/meters/{bench.name}/calibration/certificate")
    assert shown["version"] == 1
    assert shown["state"] == "running"
    assert shown["checks"][0]["passed"]
    assert len(shown["points"]) == 5
    assert page.headers["content-type"].startswith("text/html")
    assert "no verification under legal metrology" in page.text
    assert (bench.site.directory / f"{bench.name}.html").read_text() == page.text
    for load in (Load(1000.0), Load(100.0), Load(2000.0)):
        bench.put(0.0, volts=230.0, load=load)
        volts, _, watts = bench.reads()
        assert volts == pytest.approx(230.0, rel=0.002)
        assert watts == pytest.approx(load.watts, rel=0.005)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("reversed", "wrong way round"),
        ("phase", "another phase"),
        ("both", "around both wires of the cable"),
        ("open", "It is open or its plug is out"),
        ("clipped", "cut off"),
    ],
)
def test_nonsense_is_refused_in_plain_words(
    benches: dict[str, Bench], fault: str, words: str
) -> None:
    bench = benches["bench-b"]
    before = in_force(bench)
    bench.fault = {"reversed": reverse, "phase": OtherPhase, "both": around_both}.get(fault)
    bench.loads_a = (60.0, 10.0) if fault == "clipped" else (5.0, 10.0)  # the first is refused
    bench.put(0.0)
    session = bench.spawn("--stretch", "10")
    assert session.stdout is not None
    for line in session.stdout:
        if fault == "open" and line.startswith("load 1"):
            bench.chain.open_clamps = {0}
        bench.obey(line)
    assert session.stderr is not None
    said = session.stderr.read()
    bench.chain.open_clamps = set()
    bench.fault = None
    assert session.wait(timeout=10) == 2, said
    assert words in said
    assert in_force(bench) == before


def progress(bench: Bench) -> dict[str, object]:
    """Return how far the meter is with its calibration, as the gateway knows it."""
    found = json.loads(bench.site.daemon.cli_ok("meters", "bundles", bench.name, "--json"))
    return dict(found["progress"][0])


MOMENTS = ("no load, 2", "load 1", "steady enough", "load 2", "is signed", "one more load")


def kill_at(bench: Bench, moments: Iterable[str]) -> None:
    """Kill a session at each of these lines; the next one goes on with it."""
    for number, moment in enumerate(moments):
        session = bench.spawn(*["--fresh"][number:])
        assert session.stdout is not None
        for line in session.stdout:
            bench.obey(line)
            if moment in line:
                break
        session.kill()
        session.wait(timeout=10)


@pytest.mark.soak
def test_killed_at_any_moment_it_goes_on_and_the_old_one_stays(benches: dict[str, Bench]) -> None:
    bench = benches["bench-b"]
    bench.loads_a = (0.5, 5.0)
    before = in_force(bench)
    kill_at(bench, MOMENTS)
    assert in_force(bench) in (before, before + 1)
    status, said, errors = bench.calibrate()
    assert status == 0, said + errors
    assert in_force(bench) == before + 1
    listed = bench.site.daemon.cli_ok("meters", "calibration", "list", bench.name, "--json")
    assert json.loads(listed)["items"][0]["version"] == before + 1


def versions(bench: Bench) -> set[int]:
    """Return the versions of all calibrations of a meter that the gateway keeps."""
    told = bench.site.daemon.cli_ok("meters", "calibration", "list", bench.name, "--json")
    return {int(one["version"]) for one in json.loads(told)["items"]}


@pytest.mark.soak
def test_killed_at_random_moments_no_calibration_is_lost(benches: dict[str, Bench]) -> None:
    bench, chance, cut = benches["bench-b"], random.Random(5), 0
    bench.loads_a = (0.5, 5.0)
    before, kept = in_force(bench), versions(bench)
    for _ in range(8):
        session = bench.spawn()
        timer = threading.Timer(chance.uniform(0.5, 20.0), session.kill)
        timer.start()
        assert session.stdout is not None
        for line in session.stdout:
            bench.obey(line)
        timer.cancel()
        cut += session.wait(timeout=10) == -signal.SIGKILL
        assert kept <= versions(bench)
        kept = versions(bench)
        assert in_force(bench) in {before, *kept}
    assert cut >= 4
    status, said, errors = bench.calibrate()
    assert status == 0, said + errors
    assert in_force(bench) == max(versions(bench))


@pytest.mark.soak
def test_an_earlier_one_comes_back_under_a_new_version(benches: dict[str, Bench]) -> None:
    bench = benches["bench-a"]
    daemon = bench.site.daemon
    bench.loads_a = (1.0, 5.0)
    if in_force(bench) == 0:  # run by itself: there is no earlier one yet
        status, said, errors = bench.calibrate("--no-check")
        assert status == 0, said + errors
    first = in_force(bench)
    status, said, errors = bench.calibrate("--no-check")
    assert status == 0, said + errors
    assert in_force(bench) == first + 1
    both = (str(first), str(first + 1))
    assert "voltage: " in daemon.cli_ok("meters", "calibration", "compare", bench.name, *both)
    daemon.cli_ok("meters", "calibration", "rollback", bench.name, "--yes")
    # Not asked of the meter itself: one that answers reports all the time comes to nothing else.
    wanted = {"kind": "calibration", "version": first + 2, "state": "running"}
    until(lambda: wanted.items() <= progress(bench).items(), within_s=90)
    assert in_force(bench) == first + 2
    assert f"as version {first}" in daemon.cli_ok("meters", "calibration", "list", bench.name)
    assert "5" in daemon.cli_ok("meters", "calibration", "show", bench.name)
    page = bench.site.directory / "again.html"
    daemon.cli_ok("meters", "calibration", "certificate", bench.name, str(page))
    assert f"as version {first}" in page.read_text()
    with Api.logged_in(daemon) as api, pytest.raises(httpx.HTTPStatusError):
        api.get(f"meters/{bench.name}/calibration", version="99")

"""The guided calibration of a meter with two clamps that runs the real firmware."""

import base64
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.site_key import SiteKey
from tests.support.calibration_rig import Bench
from tests.support.firmware import needs_vm
from tests.support.gateway_stub import until
from tests.support.meter_site import MeterSite

pytestmark = [needs_vm, pytest.mark.soak, pytest.mark.timeout(1100)]
NAME = "bench-c"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with (
        tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as directory,
        MeterSite(Path(directory), [NAME]) as site,
    ):
        key = SiteKey.load_or_create(site.daemon.database.with_name("site_key.pem"))
        keys = {"site": [base64.b64encode(key.public).decode()]}
        made = Bench(
            site, NAME, 2, keys=keys, speed=0.0, rest_ms=8, canned=True, clamps=2,
            loads_a=(0.5, 5.0),
        )  # fmt: skip
        site.fleet.start()
        until(lambda: NAME in site.daemon.cli_ok("meters", "list", "--json"), within_s=60)
        with made.reference:
            yield made
        print(site.logs(20))  # noqa: T201 - shown only when a test fails


def runs(bench: Bench) -> int:
    """Return which calibration the gateway knows to run."""
    told = bench.site.daemon.cli_ok("meters", "bundles", NAME, "--json")
    (found,) = [one for one in json.loads(told)["progress"] if one["kind"] == "calibration"]
    return int(found["version"]) if found["state"] == "running" else 0


def session(bench: Bench, *more: str) -> dict[str, Any]:
    """Go through a session; return its calibration."""
    status, said, errors = bench.calibrate(*more)
    assert status == 0, said + errors
    told = bench.site.daemon.cli_ok("meters", "calibration", "show", NAME, "--json")
    made: dict[str, Any] = json.loads(told)
    assert runs(bench) == made["version"]
    assert all(check["passed"] for check in made["checks"])
    return made


def constants(made: dict[str, Any], channel: str) -> Any:  # noqa: ANN401 - JSON
    """Return what a calibration's record says of a channel."""
    return next(one for one in made["record"]["channels"] if one["name"] == channel)


def test_each_clamp_alone_and_both_together(bench: Bench) -> None:
    alone = session(bench, "--channel", "load1")
    assert {point["channel"] for point in alone["points"]} == {"load1"}
    assert [check["channel"] for check in alone["checks"]] == ["load1"]
    bench.site.daemon.cli_ok("meters", "calibration", "rollback", NAME, "--yes")
    until(lambda: runs(bench) == alone["version"] + 1, within_s=90)  # it takes nominal parts
    both = session(bench)
    assert both["note"] == ""
    assert {point["channel"] for point in both["points"]} == {"grid", "load1"}
    assert {check["channel"] for check in both["checks"]} == {"grid", "load1"}
    again = session(bench, "--channel", "grid")
    assert constants(again, "load1") == constants(both, "load1")
    assert constants(again, "grid") != constants(both, "grid")
    for clamp, channel in enumerate(("grid", "load1")):
        bench.put(4.0, volts=230.0, clamp=clamp)
        _, _, watts = bench.reads(channel=channel)
        assert watts == pytest.approx(920.0, rel=0.005)

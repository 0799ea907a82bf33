"""The daemon commands meters that run the real firmware, and brings them what is signed."""

import base64
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import tables

from gateway.adapters.site_key import SiteKey
from gateway.services.bundle_forms import signed_text
from simulation.canned import CannedChain
from simulation.fleet import Setup
from tests.support.api import Api
from tests.support.bundle_rig import RELEASE
from tests.support.firmware import needs_vm
from tests.support.gateway_stub import until
from tests.support.meter_site import MeterSite

pytestmark = [needs_vm, pytest.mark.timeout(300)]
METER: Final = "kitchen"
SPEED: Final = 10.0


@pytest.fixture(scope="module")
def site() -> Iterator[MeterSite]:
    """Run one meter that trusts the daemon's site key."""
    with (
        tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as directory,
        MeterSite(Path(directory), [METER]) as running,
    ):
        site_key = SiteKey.load_or_create(running.daemon.database.with_name("site_key.pem"))
        keys = {
            "release": [base64.b64encode(RELEASE.public).decode()],
            "site": [base64.b64encode(site_key.public).decode()],
        }
        setup = Setup(config={"keys": keys}, speed=SPEED)
        running.add(METER, chain=CannedChain(1, clamps=1), setup=setup)
        running.fleet.start()
        running.watcher.measured(METER)
        yield running


@pytest.fixture
def api(site: MeterSite) -> Iterator[Api]:
    """Log in as an administrator; when a test fails, say what the meters said."""
    with Api.logged_in(site.daemon) as session:
        session.http.timeout = httpx.Timeout(90)
        until(lambda: any(one["id"] == METER for one in session.items("meters")), within_s=20)
        yield session
    print(site.logs(20))  # noqa: T201 - shown only when it fails


def tell(api: Api, kind: str, **more: Any) -> httpx.Response:  # noqa: ANN401 - JSON
    return api.http.post(f"/api/v1/meters/{METER}/commands", json={"kind": kind, **more})


def bundles(site: MeterSite) -> dict[str, Any]:
    """Return what the meter shall run and how far it is, as `meters bundles` shows it."""
    text = site.daemon.cli_ok("meters", "bundles", METER, "--json")
    return dict(json.loads(text))


def test_commands_are_answered_and_done_once(site: MeterSite, api: Api) -> None:
    began = time.monotonic()
    told = tell(api, "report").raise_for_status().json()
    assert told["ok"]
    assert told["data"]["chip"].startswith("sim-")
    assert time.monotonic() - began < 20.0  # a fraction of a second on a machine at rest
    assert tell(api, "relay", args={"on": True}).raise_for_status().json()["data"] == {"on": True}
    assert site.fleet.supply.meter(METER).relay
    # The same id again: the stored answer, also after the daemon was killed.
    first = tell(api, "report", command_id="once").raise_for_status().json()
    site.daemon.kill()
    site.daemon.start()
    api.login()
    again = tell(api, "report", command_id="once").raise_for_status().json()
    assert again == first
    assert tell(api, "identify", args={"seconds": 1}, command_id="once").status_code == 422


def test_what_no_meter_takes_is_refused_by_name(site: MeterSite, api: Api) -> None:
    assert "args.seconds" in tell(api, "identify", args={}).json()["detail"]
    assert "knows no" in tell(api, "report", args={"x": 1}).json()["detail"]
    nobody = api.http.post("/api/v1/meters/nobody/commands", json={"kind": "report"})
    assert nobody.status_code == 404
    with Api.logged_in(site.daemon, "otto", "operator") as operator:
        assert tell(operator, "reboot").status_code == 403
        assert tell(operator, "report").status_code == 200


def test_a_meter_that_is_off_is_said_to_be(site: MeterSite, api: Api) -> None:
    meter = site.fleet.meters[METER]
    meter.kill()
    until(lambda: not site.watcher.states[METER]["online"], within_s=60)
    until(lambda: tell(api, "report").status_code == 409, within_s=10)
    assert "is offline" in tell(api, "report").json()["detail"]
    meter.start()
    site.watcher.online(METER)
    until(lambda: tell(api, "report").status_code == 200, within_s=30)


def calibration(version: int, factor: float) -> bytes:
    """Return nominal parts with another voltage gain."""
    points = [{"i": 1.0, "gain": tables.NOMINAL_A, "phase": 0.0}]
    channel = {"name": "grid", "sign": 1, "noise": tables.NOMINAL_NOISE, "points": points}
    body = {"format": 1, "version": version, "made": "2026-01-01", "ch": [channel]}
    return json.dumps({**body, "v": {"gain": tables.NOMINAL_V * factor}}).encode()


def publish(site: MeterSite, kind: str, version: int, body: bytes) -> None:
    key = SiteKey.load_or_create(site.daemon.database.with_name("site_key.pem"))
    text = signed_text(kind, METER, version, body)
    sig = key.sign(text) if kind == "calibration" else RELEASE.sign(text)
    done = announce(site, kind, version, body, sig)
    assert done.returncode == 0, done.stderr


def announce(
    site: MeterSite, kind: str, version: int, body: bytes, sig: bytes
) -> subprocess.CompletedProcess[str]:
    path = site.directory / f"{kind}{version}.bin"
    path.write_bytes(body)
    entry = {"kind": kind, "version": version, "sig": base64.b64encode(sig).decode()}
    path.with_name(path.name + ".json").write_text(json.dumps(entry))
    return site.daemon.cli("meters", "publish", str(path), "--meter", METER)


def test_bundles_are_announced_handed_out_and_confirmed(site: MeterSite, api: Api) -> None:
    publish(site, "calibration", 3, calibration(3, 1.1))
    until(lambda: bundles(site)["progress"][0]["state"] == "running", within_s=60)
    assert tell(api, "report").json()["data"]["versions"]["calibration"] == 3
    assert bundles(site)["desired"][0]["version"] == 3
    # One that the meter finds unfit is refused; why is kept, over a restart too.
    publish(site, "calibration", 4, calibration(4, 100.0))
    until(lambda: bundles(site)["progress"][0]["state"] == "refused", within_s=60)
    site.daemon.kill()
    site.daemon.start()
    kept = bundles(site)["progress"][0]
    assert (kept["version"], kept["state"], kept["why"]) == (4, "refused", "selftest")
    listed = json.loads(site.daemon.cli_ok("meters", "list", "--json"))["items"][0]
    assert listed["rollouts"][0]["why"] == "selftest"
    # The one before is wanted again: it is in force already.
    site.daemon.cli_ok("meters", "want", METER, "calibration", "3")
    assert tell(api, "report").json()["data"]["versions"]["calibration"] == 3


def test_a_calibration_of_another_key_goes_nowhere(site: MeterSite) -> None:
    body = calibration(9, 1.0)
    sig = RELEASE.sign(signed_text("calibration", METER, 9, body))
    done = announce(site, "calibration", 9, body, sig)
    assert done.returncode == 2
    assert "not by this site's key" in done.stderr

"""A repository, the daemon, and meters that run the real firmware: pulled, judged, waved out."""

import base64
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from click.testing import CliRunner

from gateway.cli import cli
from simulation.canned import CannedChain
from simulation.fleet import Setup
from tests.support.api import Api, metrics
from tests.support.bad_models import good_package
from tests.support.bundle_rig import RELEASE, SITE
from tests.support.firmware import needs_vm
from tests.support.gateway_stub import until
from tests.support.meter_site import MeterSite
from tests.support.registry_rig import LyingServer
from tinymodels.detect.device_file import pack as pack_device
from tinymodels.detect.device_model import DeviceGaussian
from tinymodels.detect.package import pack

pytestmark = [needs_vm, pytest.mark.timeout(300)]
METERS: Final = ("kitchen", "workshop")
ONE_SECOND_H: Final = 1 / 3600
MODEL: Final = "stable/charts-kitchen-grid-1.wwm"


def device_model(version: int) -> bytes:
    """Return a meter's model that finds 230 V and nothing else usual."""
    plain = DeviceGaussian(
        ("voltage", "power"), np.array([[230.0, 0.0]]), np.array([[20.0, 4.0]]), np.eye(2),
        np.zeros(1),
    )  # fmt: skip
    return pack_device(version, {"grid": plain._replace(log_eps=plain.peak() - 18.0)})


class Publisher:
    """A repository made by the commands, served on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.root = folder / "root.json"
        self.run("init", "--root-out", str(self.root))
        self.server = LyingServer(self.repository)

    def run(self, *words: str) -> None:
        """Run `wattwarden registry …` with all keys."""
        place = ["--repository", str(self.repository), "--keys", str(self.folder / "keys")]
        done = CliRunner().invoke(cli, ["registry", *words, *place], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    def publish_model(self) -> None:
        """Offer a model for the kitchen, in spite of the gate."""
        package = good_package(1)
        path = self.folder / package.name
        path.write_bytes(pack(package))
        self.run("publish", str(path), "--channel", "stable", "--force", "--reason", "a test")

    def publish_bundle(self, version: int) -> None:
        """Offer a device model for every meter."""
        body = device_model(version)
        path = self.folder / "model.bin"
        path.write_bytes(body)
        entry = RELEASE.announce("model", version, body)
        (self.folder / "model.bin.json").write_text(json.dumps(entry))
        self.run("publish", str(path), "--channel", "stable", "--force", "--reason", "a test")


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    with tempfile.TemporaryDirectory() as directory:
        made = Publisher(Path(directory))
        with made.server:
            yield made


@pytest.fixture(scope="module")
def site(publisher: Publisher) -> Iterator[MeterSite]:
    models = {
        "repository": publisher.server.url, "root_file": str(publisher.root),
        "wave_hours": ONE_SECOND_H,
    }  # fmt: skip
    with (
        tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as directory,
        MeterSite(Path(directory), METERS, settings={"models": models}) as running,
    ):
        keys = {
            "release": [base64.b64encode(RELEASE.public).decode()],
            "site": [base64.b64encode(SITE.public).decode()],
        }
        for number, name in enumerate(METERS):
            setup = Setup(config={"keys": keys}, speed=10.0)
            running.add(name, chain=CannedChain(number, clamps=1), setup=setup)
        running.fleet.start()
        for name in METERS:
            running.watcher.measured(name)
        yield running


def listed(site: MeterSite, path: str) -> dict[str, Any]:
    """Return what `models list` says of a model."""
    items = json.loads(site.daemon.cli_ok("models", "list", "--json"))["items"]
    return next((one for one in items if one.get("path") == path), {})


def running(site: MeterSite, meter: str) -> list[tuple[int, str]]:
    found = json.loads(site.daemon.cli_ok("meters", "bundles", meter, "--json"))
    return [(one["version"], one["state"]) for one in found["progress"]]


def test_a_model_is_pulled_judges_by_hand_and_steps_down_offline(
    site: MeterSite, publisher: Publisher
) -> None:
    until(lambda: "kitchen" in site.daemon.cli_ok("meters", "list"), within_s=30)
    publisher.publish_model()
    assert MODEL in site.daemon.cli_ok("models", "pull")
    assert "nothing new" in site.daemon.cli_ok("models", "pull")
    until(lambda: listed(site, MODEL).get("slot") == "shadow", within_s=60)
    with Api.logged_in(site.daemon) as api:
        (shown,) = [one for one in api.items("models") if one["path"] == MODEL]
    assert (shown["meter"], shown["channel"], shown["slot"]) == ("kitchen", "grid", "shadow")
    assert shown["step_us"] > 0
    assert metrics(site.daemon.url)['wattwarden_models{state="shadow"}'] == 1
    assert "judges kitchen grid" in site.daemon.cli_ok("models", "activate", MODEL)
    site.daemon.kill()
    assert listed(site, MODEL)["slot"] == "champion"
    assert "what is fitted here" in site.daemon.cli_ok("models", "rollback")  # no daemon, no net
    assert listed(site, MODEL)["slot"] == "rolled_back"
    site.daemon.start()
    assert listed(site, MODEL)["slot"] == "rolled_back"
    history = site.daemon.cli_ok("models", "history")
    for what in ("verified", "compatible", "shadow", "activated", "rolled_back"):
        assert what in history


def test_a_repository_that_lies_is_told_of(site: MeterSite, publisher: Publisher) -> None:
    publisher.server.serve = lambda name, body: b"{}" if "timestamp" in name else body
    done = site.daemon.cli("models", "pull")
    assert done.returncode == 1
    assert "nothing was taken from the repository" in done.stderr
    with Api.logged_in(site.daemon) as api:
        kinds = [one["kind"] for one in api.items("alerts", state="open")]
        assert kinds.count("model_rejected") == 1
        publisher.server.serve = lambda _, body: body
        site.daemon.cli_ok("models", "pull")
        assert not [o for o in api.items("alerts", state="open") if o["kind"] == "model_rejected"]


@pytest.mark.soak
def test_a_device_model_reaches_all_meters_one_first(site: MeterSite, publisher: Publisher) -> None:
    publisher.publish_bundle(5)
    assert "stable/device/pooled-5.bin" in site.daemon.cli_ok("models", "pull")
    waves = json.loads(site.daemon.cli_ok("models", "waves", "--json"))["items"]
    assert len(waves[0]["meters"]) <= 1
    for meter in METERS:
        until(lambda name=meter: (5, "running") in running(site, name), within_s=200)  # type: ignore[misc]
    until(lambda: "done" in site.daemon.cli_ok("models", "waves"), within_s=120)
    assert "bundle_for_all" in site.daemon.cli_ok("models", "history")

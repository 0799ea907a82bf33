"""The whole loop: archive, train, judge, gate, sign, publish, pull, shadow, activate, meters."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.firmware import needs_vm
from tests.support.gateway_stub import until
from tests.support.loop_rig import (
    HISTORY_DAYS,
    HOME,
    RECENT_DAYS,
    LoopSite,
    train_words,
)

# A minute of work for two cores, so `make soak` runs it; its parts are tested one by one.
pytestmark = [needs_vm, pytest.mark.soak, pytest.mark.timeout(1500)]

METERS = ["kitchen", "cellar"]
LATER = {"shadow_days": 3, "health_hours": 6, "wave_hours": 0}


@pytest.fixture
def loop() -> Iterator[LoopSite]:
    """Run a home with two meters, and say what happened when a test fails."""
    with (
        tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as directory,
        LoopSite(Path(directory), METERS, LATER) as running,
    ):
        try:
            yield running
        finally:
            print(running.site.logs(20))  # noqa: T201 - shown only when it fails


def test_from_the_archive_to_the_meters(loop: LoopSite) -> None:
    file, version = trained(loop)
    published(loop, file)
    takes_over(loop, file, version)
    reaches_the_meters(loop, version)


def trained(loop: LoopSite) -> tuple[str, int]:
    """Train, judge, gate: a home with a champion of its own, months in the archive."""
    loop.gather()
    loop.live(HISTORY_DAYS - RECENT_DAYS, HISTORY_DAYS)
    loop.export()
    (charts,) = loop.train("--meters", HOME, *train_words("charts"))
    assert charts["passed"] is True, charts["why"]
    assert loop.verdict(charts["file"])[0].startswith("ok: 28 clean days were held out")
    card = json.loads((loop.models / f"{charts['file']}.card.json").read_text(encoding="utf-8"))
    assert card["hashes"]["payload"]
    return charts["file"], int(charts["file"].rsplit("-", 1)[1].removesuffix(".wwm"))


def published(loop: LoopSite, file: str) -> None:
    """Sign and publish: first for homes that try things, then for all."""
    loop.begin_repository()
    loop.registry("publish", str(loop.models / file), "--channel", "canary")
    loop.registry("promote", file)


def takes_over(loop: LoopSite, file: str, version: int) -> None:
    """Have the Pi pull it, let it score beside its own, and then judge."""
    loop.cli("models", "pull")  # the gateway's own timer may have been quicker
    assert loop.steps(file)[:2] == ["verified", "compatible"]
    loop.live(HISTORY_DAYS, HISTORY_DAYS + 1)
    assert loop.slot("charts", "shadow")["version"] == str(version)
    loop.live(HISTORY_DAYS + 1, HISTORY_DAYS + 4)
    assert loop.slot("charts", "champion")["version"] == str(version)
    steps = loop.steps(file)
    assert steps.index("activated") > steps.index("shadow")


def reaches_the_meters(loop: LoopSite, version: int) -> None:
    """Publish what was trained for meters; they fetch and confirm it."""
    loop.site.fleet.start()
    for meter in METERS:
        loop.site.watcher.online(meter)
    # (A meter's model is judged like any other; here that is left out, and says so for ever.)
    options = ["--meters", HOME, "--kinds", "device", "--no-judging", "--fresh"]
    (device,) = loop.train(*options)
    bundle = str(loop.sign(device["file"], version))
    why = ["--force", "--reason", "judged elsewhere"]
    loop.registry("publish", bundle, "--channel", "stable", *why)
    loop.cli("models", "pull")
    told = loop.confirmed(version)
    assert all(event["ok"] for event in told.values()), told
    for meter in METERS:
        report = loop.site.watcher.ask(meter, "report")
        assert report["versions"]["model"] == version
    until(lambda: waves_done(loop), within_s=120)


def waves_done(loop: LoopSite) -> bool:
    items = json.loads(loop.cli("models", "waves", "--json"))["items"]
    return bool(items) and all(one["state"] == "done" for one in items)

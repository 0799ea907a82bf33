"""The learning loop on a terminal, in three minutes: `make loop-demo`.

Real parts: mosquitto with TLS, the gateway, two meters that run the firmware in MicroPython's VM,
the trainer, the gate, a TUF repository. The house is made of formulas, and its days pass as fast as
the gateway takes them. Without TensorFlow the autoencoder is left out, and that is said.
"""

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from simulation.firmware_files import find_vm
from tests.support.bad_models import Flaw, bad_package
from tests.support.daemon import run_cli
from tests.support.loop_rig import (
    HISTORY_DAYS,
    HOME,
    RECENT_DAYS,
    LoopSite,
    train_words,
)
from tests.support.mosquitto import find_mosquitto
from tinymodels.detect.package import pack

METERS = ("kitchen", "cellar")
SETTINGS = {"shadow_days": 3, "health_hours": 6, "wave_hours": 0}


class Story:
    """Tells what is done, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def tell(self, text: str) -> None:
        """Begin a chapter."""
        print(f"\n[{time.monotonic() - self._began_s:5.0f} s] {text}", flush=True)

    def show(self, text: str) -> None:
        """Show what a program said."""
        print("\n".join(f"    {line}" for line in text.rstrip().splitlines()), flush=True)


def main() -> int:
    """Run the demo; return 0, or 1 after one line that says what is missing or went wrong."""
    if find_mosquitto() is None or find_vm() is None:
        print("loop-demo: needs mosquitto (apt-get install mosquitto) and an x86_64 Linux")
        return 1
    story = Story()
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as folder:
        story.tell("A broker with TLS and a gateway are starting.")
        with LoopSite(Path(folder), METERS, SETTINGS) as loop:
            model, bundle = learn(loop, story)
            publish(loop, story, model)
            refuse(loop, story)
            shadow(loop, story, model)
            to_meters(loop, story, bundle)
            story.tell("A person may go back at any time, without any network:")
            story.show(loop.cli("models", "rollback", "--meter", HOME))
            story.tell("That was the loop. It goes round every month.")
    return 0


def learn(loop: LoopSite, story: Story) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fill the archive and train; return the charts and the meters' bundle."""
    story.tell(
        f"{RECENT_DAYS} days of a house pass through the broker; older ones lie in the archive."
    )
    loop.gather()
    loop.live(HISTORY_DAYS - RECENT_DAYS, HISTORY_DAYS)
    loop.export()
    files = len(list(loop.archive.rglob("*.parquet")))
    story.show(
        f"the archive now has {files} Parquet files: exports, and an hour each of the last days"
    )
    known = importlib.util.find_spec("tensorflow") is not None
    if not known:
        story.tell("TensorFlow is not installed: no autoencoder (pip install 'wattwarden[train]').")
    story.tell("wattwarden train: fit, put faults into four weeks nobody has seen, judge, gate.")
    outcomes = loop.train("--meters", HOME, *train_words("charts,device" + ",autoencoder" * known))
    for one in outcomes:
        gate = {True: "passed", False: "REFUSED", None: "not judged"}[one["passed"]]
        story.show(f"{one['file'] or one['kind']}: the gate {gate}. {one['why']}")
    by_kind = {one["kind"]: one for one in outcomes}
    story.tell(f"The verdict on {by_kind['charts']['file']}:")
    story.show("\n".join(loop.verdict(by_kind["charts"]["file"])[:8]))
    return by_kind["charts"], by_kind["device"]


def publish(loop: LoopSite, story: Story, model: dict[str, Any]) -> None:
    """Sign and publish, for some homes first."""
    story.tell(
        "A TUF repository with keys of its own; the model goes to canary homes, then to all."
    )
    loop.begin_repository()
    file = str(loop.models / model["file"])
    story.show(loop.registry("publish", file, "--channel", "canary", *forced(model)))
    story.show(loop.registry("promote", model["file"]))


def refuse(loop: LoopSite, story: Story) -> None:
    """Try to publish a model that raises ten times the alerts and was never judged."""
    story.tell("Somebody tries to publish a model that raises ten times the alerts:")
    package = bad_package(Flaw.MANY_ALERTS, 99_999_999, meter=HOME)
    path = loop.directory / package.name
    path.write_bytes(pack(package))
    words = ["registry", "publish", str(path), "--repository", str(loop.repository)]
    done = run_cli([*words, "--keys", str(loop.keys)], loop.directory)
    story.show(done.stdout + done.stderr)


def shadow(loop: LoopSite, story: Story, model: dict[str, Any]) -> None:
    """Pull, let it score beside the home's own model, and see it take over."""
    story.tell("The gateway pulls: verified by its pinned root, tried in a process of its own.")
    loop.cli("models", "pull")  # its own timer may have been quicker
    story.show("\n".join(loop.steps(model["file"])))
    story.tell("It has seen the stored days, scores in shadow and alerts nobody. A day passes.")
    loop.live(HISTORY_DAYS, HISTORY_DAYS + 1)
    found = loop.slot(model["kind"], "shadow")
    story.show(f"{found['path']}: shadow since {found['minutes']} minutes of data")
    story.tell("Three more days pass: its alarms and its agreement are judged, and it takes over.")
    loop.live(HISTORY_DAYS + 1, HISTORY_DAYS + 4)
    loop.slot(model["kind"], "champion")
    story.show(loop.cli("models", "list"))


def to_meters(loop: LoopSite, story: Story, bundle: dict[str, Any]) -> None:
    """Sign the meters' model with the release key; they fetch, test themselves and confirm."""
    version = int(bundle["file"].rsplit("-", 1)[1].removesuffix(".bin"))
    story.tell("Two meters with the real firmware come up, each in a MicroPython VM.")
    loop.site.fleet.start()
    for meter in METERS:
        loop.site.watcher.online(meter)
    story.tell("Their own Gaussian is signed with the release key and goes out in waves.")
    path = loop.sign(bundle["file"], version)
    loop.registry("publish", str(path), "--channel", "stable", *forced(bundle))
    loop.cli("models", "pull")
    for meter, event in loop.confirmed(version).items():
        said = "confirmed" if event["ok"] else f"refused: {event.get('why')}"
        story.show(f"{meter}: model {version} {said}, after its self-test and ten good windows")
    story.show(loop.cli("models", "waves"))


def forced(outcome: dict[str, Any]) -> list[str]:
    """Return what publishing takes where the gate did not pass something: a recorded reason."""
    return [] if outcome["passed"] else ["--force", "--reason", "a demo on six weeks of data"]


if __name__ == "__main__":
    sys.exit(main())

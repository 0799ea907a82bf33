"""The learning loop with real parts: an archive, a trainer, a repository, a home with meters."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from simulation.canned import CannedChain
from simulation.fleet import Setup
from tests.support.api import metrics
from tests.support.daemon import run_cli
from tests.support.gateway_stub import until
from tests.support.meter_site import MeterSite
from tests.support.parquet_archive import write_exports
from tests.support.signing import Signer
from tests.support.small_home import small_home
from tinymodels.detect.minutes import DAY_MS, Minutes

ROOT: Final = Path(__file__).parents[2]
SPEED: Final = 10.0  # a meter's clock against ours: ten good windows in a second
HOME: Final = "home"  # a recorded meter: its days pass as fast as the gateway takes them
SEED: Final = 3
RELEASE_SEED, SITE_SEED = 1, 3  # whose keys the meters trust
HISTORY_DAYS: Final = 42  # two weeks to fit on, four held out
RECENT_DAYS: Final = 9  # of these, what the home has stored itself: enough for its own champion
FRESH_DAYS: Final = 5  # what comes after the training


class LoopSite:
    """A home and all that surrounds it, below one short directory; a context manager.

    `meters` run the real firmware in the VM; the days of HOME are replayed through the broker.
    """

    def __init__(
        self, directory: Path, meters: Sequence[str], models: Mapping[str, Any] | None = None
    ) -> None:
        self.directory = directory
        self.archive = directory / "archive"
        self.models = directory / "models"
        self.repository = directory / "repository"
        self.keys = directory / "keys"
        self.root_file = directory / "models-root.json"
        self.home = as_replayed(small_home(HISTORY_DAYS + FRESH_DAYS, seed=SEED))
        place = {"repository": str(self.repository), "root_file": str(self.root_file)}
        settings = {"models": {**place, **(models or {})}}
        self.site = MeterSite(directory / "s", meters, settings=settings)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.site)
        seeds = {"release": RELEASE_SEED, "site": SITE_SEED}
        keys = {
            kind: [base64.b64encode(Signer(seed).public).decode()] for kind, seed in seeds.items()
        }
        for number, name in enumerate(self.site.meters):
            setup = Setup(config={"keys": keys}, speed=SPEED)
            # What it reads is what the home of the training reads: no model of it finds that odd.
            self.site.add(name, chain=CannedChain.typical(number), setup=setup)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def days(self, first: float, last: float) -> Minutes:
        """Return some days of the home, counted from its first one."""
        begin_ms = int(self.home.start_ms[0])
        return self.home.between(begin_ms + round(first * DAY_MS), begin_ms + round(last * DAY_MS))

    def gather(self) -> None:
        """Write what lay in the archive before: this home's older days, and two other homes."""
        older = self.days(0, HISTORY_DAYS - RECENT_DAYS)
        others = {
            name: {"grid": small_home(HISTORY_DAYS, seed=SEED + 1 + number)}
            for number, name in enumerate(self.site.meters[:2])
        }
        write_exports(self.archive, {HOME: {"grid": older}, **others})

    def live(self, first: float, last: float) -> str:
        """Let days of the home pass, until the gateway has judged them; return what it says."""
        path = self.directory / f"days-{first:g}.csv"
        frame = self.days(first, last).to_frame()
        frame["start_ms"] += 60_000  # a reading's time is the end of its window
        frame.to_csv(path, index=False)
        maps = ("t=start_ms", "p=p_mean_w", "q=q_mean_var", "v=v_mean_v", "i=i_mean_a")
        options = [word for one in maps for word in ("--map", one)]
        said = self.cli("replay", str(path), "--meter", HOME, *options, within_s=600)
        url = self.site.daemon.url
        until(lambda: metrics(url)["wattwarden_judge_backlog"] == 0, within_s=300)
        return said

    def export(self, *, within_s: float = 300) -> None:
        """Put what the gateway has stored of the home into the archive, once it is rolled up."""
        words = ("export", "--archive", str(self.archive), "--meter", HOME, "--resolution", "1m")

        def whole() -> bool:
            self.cli(*words)
            return len(list(self.archive.glob("site=*/*/*/*.parquet"))) >= RECENT_DAYS * 24

        until(whole, within_s=within_s)

    def train(self, *more: str) -> list[dict[str, Any]]:
        """Train and judge; return what became of each model."""
        words = ["train", "--archive", str(self.archive), "--out", str(self.models), "--json"]
        done = run_cli([*words, *more], self.directory, within_s=1200)
        assert done.returncode == 0, done.stderr[-2000:]
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def verdict(self, file: str) -> list[str]:
        """Return the lines of the gate's verdict on a model."""
        path = self.models / f"{file}.verdict.json"
        lines: list[str] = json.loads(path.read_text(encoding="utf-8"))["lines"]
        return lines

    def begin_repository(self) -> str:
        """Make the repository, its keys, and the root that the gateway pins."""
        self.keys.mkdir(mode=0o700)
        return self.registry("init", "--root-out", str(self.root_file))

    def sign(self, file: str, version: int, meter: str = "*") -> Path:
        """Sign a meter's bundle with the release key, as its owner does; return its path."""
        key = Ed25519PrivateKey.from_private_bytes(RELEASE_SEED.to_bytes(32, "big"))
        pem = self.directory / "release.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path = self.models / file
        words = ["model", str(version), str(path), str(path), "--key", str(pem), "--meter", meter]
        subprocess.run(
            [sys.executable, "-m", "tools.make_bundle", *words],
            check=True, cwd=ROOT, timeout=60, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return path

    def registry(self, verb: str, *words: str) -> str:
        """Run `wattwarden registry`; return what it says."""
        where = ["--repository", str(self.repository), "--keys", str(self.keys)]
        done = run_cli(["registry", verb, *words, *where], self.directory, within_s=120)
        assert done.returncode == 0, f"registry {verb}: {done.stderr[-2000:]}"
        return done.stdout

    def cli(self, *words: str, within_s: float = 120) -> str:
        """Run a command of the gateway's; return what it says."""
        return self.site.daemon.cli_ok(*words, within_s=within_s)

    def listed(self, kind: str) -> list[dict[str, Any]]:
        """Return what `models list` says of the home's models of a kind, not its own ones."""
        items = json.loads(self.cli("models", "list", "--json"))["items"]
        return [one for one in items if one["meter"] in (HOME, "*") and one.get("path")
                and one["kind"] == kind]  # fmt: skip

    def steps(self, file: str) -> list[str]:
        """Return what has happened to a model so far, oldest first."""
        found = json.loads(self.cli("models", "history", "--json"))["items"]
        return [one["what"] for one in reversed(found) if file in one["path"]]

    def slot(self, kind: str, wanted: str, *, within_s: float = 120) -> dict[str, Any]:
        """Wait until a model of this kind is in a slot; return what is said of it."""

        def there() -> list[dict[str, Any]]:
            return [one for one in self.listed(kind) if one["slot"] == wanted]

        until(there, within_s=within_s)
        return there()[0]

    def confirmed(self, version: int, *, within_s: float = 180) -> dict[str, dict[str, Any]]:
        """Wait until every meter has confirmed a model; return their events."""
        watcher = self.site.watcher

        def told() -> dict[str, dict[str, Any]]:
            return {
                meter: event
                for meter, event in list(watcher.events)
                if event.get("kind") == "model" and event.get("version") == version
            }

        until(lambda: set(told()) == set(self.site.meters), within_s=within_s)
        return told()


def as_replayed(minutes: Minutes) -> Minutes:
    """Return minutes as they are once one reading a minute has told them: no extremes within."""
    values = minutes.values.copy()
    values[:, 1] = values[:, 2] = values[:, 0]
    values[:, 4] = values[:, 3]
    return Minutes(minutes.start_ms, values)


def train_words(kinds: str) -> list[str]:
    """Return options for a training that takes seconds, not hours."""
    return ["--kinds", kinds, "--events", "3", "--epochs", "15"]

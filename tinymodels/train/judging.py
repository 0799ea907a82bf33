"""What is written beside a model: how its kind fared on months it had not seen, and the verdict."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.domain.errors import BadInputError
from tinymodels.detect.contract import Fitter, HasSources, Model, Options, scored
from tinymodels.detect.kinds import open_package
from tinymodels.detect.limits import choose_limit
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Floats, Minutes, Times
from tinymodels.detect.package import SUFFIX, Package, pack, unpack
from tinymodels.train.card import make_card
from tinymodels.train.checks import check_model
from tinymodels.train.figures import Report, pooled
from tinymodels.train.files import write_json, write_whole
from tinymodels.train.gate import Checks, GateVerdict, judge
from tinymodels.train.protocol import BUDGETS, Contender, Terms
from tinymodels.train.protocol import judge as judge_contenders
from tinymodels.train.split import LEAST_TEST_DAYS, Split

LEAST_FIT_MS: Final = 14 * DAY_MS  # before the test begins
LEAST_DAYS: Final = 28  # of test, which the gate asks for
CHAMPION: Final = "champion"


@dataclass(frozen=True)
class Trial:
    """How models are judged: at which budgets, with how many events of each fault."""

    budgets: Sequence[float] = BUDGETS
    events: int = 40
    seed: int = 6
    test_days: int = LEAST_TEST_DAYS


class Kept:
    """A champion as a `Fitter`: not refitted, only its limit follows the weeks given.

    It may have been fitted on some of the months of the test. That favours it, so that the gate
    errs towards what runs already.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    def fit(self, minutes: Minutes, options: Options) -> Model:
        """Return the model with a limit for this budget."""
        return self.limited(*scored(self._model, minutes), options)

    def limited(self, starts: Times, scores: Floats, options: Options) -> Model:
        """Return the model with a limit chosen from scores."""
        limit = choose_limit(self._model, starts, scores, options.alarms_per_month)
        model = self._model.with_limit(limit)
        return model.allowing(options.alarms_per_month) if isinstance(model, HasSources) else model


def test_from_ms(minutes: Minutes, trial: Trial) -> int:
    """Return where the months begin that no fit may see.

    As long a test as is asked for, but two weeks at least are left to fit on.
    """
    first_ms, end_ms = int(minutes.start_ms[0]), int(minutes.start_ms[-1]) + MINUTE_MS
    days = min(trial.test_days, (end_ms - first_ms - LEAST_FIT_MS) // DAY_MS)
    return end_ms - max(int(days), LEAST_DAYS) * DAY_MS


def evaluate(
    series: Mapping[str, Minutes],
    fitters: Mapping[str, Fitter],
    options: Options,
    trial: Trial,
) -> dict[str, Report]:
    """Judge contenders on one or several meters' channels; return a report of each.

    EvaluationError where a series is too short for it, and says how short.
    """
    found: dict[str, list[Report]] = {name: [] for name in fitters}
    for name, minutes in series.items():
        split = Split(name, minutes, test_from_ms(minutes, trial), short=True)
        terms = Terms(options, trial.budgets, events=trial.events, seed=trial.seed)
        contenders = [Contender(kind, fitter) for kind, fitter in fitters.items()]
        judged = judge_contenders(split, contenders, terms, lambda *_: None)
        for kind, report in judged.reports.items():
            found[kind].append(report)
    return {kind: pooled(kind, reports) for kind, reports in found.items()}


def limits_of(model: Model, minutes: Minutes, trial: Trial) -> dict[str, float]:
    """Return the score limits of a model by budget, for its card."""
    starts, scores = scored(model, minutes)
    chosen = {
        f"{budget:g}": choose_limit(model, starts, scores, budget) for budget in trial.budgets
    }
    return {name: limit for name, limit in chosen.items() if math.isfinite(limit)}


@dataclass(frozen=True)
class Tried:
    """A package with what was found out about it."""

    package: Package
    report: Report
    champion: Report | None
    sample: Minutes  # of the channel, at least three days
    about: Mapping[str, Any]  # meters, data_from_ms, data_to_ms, seed, and what the kind adds
    network: Mapping[str, Any]  # Trained.card() of an autoencoder, else empty
    trial: Trial


def judged(tried: Tried) -> tuple[Package, Checks, GateVerdict]:
    """Return the package with its card, and the gate's verdict on it."""
    package, model = tried.package, open_package(tried.package)
    about = {
        "kind": package.kind, "channel": package.channel, "features": list(package.features),
        **tried.about, **tried.network,
    }  # fmt: skip
    limits = limits_of(model, tried.sample, tried.trial)
    card = make_card(about, tried.report, {"payload": package.payload}, limits)
    package = replace(package, card=card)
    checks = check_model(package, model, tried.sample)
    if tried.network:
        checks = msgspec.structs.replace(
            checks,
            correlation=tried.network["tflite_against_float"],
            builtin_operators=bool(tried.network["operators"]),
        )
    return package, checks, judge(tried.champion, tried.report, checks)


def write_tried(out: Path, tried: Tried) -> GateVerdict:
    """Write NAME.wwm, its card, report and verdict below a folder; return the verdict."""
    package, checks, verdict = judged(tried)
    body = pack(package)
    path = out / package.name
    report: dict[str, Any] = {
        "challenger": msgspec.to_builtins(tried.report),
        "champion": None if tried.champion is None else msgspec.to_builtins(tried.champion),
        "checks": {**msgspec.to_builtins(checks), "card": {}},
    }
    write_whole(path, body)
    write_json(beside(path, "card"), package.card)
    write_json(beside(path, "report"), report)
    write_verdict(path, body, verdict)
    return verdict


def write_verdict(path: Path, body: bytes, verdict: GateVerdict) -> None:
    """Write the gate's verdict on a file beside it, bound to its content."""
    told = {
        "passed": verdict.passed,
        "lines": list(verdict.lines),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    write_json(beside(path, "verdict"), told)


def beside(path: Path, what: str) -> Path:
    """Return the name of what belongs to a model's file."""
    return path.with_name(f"{path.name}.{what}.json")


def champions(folder: Path | None) -> dict[tuple[str, str, str], Package]:
    """Return the newest package of each kind, meter and channel in a folder of an earlier run."""
    found: dict[tuple[str, str, str], Package] = {}
    if folder is None:
        return found
    if not folder.is_dir():
        msg = f"--champions: {folder} is no folder"
        raise BadInputError(msg)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        package = unpack(path.read_bytes())
        key = (package.kind, package.meter, package.channel)
        if key not in found or package.version > found[key].version:
            found[key] = package
    return found

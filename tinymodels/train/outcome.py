"""One fitted model: judged, given its card, and written with what belongs to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tinymodels.detect.contract import FitRefusedError, Fitter
from tinymodels.detect.kinds import open_package
from tinymodels.detect.minutes import Minutes
from tinymodels.detect.package import POOLED, Package, unpack
from tinymodels.train.device_detector import DeviceFitter, device_checks
from tinymodels.train.errors import EvaluationError
from tinymodels.train.files import write_json, write_whole
from tinymodels.train.fitting import (
    DEVICE,
    Order,
    device_card,
    fitter_of,
    supply_channel,
    usual_minutes,
)
from tinymodels.train.gate import judge as pass_gate
from tinymodels.train.judging import (
    CHAMPION,
    Kept,
    Trial,
    Tried,
    beside,
    evaluate,
    write_tried,
    write_verdict,
)

AUTOENCODER: Final = "autoencoder"


class Outcome(NamedTuple):
    """What became of a model: its file, whether the gate passed it (None: not judged), and why."""

    meter: str
    channel: str
    kind: str
    file: str
    passed: bool | None
    why: str


@dataclass(frozen=True)
class Judge:
    """What judging needs: the order, how, champions, what is known of networks, all minutes.

    `series` is minutes by channel and meter, `champions` the packages that run now.
    """

    order: Order
    trial: Trial | None
    champions: Mapping[tuple[str, str, str], Package]
    networks: Mapping[str, Mapping[str, Any]]
    series: Mapping[str, Mapping[str, Minutes]]


def write_model(out: Path, row: tuple[Any, ...], judge: Judge) -> Outcome:
    """Write a fitted row (tinymodels.train.fitting.COLUMNS) as NAME.wwm with card and verdict."""
    meter, channel, kind, _, body, from_ms, to_ms, refused = row
    if refused:
        return Outcome(meter, channel, kind, "", None, refused)
    package = unpack(body)
    if judge.trial is None:
        write_whole(out / package.name, body)
        return Outcome(meter, channel, kind, package.name, None, "not judged")
    homes = judge.series[channel]
    fitters: dict[str, Fitter] = {kind: fitter_of(kind, channel, judge.order)}
    known = judge.champions.get((kind, meter, channel))
    if known is not None:
        fitters[CHAMPION] = Kept(open_package(known))
    try:
        options = judge.order.options(voltage=supply_channel(judge.series) == channel)
        reports = evaluate(homes, fitters, options, judge.trial)
    except EvaluationError as error:
        write_whole(out / package.name, body)
        return Outcome(meter, channel, kind, package.name, None, f"not judged: {error}")
    about = {
        "meters": sorted(homes), "data_from_ms": from_ms, "data_to_ms": to_ms,
        "seed": judge.order.seed, "zone": judge.order.zone,
    }  # fmt: skip
    network = judge.networks.get(channel, {}) if kind == AUTOENCODER else {}
    sample = _sample(homes)
    verdict = write_tried(
        out,
        Tried(package, reports[kind], reports.get(CHAMPION), sample, about, network, judge.trial),
    )
    return Outcome(meter, channel, kind, package.name, verdict.passed, _why(verdict.lines))


def write_device(out: Path, row: tuple[Any, ...], judge: Judge) -> Outcome:
    """Write a meter's bundle below device/, with card and verdict; the release key signs it."""
    meter, channel, kind, version, body, from_ms, to_ms, refused = row
    if refused:
        return Outcome(meter, channel, kind, "", None, refused)
    name = f"{DEVICE}/{'pooled' if meter == POOLED else meter}-{version}.bin"
    path = out / name
    write_whole(path, body)
    homes = judge.series[supply_channel(judge.series)]
    about = {
        "kind": DEVICE, "meters": sorted(homes), "data_from_ms": from_ms, "data_to_ms": to_ms,
        "seed": judge.order.seed, **device_card(body),
    }  # fmt: skip
    options = judge.order.options(voltage=True)
    fitter = DeviceFitter(judge.order)
    if judge.trial is None:
        write_json(beside(path, "card"), about)
        return Outcome(meter, channel, kind, name, None, "not judged")
    try:
        report = evaluate(homes, {DEVICE: fitter}, options, judge.trial)[DEVICE]
        first = min(homes)
        usual = usual_minutes(first, homes[first], judge.order)
        checks = device_checks(body, about, fitter.fit(usual, options), usual, report)
    except (EvaluationError, FitRefusedError) as error:
        write_json(beside(path, "card"), about)
        return Outcome(meter, channel, kind, name, None, f"not judged: {error}")
    verdict = pass_gate(None, report, checks)
    write_json(beside(path, "card"), checks.card)
    write_json(beside(path, "report"), {"challenger": msgspec.to_builtins(report)})
    write_verdict(path, body, verdict)
    return Outcome(meter, channel, kind, name, verdict.passed, _why(verdict.lines))


def _sample(homes: Mapping[str, Minutes]) -> Minutes:
    return homes[min(homes)]


def _why(lines: tuple[str, ...]) -> str:
    """Return what failed, in a line."""
    failed = [line.removeprefix("FAILED: ") for line in lines if line.startswith("FAILED")]
    return "; ".join(failed)

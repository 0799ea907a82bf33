"""How faults are found: every detector on real homes, beside luck, at a fixed rate of false alarms.

Thresholds are frozen on earlier months; the test months are opened once per series. The product is
the detector `combined`; the limits are of it, by the lower confidence bound, at 4 false alarms a
month. What nobody measured is named with each series.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from bench.common import Figures, Limit, Result, finish, progress
from bench.detection_data import Home, australia, data_folder, france, portugal
from bench.detection_pv import neighbourhood, single_sites
from bench.detection_simulated import simulated
from tinymodels.detect.autoencoder import AutoencoderFitter
from tinymodels.detect.combined_fit import CombinedFitter
from tinymodels.detect.contract import Fitter, Options
from tinymodels.detect.injector import LAWS
from tinymodels.detect.kinds import fitter
from tinymodels.train.autoencoder import Recipe, inputs_of, train_network
from tinymodels.train.evaluation import Channel, Outcome, judge_channels, write_outcome
from tinymodels.train.faults_pv import solar_contenders, solar_terms
from tinymodels.train.figures import Report, pooled
from tinymodels.train.fitting import WEEKS_8_MS
from tinymodels.train.protocol import Judged, Terms
from tinymodels.train.protocol import judge as judge_contenders
from tinymodels.train.split import Split

UTC = ZoneInfo("UTC")
PRODUCT = "combined"
HOME_KINDS = ("gaussian", "charts", PRODUCT)
EVENTS, QUICK_EVENTS = 160, 12
PV_EVENTS, QUICK_PV_EVENTS = 40, 8
# Power alone, without voltage or reactive power, is told apart from what the targets are for.
POWER_ONLY = "power only"
REPORT = Path(__file__).resolve().parents[1] / "build" / "detection"
LIMITS = (
    *(
        Limit(f"{PRODUCT}_4_{name.value}_lower", "min", law.target)
        for name, law in LAWS.items()
        if law.target is not None
    ),
    Limit(f"{PRODUCT}_4_false_alarms", "max", 4.0),
    Limit(f"{PRODUCT}_1_false_alarms", "max", 1.0),
)


def told(what: str, done: int, count: int) -> None:
    """Say how far it is."""
    progress(f"  {what} ({done} of {count})")


def channel_of(home: Home, events: int, *, simulated_home: bool = False) -> Channel:
    """Return what is judged on a home, and under which terms."""
    terms = Terms(
        Options(UTC, 4.0), events=events, modelled=home.modelled, simulated=simulated_home
    )
    return Channel(home.name, home.minutes, home.test_from_ms, terms, short=home.short)


def with_network(home: Home) -> dict[str, Fitter]:
    """Return the autoencoder, and the product with it as second opinion; needs TensorFlow.

    The network is trained once, on the weeks before the test; what else there is to fit is fitted
    anew for each month. Raise ConfigError without the extra `train`.
    """
    training = Split(home.name, home.minutes, home.test_from_ms, short=True).training
    weeks = training.between(home.test_from_ms - WEEKS_8_MS, home.test_from_ms)
    network = train_network(inputs_of(weeks, Options(UTC, 4.0)), Recipe()).network
    opinion = AutoencoderFitter(network)
    return {"autoencoder": opinion, f"{PRODUCT}_autoencoder": CombinedFitter(opinion)}


def judge_group(
    name: str, homes: Sequence[Channel], fitters: Mapping[str, Fitter], out: Path
) -> Outcome:
    """Judge all detectors on a group of homes and write its page and pictures."""
    began = time.monotonic()
    outcome = judge_channels(homes, fitters, told)
    pages = write_outcome(outcome, out / name.replace(" ", "_"))
    progress(f"{name}: {len(homes)} series in {time.monotonic() - began:.0f} s; see {pages[0]}")
    for why in outcome.skipped:
        progress(f"{name}: not judged: {why}")
    return outcome


def judge_roofs(data: Path, events: int, sites: int, out: Path) -> tuple[Report, ...]:
    """Judge lost strings on solar series: by the envelope everywhere, by neighbours where known."""
    hood = neighbourhood(data)
    near = {name: home.minutes for name, home in hood.items()}
    options = Options(UTC, 4.0)
    judged: dict[str, Judged] = {}
    for home in [*single_sites(data), *list(hood.values())[:sites]]:
        split = Split(home.name, home.minutes, home.test_from_ms, short=True)
        contenders = solar_contenders(home.name, near if home.name in hood else {})
        terms = solar_terms(options, events=events, seed=6)
        judged[home.name] = judge_contenders(split, contenders, terms, told)
    names = dict.fromkeys(name for one in judged.values() for name in one.reports)
    reports = tuple(
        pooled(name, [one.reports[name] for one in judged.values() if name in one.reports])
        for name in names
    )
    write_outcome(Outcome(reports, judged, ()), out / "roofs")
    return reports


def figures_of(report: Report, prefix: str) -> Figures:
    """Return a report's figures by budget and fault."""
    figures: Figures = {}
    for budget, found in report.budgets.items():
        figures[f"{prefix}_{budget}_false_alarms"] = found.false_alarms_per_month
        for name, fault in found.faults.items():
            key = f"{prefix}_{budget}_{name}"
            figures |= {
                f"{key}_recall": fault.recall,
                f"{key}_lower": fault.lower,
                f"{key}_placebo": fault.placebo,
            }
            delay_ms = fault.delay_ms(0.5)
            if delay_ms is not None:
                figures[f"{key}_delay_h"] = delay_ms / 3_600_000
    return figures


def measure(data: Path, *, quick: bool, kinds: Sequence[str], network: bool, out: Path) -> Figures:
    """Judge every group; the main one is the Portuguese home."""
    events = QUICK_EVENTS if quick else EVENTS
    fitters = {kind: fitter(kind) for kind in kinds}
    figures: Figures = {}
    home = portugal(data)
    if network:
        fitters |= with_network(home)
    main = judge_group("portugal", [channel_of(home, events)], fitters, out)
    for report in main.reports:
        figures |= figures_of(report, report.detector)
    product = {PRODUCT: fitter(PRODUCT)}
    few = max(events // 4, QUICK_EVENTS)
    groups = {
        "measured reactive power": [channel_of(france(data), few)],
        POWER_ONLY: [channel_of(home, few) for home in australia(data, 1 if quick else 6)],
        "simulated homes": [
            channel_of(home, few, simulated_home=True) for home in simulated(1 if quick else 3)
        ],
    }
    for name, channels in groups.items():
        outcome = judge_group(name, channels, product, out)
        figures |= figures_of(outcome.reports[0], name.replace(" ", "_"))
    pv_events = QUICK_PV_EVENTS if quick else PV_EVENTS
    for report in judge_roofs(data, pv_events, 2 if quick else 11, out):
        figures |= figures_of(report, f"roof_{report.detector.replace(' ', '_')}")
    return figures


def main() -> int:
    """Print the figures; exit status 1 when a target is missed, 2 without reference data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few events and series; no verdict")
    parser.add_argument("--kinds", default=",".join(HOME_KINDS), help="detectors, by comma")
    parser.add_argument(
        "--network", action="store_true", help="the autoencoder too; needs the extra `train`"
    )
    parser.add_argument("--out", type=Path, default=REPORT, help="where pages and pictures go")
    args = parser.parse_args()
    data = data_folder()
    if data is None:
        progress("no reference data: set WATTWARDEN_SHARED, or put it in ../shared")
        return 2
    kinds = args.kinds.split(",")
    figures = measure(data, quick=args.quick, kinds=kinds, network=args.network, out=args.out)
    settings: dict[str, str | int | float] = {
        "events": QUICK_EVENTS if args.quick else EVENTS,
        "product": PRODUCT,
        "modelled": "portugal: reactive power and current; simulated homes: all",
    }
    # A dozen events cannot show a bound of .95, whatever is found: they only show that it runs.
    limits = LIMITS[-2:] if args.quick else LIMITS
    return finish(Result("detection", figures, limits, settings))


if __name__ == "__main__":
    sys.exit(main())

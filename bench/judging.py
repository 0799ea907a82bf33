"""What detection costs: per reading, for a refit, for those who are judged meanwhile, on a meter.

Readings of one second go through the judge as the daemon has it: all rules, and the product's model
with an autoencoder as second opinion. A refit is made as the daemon makes it, in a process of its
own, on eight weeks; its memory is what that process had at most.
"""

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from bench.common import Figures, Limit, Result, finish, percentile, progress
from gateway.adapters.fit_process import fit_in_process
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Channel, Stored
from gateway.pipeline.judge import MeterJudge
from gateway.pipeline.rollups import Bucket
from gateway.refitting import Answer, order_of
from gateway.services.fitting import Fitted, History
from gateway.settings import DetectSettings
from tests.support.firmware import ROOT, find_vm, vm
from tests.support.networks import dense
from tests.support.small_home import MONDAY_MS, small_home
from tinymodels.detect.autoencoder import AutoencoderFitter
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.combined_fit import CombinedFitter
from tinymodels.detect.contract import Model, Options
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Minutes, Row

WEEKS_8_DAYS = 56
OPTIONS = Options(ZoneInfo("UTC"), 4.0)
METER = MeterInfo("home", channels={"grid": ChannelInfo("grid", Role.GRID, 40.0)})
SECONDS, QUICK_SECONDS = 6 * 3600, 3600
REFITS, QUICK_REFITS = 5, 2
PAUSE_S = 0.01
WINDOWS = 2000  # what they took is kept in the meter's small heap
CLAMPS = 3
LIMITS = (
    Limit("judge_us_per_reading", "max", 40.0),
    Limit("refit_s", "max", 5.0),
    Limit("refit_peak_mb", "max", 150.0),
)


def readings(minutes: Minutes, count: int) -> Iterator[Stored]:
    """Yield readings of a second, each with a little noise on its minute's values."""
    wild = np.random.default_rng(1)
    rows, number = list(minutes.rows()), 0
    while number < count:
        row = rows[number // 60]
        at_ms = row.start_ms + number % 60 * 1000 + 1000
        power_w = row.p_mean_w * (1 + 0.01 * wild.standard_normal())
        grid = Channel(
            i=row.i_mean_a, p=power_w, q=row.q_mean_var, wh_in=1000.0 + number / 10, wh_out=0.0
        )
        number += 1
        yield Stored(
            row=number, meter="home", boot=1, seq=number, n=1, up_ms=1000 * number, t_ms=at_ms,
            at_ms=at_ms, received_ms=at_ms + 40, dt_ms=1000, marks=0, v=row.v_mean_v, f=50.0,
            ch={"grid": grid},
        )  # fmt: skip


def model() -> CombinedModel:
    """Return charts with an autoencoder beside them, fitted on eight weeks."""
    fitter = CombinedFitter(AutoencoderFitter(dense()))
    return fitter.fit(small_home(WEEKS_8_DAYS, seed=3), OPTIONS)


def judge_cost(judging: Model | None, count: int) -> float:
    """Return µs of CPU per reading of the whole judge, with this model or none."""
    judge = MeterJudge(METER, DetectSettings(gaussian=judging is not None), OPTIONS.zone)
    if judging is not None:
        judge.set_model("grid", judging)
    made = list(readings(small_home(1, seed=4, from_ms=MONDAY_MS + WEEKS_8_DAYS * DAY_MS), count))
    began_ns = time.thread_time_ns()
    for one in made:
        judge.judge(one)
    return (time.thread_time_ns() - began_ns) / 1000 / count


def history(days: float) -> History:
    """Return what the store hands to a refit."""
    return History((_bucket(row) for row in small_home(days, seed=3).rows()), {})


def _bucket(row: Row) -> Bucket:
    means = (row.p_mean_w, row.v_mean_v, row.q_mean_var, row.i_mean_a)
    power, volts, var, amps = (mean * MINUTE_MS for mean in means)
    return Bucket(
        row.start_ms, 60, MINUTE_MS, p_sum=power, p_dt=MINUTE_MS, p_min=row.p_min_w,
        p_max=row.p_max_w, v_sum=volts, v_dt=MINUTE_MS, v_max=row.v_max_v, q_sum=var,
        q_dt=MINUTE_MS, i_sum=amps, i_dt=MINUTE_MS,
    )  # fmt: skip


async def refit_cost(count: int) -> Figures:
    """Return what the monthly refit of one meter takes, champion and its trial included."""
    eight_weeks = history(WEEKS_8_DAYS)
    first = await fit_in_process(history(WEEKS_8_DAYS - 28), OPTIONS, None, 2**62)
    champion = first.model if first is not None else None
    took, spent, late = [], [], []
    for number in range(count):
        began_s, before_s = time.monotonic(), children_s()
        fitting = asyncio.ensure_future(fit_in_process(eight_weeks, OPTIONS, champion, 2**62))
        late.extend(await lateness(fitting))
        taken = "taken" if fitting.result() is not None else "not taken"
        took.append(time.monotonic() - began_s)
        spent.append(children_s() - before_s)
        progress(
            f"refit {number + 1} of {count}: {took[-1]:.2f} s, {spent[-1]:.2f} of CPU, {taken}"
        )
    return {
        "refit_s": statistics.median(took),
        "refit_cpu_s": statistics.median(spent),
        "refit_peak_mb": peak_mb(eight_weeks, champion),
        "refit_loop_late_p99_ms": percentile(late, 0.99),
        "refit_loop_late_most_ms": max(late),
    }


def children_s() -> float:
    """Return the CPU seconds of all processes that this one had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak_mb(weeks: History, champion: CombinedModel | None) -> float:
    """Return the most memory of the process that refits, whether its model is taken or not."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.refitting"], check=True, capture_output=True,
        input=b"".join(order_of(weeks, OPTIONS, champion, 2**62)),
    )  # fmt: skip
    return msgspec.msgpack.decode(done.stdout, type=Answer).peak_mb


async def lateness(until: asyncio.Future[Fitted | None]) -> list[float]:
    """Return by how many ms a loop that has something to do every 10 ms came late meanwhile."""
    found = []
    while not until.done():
        due_s = time.monotonic() + PAUSE_S
        await asyncio.sleep(PAUSE_S)
        found.append(1000 * (time.monotonic() - due_s))
    return found


def check_cost() -> Figures:
    """Return what the meter's own check of a window takes in MicroPython's VM."""
    if find_vm() is None:
        progress("no MicroPython VM here: the meter's check is not measured")
        return {}
    said = vm(ROOT / "bench" / "judging_vm.py", str(WINDOWS), str(CLAMPS)).split()
    return {
        "vm_check_median_us": float(said[0]),
        "vm_check_p99_us": float(said[1]),
        "vm_check_most_us": float(said[2]),
    }


def measure(*, quick: bool) -> Figures:
    """Measure all."""
    seconds = QUICK_SECONDS if quick else SECONDS
    progress("fitting charts and an autoencoder's channel")
    made = model()
    rules = judge_cost(None, seconds)
    whole = judge_cost(made, seconds)
    figures: Figures = {
        "judge_us_per_reading": whole,
        "rules_us_per_reading": rules,
        "model_us_per_reading": whole - rules,
    }
    figures |= asyncio.run(refit_cost(QUICK_REFITS if quick else REFITS))
    return figures | check_cost()


def main() -> int:
    """Print the figures; exit status 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="an hour instead of six; two refits")
    quick = parser.parse_args().quick
    settings: dict[str, str | int | float] = {"weeks": 8, "clamps_vm": CLAMPS}
    return finish(Result("judging", measure(quick=quick), LIMITS, settings))


if __name__ == "__main__":
    sys.exit(main())

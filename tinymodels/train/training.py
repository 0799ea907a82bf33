"""A training run: an archive in, models with cards, reports and verdicts out; it can be resumed."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.domain.errors import BadInputError, GatewayError
from tinymodels.detect.contract import FitRefusedError
from tinymodels.detect.minutes import MINUTE_MS, Minutes
from tinymodels.detect.package import POOLED
from tinymodels.train import archive, files
from tinymodels.train.autoencoder import (
    ConversionError,
    Recipe,
    inputs_of,
    pool,
    tensorflow,
    train_network,
)
from tinymodels.train.fitting import (
    DEVICE,
    KINDS,
    Order,
    fit_channels,
    lay_end_to_end,
    supply_channel,
    usual_minutes,
)
from tinymodels.train.judging import Trial, champions, test_from_ms
from tinymodels.train.outcome import Judge, Outcome, write_device, write_model

MINUTES: Final = "minutes"
NETWORKS: Final = "networks"
DONE: Final = "done"
Told = Callable[[str, int, int, str], None]  # stage, done, of how many, what it was


@dataclass(frozen=True)
class Run:
    """What a run is asked for. `trial` None: no judgement, so nothing that the gate lets out."""

    archive: Path
    out: Path
    order: Order
    meters: Sequence[str] = ()
    jobs: int = 1
    trial: Trial | None = field(default_factory=Trial)
    recipe: Recipe = field(default_factory=Recipe)
    champions: Path | None = None
    fresh: bool = False

    def asked(self, fingerprint: str) -> dict[str, Any]:
        """Return what makes this run another one than an earlier one in the same folder."""
        order = asdict(self.order)
        order["networks"] = sorted(order["networks"])
        return {
            "archive": fingerprint,
            "order": order,
            "meters": list(self.meters),
            "trial": None if self.trial is None else asdict(self.trial),
            "recipe": self.recipe._asdict(),
            "champions": str(self.champions or ""),
        }


class _Task(NamedTuple):
    """One meter (or POOLED) of a stage, as a worker process gets it."""

    run: Run
    meter: str
    work: Path
    parts: Sequence[archive.Part] = ()
    order: Order = Order()


def train(run: Run, told: Told) -> list[Outcome]:
    """Do what is not done yet; return what became of every model, in order.

    BadInputError and ConfigError name what stands in the way: the archive, the options, a package
    that is missing. What was finished before an interruption is kept and not done again.
    """
    _check(run)
    found = archive.find(run.archive, run.meters)
    asked = run.asked(files.fingerprint(found, run.archive))
    with files.held(run.out, asked, fresh=run.fresh) as work:
        read = [_Task(run, meter, work, parts) for meter, parts in found.items()]
        list(_each("reading", _read, read, run.jobs, told))
        minutes = {meter: work / MINUTES / f"{meter}.npz" for meter in found}
        networks = _networks(run, work, minutes, told)
        order = replace(run.order, networks=networks)
        tasks = [_Task(run, meter, work, order=order) for meter in found]
        tasks += [_Task(run, POOLED, work, order=order)] if len(found) > 1 else []
        outcomes = [one for done in _each("fitting", _fit, tasks, run.jobs, told) for one in done]
    return sorted(outcomes, key=lambda one: (one.meter, one.channel, one.kind))


def _check(run: Run) -> None:
    unknown = [kind for kind in run.order.kinds if kind not in KINDS]
    if unknown or not run.order.kinds:
        msg = f"--kinds: {', '.join(unknown) or 'none'}; there are {', '.join(KINDS)}"
        raise BadInputError(msg)
    if "autoencoder" in run.order.kinds:
        tensorflow()
    champions(run.champions)


def _each(
    stage: str,
    work: Callable[[_Task], Any],
    tasks: Sequence[_Task],
    jobs: int,
    told: Told,
) -> Iterator[Any]:
    """Do the tasks, in processes of their own where `jobs` > 1; yield what they return."""
    told(stage, 0, len(tasks), "")
    done: Iterable[tuple[_Task, Any]]
    if jobs == 1 or len(tasks) == 1:
        done = ((task, work(task)) for task in tasks)
        yield from _counted(stage, done, len(tasks), told)
        return
    # Spawned, not forked: TensorFlow and numpy have threads.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=spawned) as pool_:
        waiting = {pool_.submit(work, task): task for task in tasks}
        done = ((waiting[one], one.result()) for one in as_completed(waiting))
        try:
            yield from _counted(stage, done, len(tasks), told)
        except BrokenProcessPool as error:
            msg = "a worker was killed, likely for want of memory: go on with fewer --jobs"
            raise GatewayError(msg) from error
        except BaseException:
            pool_.shutdown(wait=False, cancel_futures=True)
            raise


def _counted(
    stage: str, done: Iterable[tuple[_Task, Any]], count: int, told: Told
) -> Iterator[Any]:
    for number, (task, result) in enumerate(done):
        told(stage, number + 1, count, "pooled" if task.meter == POOLED else task.meter)
        yield result


def _read(task: _Task) -> None:
    """Keep a meter's minutes, read from its part of the archive."""
    path = task.work / MINUTES / f"{task.meter}.npz"
    if not path.exists():
        files.save_minutes(path, archive.read(task.parts))


def _networks(run: Run, work: Path, minutes: Mapping[str, Path], told: Told) -> dict[str, bytes]:
    """Return a trained network for each channel's name: of all meters that have it."""
    if "autoencoder" not in run.order.kinds:
        return {}
    known = {meter: files.load_minutes(path) for meter, path in minutes.items()}
    channels = sorted({name for found in known.values() for name in found})
    networks = {}
    for channel in channels:
        path = work / NETWORKS / f"{channel}.tflite"
        if not path.exists():
            _train_one(run, path, channel, known, told)
        if path.stat().st_size:
            networks[channel] = path.read_bytes()
    return networks


def _train_one(
    run: Run, path: Path, channel: str, known: Mapping[str, Mapping[str, Minutes]], told: Told
) -> None:
    """Train a channel's network on months that no judgement uses; an empty file: there is none."""
    parts = []
    for meter, found in known.items():
        if channel not in found:
            continue
        voltage = supply_channel(found) == channel
        try:
            before = _unjudged(usual_minutes(meter, found[channel], _all_of(run.order)), run.trial)
            parts.append(inputs_of(before, run.order.options(voltage=voltage)))
        except FitRefusedError:
            continue
    if not parts:
        files.write_whole(path, b"")
        return
    recipe = run.recipe._replace(seed=run.order.seed)
    try:
        trained = train_network(
            pool(parts), recipe, lambda done, count: told(f"network {channel}", done, count, "")
        )
    except ConversionError as error:  # the other models are none the worse for it
        told(f"network {channel} is refused: {error}", 1, 1, "")
        files.write_whole(path, b"")
        return
    files.write_json(path.with_suffix(".json"), trained.card())
    files.write_whole(path, trained.network)


def _all_of(order: Order) -> Order:
    """Return the order for everything there is: a network learns from more than eight weeks."""
    return replace(order, span_ms=2**52)


def _unjudged(minutes: Minutes, trial: Trial | None) -> Minutes:
    if trial is None or not len(minutes):
        return minutes
    return minutes.between(0, test_from_ms(minutes, trial))


def _fit(task: _Task) -> list[Outcome]:
    """Fit, judge and write all models of one meter, or those of all meters together."""
    marker = task.work / DONE / f"{'pooled' if task.meter == POOLED else task.meter}.json"
    if marker.exists():
        return [Outcome(*one) for one in files.read_json(marker)]
    series = _series(task)
    order = task.order
    if task.meter == POOLED:
        laid = {name: lay_end_to_end(_usual(homes, order)) for name, homes in series.items()}
        homes = [minutes for found in series.values() for minutes in found.values()]
        last_ms = max((int(one.start_ms[-1]) for one in homes if len(one)), default=0)
        order = _pooled_order(task, laid, last_ms)
    else:
        laid = {name: found[task.meter] for name, found in series.items()}
    judge = Judge(order, task.run.trial, champions(task.run.champions), _cards(task.work), series)
    outcomes = []
    for row in fit_channels(task.meter, laid, order) if laid else ():
        write = write_device if row[2] == DEVICE else write_model
        outcomes.append(write(task.run.out, row, judge))
    files.write_json(marker, outcomes)
    return outcomes


def _usual(homes: Mapping[str, Minutes], order: Order) -> list[Minutes]:
    """Return each home's minutes without the time of its alerts."""
    return [usual_minutes(meter, minutes, _all_of(order)) for meter, minutes in homes.items()]


def _series(task: _Task) -> dict[str, dict[str, Minutes]]:
    """Return the task's minutes by channel and meter; of all meters, channels that two have."""
    folder = task.work / MINUTES
    paths = sorted(folder.glob("*.npz")) if task.meter == POOLED else [folder / f"{task.meter}.npz"]
    least = 2 if task.meter == POOLED else 1
    found: dict[str, dict[str, Minutes]] = {}
    for path in paths:
        for channel, minutes in files.load_minutes(path).items():
            found.setdefault(channel, {})[path.stem] = minutes
    return {name: homes for name, homes in sorted(found.items()) if len(homes) >= least}


def _pooled_order(task: _Task, laid: Mapping[str, Minutes], last_ms: int) -> Order:
    """Return the order for all meters: everything laid end to end, versions by the true time."""
    version = task.order.version or _day(last_ms)
    until_ms = max((int(m.start_ms[-1]) + MINUTE_MS for m in laid.values()), default=0)
    return replace(_all_of(task.order), version=version, until_ms=until_ms, clock_ms=last_ms)


def _day(at_ms: int) -> int:
    return int(f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y%m%d}")


def _cards(work: Path) -> dict[str, Any]:
    """Return what is known of each channel's network."""
    return {path.stem: files.read_json(path) for path in (work / NETWORKS).glob("*.json")}

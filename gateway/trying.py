"""The process that tries a model: `python -m gateway.trying`, the file on stdin, JSON on stdout.

A model that hangs, crashes or eats the memory does so here, and not in the daemon.
"""

import importlib.util
import json
import math
import os
import resource
import sys
import time

from gateway.domain.errors import BadInputError
from tinymodels.detect.contract import Model, ModelRefusedError
from tinymodels.detect.kinds import open_package
from tinymodels.detect.minutes import MINUTE_MS, Row
from tinymodels.detect.package import Package, self_test, unpack
from tinymodels.detect.signals import NAMES, VERSION

LOWEST_PRIORITY = 15
MOST_CPU_S = 60
MOST_MEMORY_BYTES = 1 << 30
TIMED_MINUTES = 1440  # a day
LONGEST_TIMING_S = 20.0
FROM_MS = 1_767_571_200_000  # any Monday
RUNTIMES = {"numpy": ("numpy",), "litert": ("ai_edge_litert", "tflite_runtime")}


def examine(content: bytes) -> float:
    """Return a model's time per minute of data in µs, on this machine.

    Raises ModelRefusedError where it does not run here, or not as where it was made.
    """
    package = unpack(content)
    _check_features(package)
    for need in package.needs:
        if not any(importlib.util.find_spec(name) for name in RUNTIMES.get(need, ())):
            msg = f"it needs {need}, which is not installed here"
            raise ModelRefusedError(msg)
    model = open_package(package)
    self_test(package, model)
    return timed(model)


def _check_features(package: Package) -> None:
    """Refuse features of another version, or in another order, than are computed here."""
    if package.features_version != VERSION:
        msg = f"its features are of version {package.features_version}, here they are of {VERSION}"
        raise ModelRefusedError(msg)
    unknown = [name for name in package.features if name not in NAMES]
    if unknown:
        msg = f"features {', '.join(unknown)[:100]} are not known here"
        raise ModelRefusedError(msg)
    if list(package.features) != [name for name in NAMES if name in package.features]:
        msg = "its features stand in another order than here"
        raise ModelRefusedError(msg)


def timed(model: Model) -> float:
    """Return the mean time of a step per minute of data in µs; ModelRefusedError for no number."""
    state, until_s = model.new_state(), time.monotonic() + LONGEST_TIMING_S
    began_ns, number = time.thread_time_ns(), 0
    for number in range(1, TIMED_MINUTES + 1):
        verdict = model.step(state, _minute(number))
        if verdict is not None and not math.isfinite(verdict.score):
            msg = f"its score is {verdict.score} for a plain day"
            raise ModelRefusedError(msg)
        if time.monotonic() > until_s:
            break
    took_us = (time.thread_time_ns() - began_ns) / 1000 / number
    model.load_state(model.dump_state(state))
    return took_us


def _minute(number: int) -> Row:
    """Return a minute of a made-up day: base load, a fridge, a kettle now and then."""
    power_w = 120.0 + 80.0 * (number % 40 < 15) + 2000.0 * (number % 300 < 4)  # noqa: PLR2004
    volts = 231.0 - power_w / 500.0 + math.cos(number / 90)
    var = 90.0 * (number % 40 < 15) - 30.0  # noqa: PLR2004
    amps = math.hypot(power_w, var) / volts
    return Row(
        FROM_MS + number * MINUTE_MS, power_w, power_w - 5, power_w + 9, volts, volts + 0.5,
        var, amps,
    )  # fmt: skip


def main() -> None:
    """Try the model on stdin at a priority that leaves the daemon its time."""
    os.nice(LOWEST_PRIORITY)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    try:
        told: dict[str, object] = {"step_us": examine(sys.stdin.buffer.read())}
    except (BadInputError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        known = isinstance(error, ModelRefusedError)
        told = {"why": str(error) if known else f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()

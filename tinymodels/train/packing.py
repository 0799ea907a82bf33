"""From a fitted model to the file that is published, with a self-test that shows nobody's home."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from tinymodels.detect.contract import Model
from tinymodels.detect.minutes import MINUTE_MS, Minutes, Row
from tinymodels.detect.package import Package, Vectors, self_test
from tinymodels.detect.signals import NAMES, VERSION

TEST_FROM_MS: Final = 1_767_571_200_000  # Monday, 2026-01-05 00:00 UTC
TEST_MINUTES: Final = 34 * 60  # one daily memory, a hole, and some hours anew
DENSE_MINUTES: Final = 45  # then one minute in five: what a block needs
HOLE: Final = range(27 * 60, 34 * 60 - 30)  # longer than what forgets everything
DARK: Final = range(5 * 60, 6 * 60)  # voltage is unknown
SUNNY: Final = range(11 * 60, 14 * 60)
SWELL: Final = range(20 * 60, 21 * 60)
FRIDGE: Final = (40, 15)  # minutes: from one start to the next, and how long it runs
KETTLE: Final = (470, 5)
AUTOENCODER: Final = "autoencoder"
TOLERANCE: Final = 1e-6
INT8_TOLERANCE: Final = 0.05  # integer kernels of other processors may round the other way


class Whose(NamedTuple):
    """Which channel of which meter (or "*", all) a model is for, and its version."""

    meter: str
    channel: str
    version: int


def self_test_minutes() -> Minutes:
    """Return a made-up day and a half that reaches every branch of the features.

    Import, export, reactive power, unknown voltage, a swell, a hole of more than six hours; not
    a minute of it was measured in a home.
    """
    return Minutes.from_rows(
        _minute(number)
        for number in range(TEST_MINUTES)
        if (number < DENSE_MINUTES or number % 5 == 0) and number not in HOLE
    )


def _minute(number: int) -> Row:
    cycle = number % FRIDGE[0] < FRIDGE[1]
    kettle = number % KETTLE[0] < KETTLE[1]
    power_w = 140.0 + 90.0 * cycle + 1900.0 * kettle + 30.0 * math.sin(number / 37)
    if number in SUNNY:
        power_w -= 1500.0
    volts = math.nan if number in DARK else 231.0 - 0.0018 * power_w + math.cos(number / 90)
    if number in SWELL:
        volts *= 1.08
    var = -40.0 + 130.0 * cycle
    amps = math.hypot(power_w, var) / volts
    most_w = power_w + 60.0 * cycle
    return Row(
        TEST_FROM_MS + number * MINUTE_MS, power_w, power_w - 10.0, most_w, volts, volts + 0.7,
        var, amps,
    )  # fmt: skip


def package_of(model: Model, whose: Whose, card: Mapping[str, Any]) -> Package:
    """Return a model as what is published. ModelRefusedError where its self-test fails."""
    minutes = self_test_minutes()
    network = AUTOENCODER in (model.kind, getattr(model, "other_kind", ""))
    _, scores = model.score(minutes)
    package = Package(
        kind=model.kind,
        version=whose.version,
        meter=whose.meter,
        channel=whose.channel,
        features=NAMES,
        features_version=VERSION,
        payload=model.to_bytes(),
        vectors=Vectors(minutes, np.asarray(scores), INT8_TOLERANCE if network else TOLERANCE),
        needs=("numpy", "litert") if network else ("numpy",),
        card=card,
    )
    self_test(package, type(model).from_bytes(package.payload))
    return package

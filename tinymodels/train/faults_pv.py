"""Lost strings on solar series: the site's own envelope, its neighbours, and both, judged."""

from collections.abc import Mapping
from typing import Final

from tinymodels.detect.contract import Options
from tinymodels.detect.injector import FaultName
from tinymodels.detect.minutes import DAY_MS, Minutes
from tinymodels.detect.roofs import TRAILING_DAYS
from tinymodels.detect.solar import SolarFitter, sun_like, yields
from tinymodels.train.protocol import Contender, Terms

TRAILING_MS: Final = TRAILING_DAYS * DAY_MS


def solar_terms(options: Options, *, events: int, seed: int) -> Terms:
    """Return what a lost string is judged under."""
    return Terms(
        options, faults=(FaultName.PV_LOST,), events=events, seed=seed, trailing_ms=TRAILING_MS
    )


def solar_contenders(name: str, series: Mapping[str, Minutes]) -> list[Contender]:
    """Return the detectors for one site: by its envelope, and where others are near, by them.

    `series` are all sites under the same sun, by name. Only the fault's own site is ever
    faulty: neighbours are taken as they are, clouds, dirt and outages included.
    """
    found = [Contender("envelope", SolarFitter())]
    others = [yields(minutes) for other, minutes in series.items() if other != name]
    if len(others) > 1:
        peers = sun_like(others)
        found += [
            Contender("neighbours", SolarFitter(peers, own=False)),
            Contender("envelope and neighbours", SolarFitter(peers)),
        ]
    return found

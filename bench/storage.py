"""A year of one meter, one window a second: charts out of it, and the space it takes.

Series for a day raw (86,400 points), a month by the quarter hour and a year by the day, read
and encoded as the web does it; the database has the usual 30 days of raw readings.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

import orjson

from bench.common import Figures, Limit, Result, finish, percentile, progress, work_directory
from bench.year import CHANNEL, DAY_MS, METER, ZONE, make_year
from gateway.adapters.store.database import opened
from gateway.adapters.store.history import SqlHistory
from gateway.services.energy import EnergyQuery
from gateway.services.series import Series, SeriesQuery

LIMITS = (
    Limit("series_day_raw_p50_ms", "max", 50),
    Limit("series_month_15m_p50_ms", "max", 50),
    Limit("series_year_1d_p50_ms", "max", 50),
)
END_MS = 1_763_769_600_000  # 2025-11-22 00:00 UTC
SPANS = (("day", 1, "raw"), ("month", 30, "15m"), ("year", 365, "1d"))
REPEATS = 21
MONTH_DAYS = 30


def _encode(series: Series) -> bytes:
    columns = {"t": series.t, **series.columns}
    return orjson.dumps(columns, option=orjson.OPT_SERIALIZE_NUMPY)


async def charts(path: Path, repeats: int) -> Figures:
    """Time each chart with power and voltage, the first call left out."""
    figures: Figures = {}
    with opened(path) as database:
        history = SqlHistory(database, ZONE)
        for name, days, resolution in SPANS:
            query = SeriesQuery(
                METER, CHANNEL, ("p", "v"), END_MS - days * DAY_MS, END_MS, resolution
            )
            took_ms = []
            size = 0
            for _ in range(repeats + 1):
                began = time.perf_counter()
                size = len(await history.series(query, _encode))
                took_ms.append((time.perf_counter() - began) * 1000)
            key = f"series_{name}_{resolution}"
            figures |= {
                f"{key}_p50_ms": percentile(took_ms[1:], 0.5),
                f"{key}_worst_ms": max(took_ms[1:]),
                f"{key}_bytes": size,
            }
        figures |= await energies(history)
        history.close()
    return figures


async def energies(history: SqlHistory) -> Figures:
    """Time the kWh of a month by the day and of a year by the month."""
    figures: Figures = {}
    for name, days, by in (("month", 30, "day"), ("year", 365, "month")):
        query = EnergyQuery(METER, END_MS - days * DAY_MS, END_MS, by)
        began = time.perf_counter()
        await history.energy(query, len_of_items)
        figures[f"energy_{name}_by_{by}_ms"] = (time.perf_counter() - began) * 1000
    return figures


def len_of_items(energy: object) -> int:
    """Return how large an answer is, so that nothing is left lazily unread."""
    return len(repr(energy))


def main() -> int:
    """Write the year, time the charts, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 days of raw readings, fewer calls")
    args = parser.parse_args()
    raw_days = 2 if args.quick else MONTH_DAYS
    with work_directory() as place:
        path = place / "year.db"
        began = time.monotonic()
        make_year(path, END_MS, raw_days)
        progress(f"a year of rollups and {raw_days} days raw in {time.monotonic() - began:.0f} s")
        figures = asyncio.run(charts(path, 5 if args.quick else REPEATS))
        size_mb = path.stat().st_size / 1e6
        bare = place / "bare.db"
        make_year(bare, END_MS, 0)
        figures["rollups_year_mb"] = bare.stat().st_size / 1e6
        figures["database_mb"] = size_mb
        figures["raw_day_mb"] = (size_mb - figures["rollups_year_mb"]) / raw_days
    settings: dict[str, str | int | float] = {"raw_days": raw_days, "windows_per_s": 1}
    return finish(Result("storage", figures, LIMITS, settings))


if __name__ == "__main__":
    sys.exit(main())

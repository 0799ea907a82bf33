"""Solar series of the reference data, for judging `pv_underperformance`."""

from pathlib import Path

import numpy as np
import pandas as pd

from bench.detection_data import Home, at_ms, milliseconds
from tinymodels.detect.minutes import MINUTE_MS, VALUES, Floats, Minutes, Times

# Sites of one neighbourhood whose channel is known to be broken (see the data's page).
BROKEN = (14, 15)
FIRST_DAY = "2021-08-01"  # CityLearn 2022 gives months and hours, no year


def _solar(start_ms: Times, power_w: Floats) -> Minutes:
    """Return one minute for each half hour that a value covers; the others are not needed."""
    values = np.full((len(start_ms), len(VALUES)), np.nan)
    values[:, :3] = power_w[:, None]
    order = np.argsort(start_ms, kind="stable")
    kept = order[np.append(np.diff(start_ms[order]) > 0, [True])]
    return Minutes(start_ms[kept], values[kept])


def neighbourhood(data: Path) -> dict[str, Home]:
    """Return a Californian neighbourhood's roofs by the hour, for a year: each knows the others."""
    frame = pd.read_parquet(data / "02_household" / "citylearn2022_17homes_1h.parquet")
    found = {}
    for home, part in frame[~frame.home.isin(BROKEN)].groupby("home"):
        hours = part.sort_values("h")
        begin = at_ms(FIRST_DAY) + hours.h.to_numpy(np.int64) * 3_600_000
        power = (hours.pv_w_per_kw * hours.pv_kw).to_numpy(float)
        starts = np.concatenate((begin, begin + 30 * MINUTE_MS))
        name = f"california_{home}"
        minutes = _solar(starts, np.concatenate((power, power)))
        found[name] = Home(name, minutes, at_ms("2022-01-28"), about="hourly generation")
    return found


def single_sites(data: Path) -> list[Home]:
    """Return sites that have no neighbours: Spain, Australia, Nevada (its clock shifts twice)."""
    spain = pd.read_csv(data / "02_household" / "emhass_home_30min.csv.gz", parse_dates=["ts_utc"])
    solar = "power_photovoltaics"
    spain = spain.drop_duplicates("ts_utc").set_index("ts_utc")[solar].fillna(0.0)
    australia = pd.read_csv(
        data / "03_pv" / "ausgrid_customer12_30min.csv.gz", parse_dates=["ts"]
    ).dropna()
    nevada = pd.read_parquet(data / "03_pv" / "pvdaq_system50_ac_power_dst_shift.parquet").dropna()
    local = pd.to_datetime(nevada.measured_on).dt.tz_localize(None)
    quarters = milliseconds(local) // MINUTE_MS * MINUTE_MS
    return [
        _home("spain", _solar(milliseconds(spain.index.to_series()), spain.to_numpy(float)),
              "2024-08-25", "half-hourly generation, nights filled with 0"),
        _home("australia_roof", _solar(milliseconds(australia.ts), 1000 * australia.GG.to_numpy()),
              "2012-01-01", "half-hourly generation"),
        _home("nevada", _solar(quarters, nevada.ac_power_2.to_numpy(float)),
              "2012-04-15", "quarter-hourly generation, its clock shifts by an hour"),
    ]  # fmt: skip


def _home(name: str, minutes: Minutes, test_from: str, about: str) -> Home:
    return Home(name, minutes, at_ms(test_from), about=about)

"""Series for judging detectors, made of the reference data: what is measured, what is modelled."""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from tinymodels.detect.minutes import MINUTE_MS, VALUES, Floats, Minutes, Times

ROOT = Path(__file__).resolve().parents[1]
HALF_HOUR = 30
# Home A has voltage from Christmas 2019; what is judged begins when eight weeks of it are past.
PORTUGAL_TEST = "2020-03-01"
PORTUGAL_FROM = "2019-12-01"
Q_BINS_W = (0, 100, 200, 300, 450, 700, 1000, 1500, 2200, 3000, 4500, 1e9)


@dataclass(frozen=True, slots=True)
class Home:
    """One channel's minutes, where its test begins, and which columns nobody measured."""

    name: str
    minutes: Minutes
    test_from_ms: int
    modelled: tuple[str, ...] = ()
    short: bool = False
    about: str = ""


def data_folder() -> Path | None:
    """Return `$WATTWARDEN_SHARED/data`, else `../shared/data`, or None when absent."""
    named = os.environ.get("WATTWARDEN_SHARED")
    base = Path(named) if named else ROOT.parent / "shared"
    return base / "data" if (base / "data").is_dir() else None


def milliseconds(times: "pd.Series[pd.Timestamp]") -> Times:
    """Return naive local times as if they were UTC, in ms: hours of the day stay what they are."""
    result: Times = times.to_numpy(dtype="datetime64[ms]").astype(np.int64)
    return result


def at_ms(day: str) -> int:
    """Return a day's first ms."""
    return int(np.datetime64(day, "ms").astype(np.int64))


def portugal(data: Path, *, seed: int = 6) -> Home:
    """Return home A of Portugal: P and V measured at 60 to 69 s, Q modelled, I of all three."""
    frame = pd.read_parquet(data / "02_household" / "pt_han_home_a_1min.parquet")
    frame = frame[frame.ts >= PORTUGAL_FROM]
    known = frame.p_import_w.notna() | frame.p_export_w.notna()
    net = frame.p_import_w.fillna(0.0) - frame.p_export_w.fillna(0.0)
    minute = frame.ts.dt.floor("min")
    grouped = pd.DataFrame({"p": net.where(known), "v": frame.v_l1}).groupby(minute)
    means, least, most = grouped.mean(), grouped.min(), grouped.max()
    means = means[means.p.notna()]
    starts = milliseconds(means.index.to_series())
    p_w, v = means.p.to_numpy(float), means.v.to_numpy(float)
    q_var = modelled_reactive(data, starts, p_w, seed)
    values = _columns(
        p_mean_w=p_w,
        p_min_w=least.p.loc[means.index].to_numpy(float),
        p_max_w=most.p.loc[means.index].to_numpy(float),
        v_mean_v=v,
        v_max_v=most.v.loc[means.index].to_numpy(float),
        q_mean_var=q_var,
        i_mean_a=np.hypot(p_w, q_var) / np.where(np.isfinite(v), v, 230.0),
    )
    return Home(
        "portugal_a",
        Minutes(starts, values),
        at_ms(PORTUGAL_TEST),
        ("q_mean_var", "i_mean_a"),
        about="net power of one home with small PV; Q after the French home's Q given P",
    )


def modelled_reactive(data: Path, start_ms: Times, power_w: Floats, seed: int) -> Floats:
    """Return a reactive power for a home where none was measured.

    Per class of power the French home's median, and around it that home's own residuals, a
    whole day of them at a time, drawn at random: their autocorrelation and hours stay real.
    """
    french = uci_frame(data)
    watts, vars_ = french.p_kw.to_numpy(float) * 1000, french.q_kvar.to_numpy(float) * 1000
    medians = np.array([
        np.nanmedian(vars_[(watts >= low) & (watts < high)])
        if ((watts >= low) & (watts < high)).sum() > 100
        else np.nan
        for low, high in pairwise(Q_BINS_W)
    ])  # fmt: skip
    medians = pd.Series(medians).bfill().ffill().to_numpy()
    residual = vars_ - medians[np.digitize(watts, Q_BINS_W[1:-1])]
    by_day = pd.Series(residual, index=french.ts).ffill()
    days = [part.to_numpy() for _, part in by_day.groupby(french.ts.dt.date.to_numpy())]
    days = [part for part in days if len(part) == 1440]
    rng = np.random.default_rng(seed)
    day_number = start_ms // (1440 * MINUTE_MS)
    chosen = rng.integers(len(days), size=int(day_number.max() - day_number.min()) + 1)
    pool = np.stack(days)
    drawn = pool[chosen[day_number - day_number.min()], (start_ms // MINUTE_MS) % 1440]
    base: Floats = medians[np.digitize(np.abs(power_w), Q_BINS_W[1:-1])]
    result: Floats = base + drawn
    return result


def uci_frame(data: Path) -> pd.DataFrame:
    """Return the French home's frame, gaps of single minutes left as NaN."""
    return pd.read_parquet(data / "02_household" / "uci_household_1min.parquet")


def france(data: Path) -> Home:
    """Return the French home: P, Q, V and I all measured, but 21 days for fitting, 12 to test."""
    frame = uci_frame(data).dropna(subset=["p_kw"])
    p_w = frame.p_kw.to_numpy(float) * 1000
    values = _columns(
        p_mean_w=p_w, p_min_w=p_w, p_max_w=p_w,
        v_mean_v=frame.v.to_numpy(float), v_max_v=frame.v.to_numpy(float),
        q_mean_var=frame.q_kvar.to_numpy(float) * 1000, i_mean_a=frame.i.to_numpy(float),
    )  # fmt: skip
    return Home(
        "france",
        Minutes(milliseconds(frame.ts), values),
        at_ms("2006-12-30"),
        short=True,
        about="everything measured, but only 8 days of test after 13 of fitting",
    )


def australia(data: Path, most: int) -> list[Home]:
    """Return Australian homes by the half hour: power only, two years; each is 30 equal minutes."""
    frame = pd.read_parquet(data / "02_household" / "sgsc_10homes_30min.parquet")
    homes = []
    for number, (_, part) in enumerate(frame.groupby("home"), 1):
        ordered = part.sort_values("ts").drop_duplicates("ts")
        minutes = _spread(milliseconds(ordered.ts), ordered.kwh.to_numpy(float) * 2000)
        homes.append(
            Home(
                f"australia_{number}",
                minutes,
                at_ms("2013-01-01"),
                about="half-hourly power, no voltage, no reactive power",
            )
        )
    return homes[:most]


def _spread(start_ms: Times, power_w: Floats) -> Minutes:
    """Return half hours as minutes of the same power."""
    starts = (start_ms[:, None] + MINUTE_MS * np.arange(HALF_HOUR)).ravel()
    p_w = np.repeat(power_w, HALF_HOUR)
    return Minutes(starts, _columns(p_mean_w=p_w, p_min_w=p_w, p_max_w=p_w))


def _columns(**known: Floats) -> Floats:
    """Return a matrix of VALUES, NaN where a column is not given."""
    rows = len(known["p_mean_w"])
    return np.column_stack([known.get(name, np.full(rows, np.nan)) for name in VALUES])

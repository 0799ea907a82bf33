"""Parquet files of readings or minutes, as the archive and `wattwarden export` write them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from gateway.domain.errors import BadInputError, ConfigError
from tinymodels.detect.minutes import MINUTE_MS, Floats, Minutes, Times

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyarrow import RecordBatch

HIVE_METER: Final = re.compile(r"meter=([a-z0-9][a-z0-9-]{1,31})")
# An export is of one channel and says neither meter nor channel: its file's name must.
EXPORT: Final = re.compile(r"([a-z0-9][a-z0-9-]{1,31})-([a-z][a-z0-9_]{0,15})")
BATCH_ROWS: Final = 500_000
LEAST_TO_JUDGE: Final = 10  # rows that tell an export's resolution
# What each sum of `_Sums` is made of: (raw column, column of 1m intervals).
MEANS: Final = (("p", "p_mean"), ("v", "v_mean"), ("q", "q_mean"), ("i", "i_mean"))
EXTREMES: Final = (("p", "p_min"), ("p", "p_max"), ("v", "v_max"))


class Part(NamedTuple):
    """One Parquet file of a meter; `channel` is "" where the file itself tells it."""

    path: Path
    channel: str


class _Sums(NamedTuple):
    """Sums over minutes: Σ x·dt and Σ dt of MEANS, and EXTREMES; rows are minutes."""

    start_ms: Times
    sums: Floats
    weights: Floats
    extremes: Floats


def find(root: Path, meters: Sequence[str] = ()) -> dict[str, list[Part]]:
    """Return the files below a folder by meter, each meter's in time order.

    Both `site=…/date=…/meter=…/HH.parquet` and `<meter>-<channel>.parquet` are understood.
    BadInputError where there are none, or of a meter that is asked for, and where a file does
    not say whose it is.
    """
    if not root.is_dir():
        msg = f"--archive: {root} is no folder"
        raise BadInputError(msg)
    found: dict[str, list[Part]] = {}
    for path in sorted(root.rglob("*.parquet")):
        if path.name.startswith("."):
            continue  # being written
        meter, part = _whose(path)
        found.setdefault(meter, []).append(part)
    if not found:
        msg = f"--archive: no Parquet file lies below {root}; see: wattwarden export --archive"
        raise BadInputError(msg)
    missing = [meter for meter in meters if meter not in found]
    if missing:
        msg = f"--meters: {root} has nothing of {', '.join(missing)}; it has {', '.join(found)}"
        raise BadInputError(msg)
    return {meter: found[meter] for meter in sorted(meters or found)}


def _whose(path: Path) -> tuple[str, Part]:
    for parent in path.parents:
        if named := HIVE_METER.fullmatch(parent.name):
            return named[1], Part(path, "")
    if named := EXPORT.fullmatch(path.stem):
        return named[1], Part(path, named[2])
    msg = f"{path}: says not whose it is; call an export <meter>-<channel>.parquet"
    raise BadInputError(msg)


def read(parts: Sequence[Part]) -> dict[str, Minutes]:
    """Return a meter's minutes by channel; memory grows with minutes, not with readings.

    BadInputError names a file that cannot be used; ConfigError where pyarrow is missing.
    """
    sums: dict[str, list[_Sums]] = {}
    for part in parts:
        for batch in _batches(part.path):
            columns = {name: _column(batch, name) for name in batch.schema.names}
            try:
                for channel, mine in _by_channel(columns, part.channel):
                    sums.setdefault(channel, []).append(_sum(mine))
            except BadInputError as error:
                msg = f"{part.path}: {error}"
                raise BadInputError(msg) from error
    return {channel: _minutes(_merge(found)) for channel, found in sorted(sums.items())}


def minutes_of(frame: "DataFrame") -> Minutes:
    """Return the minutes of one channel from a frame with the archive's columns, raw or 1m.

    Its rows may be in any order, as those of a group in Spark are. A frame with the columns of
    `Minutes` is taken as it is. BadInputError for other ones.
    """
    if "start_ms" in frame.columns:
        return Minutes.from_frame(frame.sort_values("start_ms"))
    wanted = {"t", "dt", *(name for pair in (*MEANS, *EXTREMES) for name in pair)}
    columns = {
        name: frame[name].to_numpy(np.int64)
        if name in ("t", "dt")
        else frame[name].to_numpy(np.float64, na_value=np.nan)
        for name in frame.columns
        if name in wanted
    }
    return _minutes(_sum(columns))


def _batches(path: Path) -> Iterator["RecordBatch"]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        msg = "--archive: needs pyarrow; install it with: pip install 'wattwarden[train]'"
        raise ConfigError(msg) from error
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH_ROWS)
    except (pa.ArrowException, OSError) as error:
        msg = f"{path}: no usable Parquet file ({str(error)[:200]}); write it again"
        raise BadInputError(msg) from error


def _column(batch: "RecordBatch", name: str) -> Any:  # noqa: ANN401 - text, int64 or float64
    column = batch.column(name)
    if name in ("t", "dt"):
        return column.to_numpy(zero_copy_only=False)
    if name in ("channel", "flags"):
        return np.asarray(column.to_pylist(), dtype=object)
    return column.to_numpy(zero_copy_only=False).astype(np.float64)


def _by_channel(columns: dict[str, Any], channel: str) -> Iterator[tuple[str, dict[str, Any]]]:
    names = columns.pop("channel", None)
    columns.pop("flags", None)
    if names is None and not channel:
        msg = "has no column `channel`"
        raise BadInputError(msg)
    if names is None:
        yield channel, columns
        return
    for one in sorted(set(names.tolist())):
        mine = names == one
        yield one, {name: values[mine] for name, values in columns.items()}


def _sum(columns: Mapping[str, Any]) -> _Sums:
    """Return the sums over minutes of rows in any order.

    A reading belongs to the minute that holds the middle of its window, and weighs as much as
    it lasted: the rule of the gateway's own rollups.
    """
    raw = "dt" in columns
    if "t" not in columns or not ({"p", "p_mean"} & columns.keys()):
        msg = f"has no readings or intervals; its columns are {', '.join(columns)}"
        raise BadInputError(msg)
    times_ms = np.asarray(columns["t"], dtype=np.int64)
    weight = np.asarray(columns["dt"] if raw else np.full(len(times_ms), MINUTE_MS), np.float64)
    if raw:
        times_ms = times_ms - np.asarray(columns["dt"], dtype=np.int64) // 2
    else:
        _check_minutes(times_ms)
    unknown = np.full(len(times_ms), np.nan)
    pick = 0 if raw else 1
    values = np.stack([columns.get(pair[pick], unknown) for pair in MEANS], axis=1)
    extremes = np.stack([columns.get(pair[pick], unknown) for pair in EXTREMES], axis=1)
    known = np.isfinite(values)
    weights = known * weight[:, None]
    rows = _Sums(
        times_ms - times_ms % MINUTE_MS, np.where(known, values, 0.0) * weights, weights, extremes
    )
    return _merge([rows])


def _check_minutes(times_ms: Times) -> None:
    steps = np.diff(np.unique(times_ms))
    if len(steps) >= LEAST_TO_JUDGE and int(steps.min()) > MINUTE_MS:
        msg = (
            f"holds intervals of {int(steps.min()) // MINUTE_MS} min; models are made of minutes:"
            " export with --resolution 1m or raw"
        )
        raise BadInputError(msg)


def _merge(parts: Sequence[_Sums]) -> _Sums:
    """Return sums in which each minute is there once."""
    start_ms = np.concatenate([part.start_ms for part in parts])
    if not len(start_ms):
        return parts[0]
    order = np.argsort(start_ms, kind="stable")
    start_ms = start_ms[order]
    edges = np.flatnonzero(np.diff(start_ms, prepend=start_ms[0] - 1))
    sums, weights, extremes = (
        np.concatenate([part[number] for part in parts])[order] for number in (1, 2, 3)
    )
    least = np.fmin.reduceat(extremes[:, :1], edges)
    most = np.fmax.reduceat(extremes[:, 1:], edges)
    return _Sums(
        start_ms[edges],
        np.add.reduceat(sums, edges),
        np.add.reduceat(weights, edges),
        np.hstack([least, most]),
    )


def _minutes(sums: _Sums) -> Minutes:
    with np.errstate(invalid="ignore"):
        p, v, q, i = (sums.sums / np.where(sums.weights > 0, sums.weights, np.nan)).T
    p_min, p_max, v_max = sums.extremes.T
    return Minutes(sums.start_ms, np.stack([p, p_min, p_max, v, v_max, q, i], axis=1))

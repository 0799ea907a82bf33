"""Models as meters take them: JSON within 8 KiB, with the vectors that a meter tests itself on."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from gateway.domain.errors import BadInputError
from tinymodels.detect.device_features import NAMES, Floats, Row, featurise
from tinymodels.detect.device_model import FORMAT, DeviceGaussian

MOST_BYTES = 8192
DIGITS = 5  # more than a fit knows
VECTORS = 2  # per channel
# A quarter of an hour's rows that reach every branch: import, export, reactive, no voltage.
_TRACES = (
    (
        Row(1000, 231.25, 49.98, 4.5, 1012.5, 120.0),
        Row(1000, 230.5, 50.01, 9.25, 2105.0, -75.5),
        Row(999, 229.0, 50.0, 0.125, 12.5, -20.0),
        Row(60_000, 233.5, 49.95, 1.5, 310.0, 85.0),
        Row(60_000, 236.0, 50.05, 8.0, -1850.0, 40.0),
    ),
    (Row(1000, math.nan, math.nan, 2.0, 440.0, 0.0), Row(1000, 0.0, 0.0, 0.0, 0.0, 0.0)),
    tuple(Row(60_000, 120.5, 60.0, 2.0 + k, 230.0 + 115.0 * k, 11.0 * k) for k in range(10)),
)


def pack(
    version: int,
    channels: Mapping[str, DeviceGaussian],
    *,
    hours: Sequence[int] = (0,) * 24,
    utc_offset_min: int = 0,
) -> bytes:
    """Return the body of a `model` bundle; BadInputError when it is too large for a meter.

    Its vectors are computed from the numbers as written, so that a meter that reads the same
    numbers finds the same distances.
    """
    written = {name: _rounded(gaussian) for name, gaussian in channels.items()}
    body = {
        "format": FORMAT,
        "version": version,
        "utc_offset_min": utc_offset_min,
        "hours": list(hours),
        "ch": {name: _channel(gaussian) for name, gaussian in written.items()},
        "vectors": [v for name, g in written.items() for v in _vectors(name, g)],
        "traces": [_trace(rows) for rows in _TRACES],
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    data = text.encode()
    if len(data) > MOST_BYTES:
        msg = f"model of {len(data)} bytes, a meter takes {MOST_BYTES}: use fewer hour classes"
        raise BadInputError(msg)
    return data


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _list(values: Floats) -> list[float]:
    return [_round(float(value)) for value in values]


def _rounded(gaussian: DeviceGaussian) -> DeviceGaussian:
    """Return a distribution of numbers with as many digits as are written."""
    numbers = (gaussian.scale, gaussian.factor, gaussian.log_eps)
    scale, factor, log_eps = (np.vectorize(_round)(array) for array in numbers)
    # To a thousandth of the spread: 230.012 V matters where the spread is 0.3 V.
    decimals = 3 - np.floor(np.log10(gaussian.scale)).astype(np.int64)
    mean = np.vectorize(lambda value, places: round(float(value), int(places)))(
        gaussian.mean, decimals
    )
    return DeviceGaussian(gaussian.names, mean, scale, factor, log_eps)


def _channel(gaussian: DeviceGaussian) -> dict[str, object]:
    return {
        "features": list(gaussian.names),
        "mean": gaussian.mean.tolist(),
        "scale": [_list(row) for row in gaussian.scale],
        "chol": [_list(row[: k + 1]) for k, row in enumerate(gaussian.factor)],
        "log_eps": _list(gaussian.log_eps),
    }


def _vectors(name: str, gaussian: DeviceGaussian) -> list[dict[str, object]]:
    """Return self-test vectors: the middle, and one far out in another class."""
    made: list[dict[str, object]] = []
    columns = [NAMES.index(feature) for feature in gaussian.names]
    signs = np.where(np.arange(len(columns)) % 2, -1.0, 1.0)
    for number in range(VECTORS):
        group = number % len(gaussian.mean)
        shift = signs * number * (2.0 + 0.5 * np.arange(len(columns)))
        x = np.full((1, len(NAMES)), np.nan)
        far = gaussian.mean[group] + gaussian.scale[group] * shift
        x[0, columns] = [float(f"{value:.7g}") for value in far]
        classes = np.asarray([group])
        d2 = gaussian.d2(x, classes)
        made.append(
            {
                "ch": name,
                "class": group,
                "x": x[0, columns].tolist(),
                "d2": _round(float(d2[0])),
                "log_p": _round(float(gaussian.log_p(d2, classes)[0])),
            }
        )
    return made


def _trace(rows: Sequence[Row]) -> dict[str, object]:
    """Return rows and the features after the last one; null = not measured, unknown."""
    dark = [row for row in rows if not row.v < 50]  # noqa: PLR2004 - nothing is learnt of them
    last = featurise(dark)[-1]
    return {
        "rows": [[_number(value) for value in row] for row in rows],
        "x": [_number(_round(value)) for value in last.tolist()],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value

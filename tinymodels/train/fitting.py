"""All models of one meter from a frame of its readings, in a form that Spark can call.

`spark.read.parquet(DIR).groupBy("meter").applyInPandas(partial(fit_meter, order=order), SCHEMA)`
fits every meter of an archive, as `wattwarden train` does on one machine.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from gateway.domain.errors import BadInputError
from tinymodels.detect import device_file, device_model
from tinymodels.detect.autoencoder import AutoencoderFitter
from tinymodels.detect.combined_fit import CombinedFitter
from tinymodels.detect.contract import FitRefusedError, Fitter, Options
from tinymodels.detect.device_features import NAMES as DEVICE_NAMES
from tinymodels.detect.device_features import Row as DeviceRow
from tinymodels.detect.device_features import featurise_table
from tinymodels.detect.kinds import fitter
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS, Floats, Minutes, Row, Times
from tinymodels.detect.package import pack
from tinymodels.train.archive import minutes_of
from tinymodels.train.packing import Whose, package_of

if TYPE_CHECKING:
    from pandas import DataFrame

DEVICE: Final = "device"
EVERY_CHANNEL: Final = "*"
KINDS: Final = ("charts", "gaussian", "autoencoder", "combined", DEVICE)
WEEKS_8_MS: Final = 56 * DAY_MS
# What a fit returns of each model, and as Spark's schema.
COLUMNS: Final = ("meter", "channel", "kind", "version", "body", "from_ms", "to_ms", "refused")
SCHEMA: Final = (
    "meter string, channel string, kind string, version long, body binary,"
    " from_ms long, to_ms long, refused string"
)
# One channel answers for the supply's voltage, the first of these that there is.
OF_SUPPLY: Final = ("grid", "main")
MOST_DEVICE_CHANNELS: Final = 6


@dataclass(frozen=True)
class Order:
    """What to fit. Deterministic: the same frame and order give the same bytes.

    `alarms_per_month` is for each channel; `until_ms` ends the eight weeks that are fitted on,
    None = at the end of the data. `networks` are trained autoencoders by channel; `leave_out` are
    spans (from, to) of alerts by meter. `clock_ms` is when a meter's clock is what it is told,
    None = at the end of the data. `version` 0 = the last day of the data as YYYYMMDD.
    """

    zone: str = "UTC"
    alarms_per_month: float = 4.0
    kinds: Sequence[str] = ("charts", "gaussian", DEVICE)
    version: int = 0
    seed: int = 1
    until_ms: int | None = None
    clock_ms: int | None = None
    span_ms: int = WEEKS_8_MS
    networks: Mapping[str, bytes] = field(default_factory=dict)
    leave_out: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)

    def options(self, *, voltage: bool) -> Options:
        """Return what a fit of one channel is told; `voltage`: it answers for the supply."""
        return Options(ZoneInfo(self.zone), self.alarms_per_month, voltage, self.seed)


def fit_meter(frame: "DataFrame", order: Order) -> "DataFrame":
    """Return a row (COLUMNS) for each model of one meter; `refused` says why there is none.

    `frame` has the archive's columns, raw or 1m, with `meter` and `channel`, in any order. `body`
    is a .wwm file, for kind "device" the body of a meter's bundle.
    """
    from pandas import DataFrame

    meter = str(frame["meter"].iloc[0])
    channels = {str(name): minutes_of(part) for name, part in frame.groupby("channel")}
    return DataFrame(list(fit_channels(meter, channels, order)), columns=list(COLUMNS))


def fit_channels(
    meter: str, channels: Mapping[str, Minutes], order: Order
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `fit_meter`."""
    supply = supply_channel(channels)
    usual = {name: usual_minutes(meter, found, order) for name, found in channels.items()}
    for name, minutes in sorted(usual.items()):
        for kind in order.kinds:
            if kind == DEVICE:
                continue
            yield _fit(Whose(meter, name, order.version), kind, minutes, order, name == supply)
    if DEVICE in order.kinds:
        yield _fit_device(meter, usual, order, supply)


def supply_channel(channels: Collection[str]) -> str:
    """Return which channel answers for the supply's voltage."""
    known = [name for name in OF_SUPPLY if name in channels]
    return (known or sorted(channels))[0]


def usual_minutes(meter: str, minutes: Minutes, order: Order) -> Minutes:
    """Return the weeks to fit on, alert periods left out."""
    last_ms = int(minutes.start_ms[-1]) + MINUTE_MS if len(minutes) else 0
    until_ms = last_ms if order.until_ms is None else order.until_ms
    return minutes.between(until_ms - order.span_ms, until_ms).without(
        order.leave_out.get(meter, ())
    )


def fitter_of(kind: str, channel: str, order: Order) -> Fitter:
    """Return what fits models of a kind, with this order's network where one is needed.

    The second opinion of `combined` is the autoencoder where there is a network, else the Gaussian.
    """
    network = order.networks.get(channel)
    if kind == "autoencoder":
        return AutoencoderFitter(network)
    if kind == "combined" and network is not None:
        return CombinedFitter(AutoencoderFitter(network))
    return fitter(kind)


def version_of(minutes: Minutes, order: Order) -> int:
    """Return a model's version: the order's, or the last day of its data as YYYYMMDD."""
    if order.version or not len(minutes):
        return order.version
    return int(f"{datetime.fromtimestamp(int(minutes.start_ms[-1]) / 1000, UTC):%Y%m%d}")


def _fit(
    whose: Whose,
    kind: str,
    minutes: Minutes,
    order: Order,
    voltage: bool,  # noqa: FBT001 - of the call above alone
) -> tuple[Any, ...]:
    whose = whose._replace(version=version_of(minutes, order))
    try:
        model = fitter_of(kind, whose.channel, order).fit(minutes, order.options(voltage=voltage))
    except FitRefusedError as error:
        return (*whose[:2], kind, whose.version, b"", 0, 0, str(error))
    body = pack(package_of(model, whose, {}))
    return (*whose[:2], kind, whose.version, body, *model.trained, "")


def _fit_device(
    meter: str, channels: Mapping[str, Minutes], order: Order, supply: str
) -> tuple[Any, ...]:
    """Fit the Gaussian that the meter itself judges by: one bundle of all its channels."""
    last = max(channels.values(), key=lambda found: found.start_ms[-1:].tolist())
    version = version_of(last, order)
    head = (meter, EVERY_CHANNEL, DEVICE, version)
    fitted: dict[str, device_model.DeviceGaussian] = {}
    why = f"{len(channels)} channels; a meter judges at most {MOST_DEVICE_CHANNELS}"
    if len(channels) > MOST_DEVICE_CHANNELS:
        return (*head, b"", 0, 0, why)
    for name, minutes in sorted(channels.items()):
        try:
            fitted[name] = device_gaussian(minutes, order, voltage=name == supply)
        except FitRefusedError as error:
            why = f"{name}: {error}"
    if not fitted:
        return (*head, b"", 0, 0, why)
    spans = [channels[name].start_ms for name in fitted]
    last_ms = max(int(span[-1]) for span in spans)
    offset_min = utc_offset_min(order.zone, order.clock_ms or last_ms)
    try:
        body = device_file.pack(
            version, fitted, hours=device_model.hour_classes(), utc_offset_min=offset_min
        )
    except BadInputError as error:  # too large for a meter's flash
        return (*head, b"", 0, 0, str(error))
    from_ms = min(int(span[0]) for span in spans)
    return (*head, body, from_ms, last_ms + MINUTE_MS, "")


def device_gaussian(
    minutes: Minutes, order: Order, *, voltage: bool
) -> device_model.DeviceGaussian:
    """Fit the meter's distribution of one channel; FitRefusedError with too little history."""
    known = np.isfinite(minutes["p_mean_w"])
    at_ms = minutes.start_ms[known]
    names = tuple(n for n in device_model.USUAL if voltage or n != "voltage")
    wanted = device_model.Wanted(order.alarms_per_month, names, device_model.hour_classes())
    x = featurise_table(device_table(minutes)[known])
    if not np.isfinite(minutes["q_mean_var"]).any():
        x[:, DEVICE_NAMES.index("reactive")] = np.nan
    offset_min = utc_offset_min(order.zone, int(at_ms[-1]) if len(at_ms) else 0)
    return device_model.fit(at_ms, x, wanted, offset_min)


def device_row(row: Row) -> DeviceRow:
    """Return a minute as the meter itself measures it: it always knows current and var."""
    q_var = row.q_mean_var if math.isfinite(row.q_mean_var) else 0.0
    volts = row.v_mean_v if math.isfinite(row.v_mean_v) and row.v_mean_v > 0 else 1.0
    amps = row.i_mean_a
    if not math.isfinite(amps):
        amps = math.hypot(row.p_mean_w, q_var) / volts
    return DeviceRow(MINUTE_MS, row.v_mean_v, math.nan, amps, row.p_mean_w, q_var)


def device_table(minutes: Minutes) -> Floats:
    """Return `device_row` of each minute as a row; where power is unknown, all but the time is."""
    power, volts, amps = minutes["p_mean_w"], minutes["v_mean_v"], minutes["i_mean_a"]
    var = np.nan_to_num(minutes["q_mean_var"], posinf=0.0, neginf=0.0)
    given = zip(power.tolist(), var.tolist(), strict=True)
    apparent = np.array([math.hypot(*pair) for pair in given])
    made = apparent / np.where(np.isfinite(volts) & (volts > 0), volts, 1.0)
    table = np.empty((len(minutes), len(DeviceRow._fields)))
    table[:, 0], table[:, 1], table[:, 2] = MINUTE_MS, volts, math.nan
    table[:, 3], table[:, 4], table[:, 5] = np.where(np.isfinite(amps), amps, made), power, var
    return table


def utc_offset_min(zone: str, at_ms: int) -> int:
    """Return local time less UTC, as a meter is told it; a refit follows daylight saving."""
    offset = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


def lay_end_to_end(parts: Sequence[Minutes]) -> Minutes:
    """Return several homes' minutes one after the other, each moved by whole weeks.

    So the time of day and the weekend stay what they were, and a fit sees all of them; between two
    homes lies a hole in which every memory ends. In UTC: a zone's daylight saving is lost.
    """
    week_ms, hole_ms = 7 * DAY_MS, DAY_MS
    starts: list[Times] = []
    values: list[Floats] = []
    end_ms = 0
    for part in parts:
        if not len(part):
            continue
        first_ms = int(part.start_ms[0])
        moved_ms = -(-max(end_ms - first_ms, 0) // week_ms) * week_ms if starts else 0
        starts.append(part.start_ms + moved_ms)
        values.append(part.values)
        end_ms = int(starts[-1][-1]) + hole_ms
    if not starts:
        return Minutes(np.empty(0, dtype=np.int64), np.empty((0, 7)))
    return Minutes(np.concatenate(starts), np.concatenate(values))


def device_card(body: bytes) -> dict[str, Any]:
    """Return what is in a device bundle, for its card."""
    told = json.loads(body)
    channels = {name: channel["features"] for name, channel in told["ch"].items()}
    return {"channels": channels, "vectors": len(told["vectors"]), "bytes": len(body)}

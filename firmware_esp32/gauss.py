"""A model in force: normal distributions of a few features, given the hour's class."""

from array import array
from math import isnan, log, pi

from micropython import const
from traits import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DAY_H, _HOUR_MIN, _MINUTE_MS = const(24), const(60), const(60_000)
_FRIDAY = const(4)
MOST_SIGMAS = 1e6  # keeps d² finite in float32


class Gaussian:
    """One channel's normal distribution: mean and spread per hour class, one correlation.

    P(x) < ε is compared as logarithms: P itself leaves float32's range at 13 sigmas.
    """

    def __init__(
        self,
        names: "Sequence[str]",
        mean: "Sequence[array[float]]",
        scale: "Sequence[array[float]]",
        factor: "array[float]",
        log_eps: "array[float]",
    ) -> None:
        self.names = names
        self.mean = mean
        self.scale = scale
        self.log_eps = log_eps
        self._at = [NAMES.index(name) for name in names]
        self._factor = factor  # lower triangle, row by row
        self._z = array("f", [0.0] * len(names))
        diagonal = sum(log(factor[r * (r + 3) // 2]) for r in range(len(names)))
        half = 0.5 * len(names) * log(2 * pi)
        self._peak = array("f", [-half - diagonal - sum(log(s) for s in row) for row in scale])

    def copy(self) -> "Gaussian":
        """Return the same in memory of its own, see `Model.copy`."""
        mean, scale = ([array("f", row) for row in rows] for rows in (self.mean, self.scale))
        factor, log_eps = array("f", self._factor), array("f", self.log_eps)
        return Gaussian(list(self.names), mean, scale, factor, log_eps)

    def d2(self, x: "Sequence[float]", group: int) -> float:
        """Return the squared Mahalanobis distance of features, all of NAMES, NaN = unknown.

        Forward substitution through the factor. An unknown feature is taken as the earlier
        ones let expect it, so that it adds nothing.
        """
        mean, scale, factor, z = self.mean[group], self.scale[group], self._factor, self._z
        total = 0.0
        place = 0
        for row, at in enumerate(self._at):
            value = (x[at] - mean[row]) / scale[row]
            if isnan(value):
                z[row] = 0.0
                place += row + 1
                continue
            value = min(max(value, -MOST_SIGMAS), MOST_SIGMAS)
            for column in range(row):
                value -= factor[place] * z[column]
                place += 1
            value /= factor[place]
            place += 1
            z[row] = value
            total += value * value
        return total

    def log_p(self, d2: float, group: int) -> float:
        """Return the natural logarithm of the density at this distance."""
        return self._peak[group] - 0.5 * d2

    def limit(self, group: int) -> float:
        """Return the d² at which P(x) is ε."""
        return 2.0 * (self._peak[group] - self.log_eps[group])

    def explain(self, x: "Sequence[float]", group: int) -> int:
        """Return the row of the feature that contributes most to d²."""
        self.d2(x, group)
        z, factor, count = self._z, self._factor, len(self._at)
        most, worst = 0, -1.0
        back = [0.0] * count  # correlation⁻¹·standardised x
        for row in range(count - 1, -1, -1):
            value = z[row]
            for below in range(row + 1, count):
                value -= factor[below * (below + 1) // 2 + row] * back[below]
            back[row] = value / factor[row * (row + 3) // 2]
            shift = (x[self._at[row]] - self.mean[group][row]) / self.scale[group][row]
            if not isnan(shift) and shift * back[row] > worst:
                most, worst = row, shift * back[row]
        return most


class Model:
    """What a bundle of kind `model` holds: a Gaussian per channel and the hours' classes.

    `hours` maps 24 local hours (48: weekdays, then weekends) to classes; class 0 is for any
    time, used while the clock is not set. Channels without a Gaussian use the default.
    """

    def __init__(
        self,
        version: int,
        channels: "dict[str, Gaussian]",
        hours: bytes = b"",
        utc_offset_min: int = 0,
    ) -> None:
        self.version = version
        self.channels = channels
        self._hours = hours
        self._utc_offset_min = utc_offset_min

    def copy(self) -> "Model":
        """Return the same in memory of its own.

        What reads a bundle leaves the model behind and above it; a copy that is made when that
        code is gone lies at the heap's beginning, and what is free stays together.
        """
        made = {bytes(name, "utf-8").decode(): one.copy() for name, one in self.channels.items()}
        return Model(self.version, made, bytes(self._hours), self._utc_offset_min)

    def group(self, unix_ms: "int | None") -> int:
        """Return the hour class of a wall time (None = unknown)."""
        if unix_ms is None or not self._hours:
            return 0
        hour = (unix_ms // _MINUTE_MS + self._utc_offset_min) // _HOUR_MIN
        weekend = (hour // _DAY_H + 3) % 7 > _FRIDAY  # 1970-01-01 was a Thursday
        late = _DAY_H if weekend and len(self._hours) > _DAY_H else 0
        return self._hours[hour % _DAY_H + late]

    def gaussian(self, channel: str, first: bool) -> "Gaussian | None":
        """Return a channel's Gaussian, else the default for the meter's first or other ones."""
        found = self.channels.get(channel)
        return found or self.channels.get("*first" if first else "*")

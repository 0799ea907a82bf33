"""A normal distribution of a few features, given the hour's class: distance, density, cause."""

from array import array
from math import isnan, log, pi

from traits import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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

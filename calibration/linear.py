"""Linear equations of a handful of unknowns."""

from collections.abc import Sequence

_SINGULAR = 1e-30  # of the largest pivot


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """Return x of matrix x = right by Gaussian elimination, None where there is no one answer."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    largest = max(abs(row[n]) for n, row in enumerate(rows))
    for n in range(size):
        pivot = max(range(n, size), key=lambda at: abs(rows[at][n]))
        rows[n], rows[pivot] = rows[pivot], rows[n]
        if abs(rows[n][n]) <= _SINGULAR * largest:
            return None
        for other in rows[n + 1 :]:
            share = other[n] / rows[n][n]
            for at in range(n, size + 1):
                other[at] -= share * rows[n][at]
    out = [0.0] * size
    for n in reversed(range(size)):
        known = sum(rows[n][at] * out[at] for at in range(n + 1, size))
        out[n] = (rows[n][size] - known) / rows[n][n]
    return out

"""How much to send at once, how long to wait for it, and how long after a failure."""

import random
from collections.abc import Sequence

from cloud_sync.documents import Document

MOST_DOCUMENTS = 100
MOST_BYTES = 256_000
QUICK_S = 3.0  # a batch that took longer is large enough for this line
BASE_TIMEOUT_S = 10.0
# Half of what a line of 64 kbit/s carries: slower ones fail, and get smaller batches.
SLOWEST_BYTES_PER_S = 4_000
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
LONGEST_REFUSED_S = 600.0  # somebody must act first: asking often helps nobody


class Pace:
    """Batches grow while they are answered quickly, and begin anew with one after a failure."""

    def __init__(self) -> None:
        self.documents = 4

    def succeeded(self, took_s: float) -> None:
        """Note how long a batch took."""
        if took_s < QUICK_S:
            self.documents = min(MOST_DOCUMENTS, self.documents * 2)
        else:
            self.documents = max(1, self.documents * 3 // 4)

    def failed(self) -> None:
        """Note that a batch was not answered: the next one only asks whether anybody is there."""
        self.documents = 1

    def split(self, documents: Sequence[Document]) -> list[list[Document]]:
        """Return the documents in batches, in their order."""
        batches: list[list[Document]] = []
        size = 0
        for document in documents:
            grown = size + document.bytes
            if not batches or len(batches[-1]) >= self.documents or grown > MOST_BYTES:
                batches.append([])
                grown = document.bytes
            batches[-1].append(document)
            size = grown
        return batches


def timeout_s(documents: Sequence[Document]) -> float:
    """Return how long a batch may take."""
    return BASE_TIMEOUT_S + sum(document.bytes for document in documents) / SLOWEST_BYTES_PER_S


class Backoff:
    """Waits uniform below a limit that doubles: full jitter (AWS Architecture Blog, 2015)."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - spreads load, keeps no secret
        self._failures = 0

    def reset(self) -> None:
        """Note a success."""
        self._failures = 0

    def next_s(self, longest_s: float = LONGEST_DELAY_S) -> float:
        """Note a failure; return how long to wait."""
        limit_s = min(longest_s, FIRST_DELAY_S * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return self._random.uniform(0.1, max(0.2, limit_s))

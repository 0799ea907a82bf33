"""The firmware collects garbage often: here its own, not that of the whole test process."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _own_garbage_only() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # a worker that has run other tests holds millions of objects: 0.3 s a collection
    yield
    gc.unfreeze()

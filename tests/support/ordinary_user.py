"""This process as an ordinary user for a while, as the kernel sees it."""

import contextlib
import os
from collections.abc import Iterator

NOBODY = 65_534


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Give up root's rights within the block; who is not root has none to give up."""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)

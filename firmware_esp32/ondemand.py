"""Code that is loaded only for the time it is needed.

What judges a bundle, does a command or finds the gateway takes as much RAM as measuring does,
and is needed for seconds in a month. It is imported inside the function that needs it; when
that is done, `drop` lets its memory go. Objects of its classes must be let go too: through its
functions' globals each of them holds the whole module. What is resident must import none of
it, not even for an exception's class. An import that fails for lack of memory leaves what it has
got so far in memory: drop that too, or the next try has still less.
"""

import gc
import sys

MICROPYTHON = sys.implementation.name == "micropython"


def make_room() -> None:
    """Collect garbage before code is loaded: it needs its memory in large pieces."""
    if MICROPYTHON:
        gc.collect()


def drop(*names: str) -> None:
    """Let go of modules; what is in use of them stays until that ends.

    Name also what they import that is not resident: linked (tools/link_firmware.py) it may
    lie in a file of its own. CPython has room, and would have each class twice.
    """
    if not MICROPYTHON:
        return
    for name in names:
        sys.modules.pop(name, None)
    gc.collect()

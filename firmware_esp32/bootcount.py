"""The meter's boot counter, and the random number that names a boot."""

from checked import Checked
from errors import FlashError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAX = 0xFFFFFFFF


def next_boot(root: str, random32: "Callable[[], int]") -> "tuple[int, int]":
    """Count this boot and return (boot, bootn) of the contract; call it once, at the start.

    A flash that cannot be written leaves the counter where it was: boots then share a `bootn`, and
    the gateway orders them as they come.
    """
    store = Checked(root, "bootcount")
    data = store.load()
    bootn = min(int.from_bytes(data, "little") + 1, _MAX) if data else 1
    try:
        store.save(bootn.to_bytes(4, "little"))
    except FlashError:
        pass
    return random32() & _MAX, bootn

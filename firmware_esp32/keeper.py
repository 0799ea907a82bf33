"""What the meter keeps of its readings, and what it sends next."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from registers import Registers

    class Window(Protocol):
        """What `power.PowerMeter.window` returns, as far as it is kept."""

        up_ms: int
        dt_ms: int
        v: float | None
        f: float | None
        i: list[float]
        p: list[float]
        q: list[float]
        flags: int

    Held = dict[str, int]  # an entry of the contract's `have`
    Range = tuple[int, int, int]  # boot, from, to


class Keeper:
    """Readings from the window to the gateway's ack: a ring in RAM, a spool on flash.

    `root` is the directory of the meter's files, `channels` the names in the order of the
    window's lists. `feed` is called now and then during long reads (the watchdog).
    All `…_ms` of this class are the board's `up_ms()`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - identity, place and bounds
        self,
        root: str,
        channels: "list[str]",
        boot: int,
        bootn: int,
        spool_bytes: int = 1 << 20,
        feed: "Callable[[], None] | None" = None,
    ) -> None:
        raise NotImplementedError

    def add(self, window: "Window", registers: "Registers", z: "list[float | None] | None") -> int:
        """Keep one window with the registers after it; return its seq. Never raises."""
        raise NotImplementedError

    def minute(self, up_ms: int, offset_ms: "int | None") -> None:
        """Save whole minutes that no ack has covered for 60 s; call it at least once a minute."""
        raise NotImplementedError

    def flush(self, offset_ms: "int | None") -> None:
        """Save everything that no ack covers; before an ordered reboot."""
        raise NotImplementedError

    def covered(self, ack: "dict[str, object]") -> None:
        """Take a gateway's ack (wire.read_ack or json.loads); what it covers is let go."""
        raise NotImplementedError

    def connected(self) -> None:
        """Begin anew after a (re)connect: everything uncovered is due, oldest first."""
        raise NotImplementedError

    def take(self, now_ms: int, offset_ms: "int | None") -> "tuple[str, str] | None":
        """Return the next `readings` payload and its kind, "live" or "backlog"; None = none due."""
        raise NotImplementedError

    def have(self) -> "list[Held]":
        """Return the `have` of a `state` message."""
        raise NotImplementedError

    def backlog(self) -> int:
        """Return how many windows wait for an ack."""
        raise NotImplementedError

    def dropped(self) -> "list[Range]":
        """Return (boot, from, to) of windows no longer held, to be told as `dropped` events."""
        raise NotImplementedError

    def reported(self, ok: bool) -> None:
        """Tell whether the ranges that `dropped` returned last have reached the broker."""
        raise NotImplementedError

    def wants_reboot(self) -> bool:
        """Tell that a new boot number is needed: the gateway refuses a seq 10**6 ahead.

        True after about ten days without an ack. The app then saves registers, flushes and
        resets the board.
        """
        raise NotImplementedError

"""One line per event on the serial console: the meter's log."""

from ticks import ticks_ms


def log(text: str) -> None:
    """Print one line with the tick in s; never a secret, never per reading."""
    print(f"[{ticks_ms() // 1000}] {text}")  # noqa: T201 - the console is the log

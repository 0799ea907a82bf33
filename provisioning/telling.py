"""What the kit says while it works, and what it asks: the port its steps talk through."""

from typing import Protocol


class Teller(Protocol):
    """Somebody who watches. All texts are for people and hold no secret."""

    def step(self, text: str) -> None:
        """Say what begins now; what began before it is done."""

    def progress(self, fraction: float) -> None:
        """Say how much of the present step is done, 0 to 1."""

    def note(self, text: str) -> None:
        """Say something worth knowing that changes nothing."""

    def confirm(self, text: str) -> bool:
        """Ask before something is destroyed; True = go on."""


class Silent:
    """Says nothing, and agrees to everything."""

    def step(self, text: str) -> None:
        """Say nothing."""

    def progress(self, fraction: float) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def confirm(self, text: str) -> bool:  # noqa: ARG002 - whatever it is
        """Agree."""
        return True

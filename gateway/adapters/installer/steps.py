"""A list of steps that say what they will do, do it, and take it back when a later one fails."""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.adapters.installer.errors import InstallError, explain
from gateway.domain.errors import GatewayError

Report = Callable[[str], None]


class Step(Protocol):
    """One thing to do. Each may be done again: what is there already is left alone."""

    def pending(self) -> str | None:
        """Say in one line what would be done, None when all is as it should be."""

    def apply(self) -> None:
        """Do it. Raises GatewayError or OSError."""

    def undo(self) -> None:
        """Put everything back as it was before `apply`, also when that ended half-way."""


def plan(steps: Sequence[Step]) -> list[str]:
    """Return what would be done, in order; nothing is changed."""
    try:
        return [said for step in steps if (said := step.pending()) is not None]
    except OSError as error:
        raise explain(error) from error


def carry_out(steps: Sequence[Step], report: Report) -> int:
    """Do what is pending and return how much that was; on any failure take all of it back.

    Raises InstallError; its text names the cause and whether everything could be taken back.
    """
    done: list[Step] = []
    try:
        for step in steps:
            said = step.pending()
            if said is None:
                continue
            report(said)
            done.append(step)
            step.apply()
    except BaseException as error:  # also Ctrl-C: half an installation is none
        left = take_back(done, report)
        _raise_as_ours(error, left)
        raise
    return len(done)


def take_back(done: Sequence[Step], report: Report) -> list[str]:
    """Undo steps, the last first; return what could not be taken back."""
    if done:
        report("it failed; taking back what was done")
    left = []
    for step in reversed(done):
        try:
            step.undo()
        except (OSError, GatewayError) as error:
            left.append(str(error))
    return left


def _raise_as_ours(error: BaseException, left: Sequence[str]) -> None:
    """Raise InstallError for what people can act on; leave a defect or Ctrl-C to the caller."""
    if not isinstance(error, OSError | GatewayError):
        return
    ours = explain(error) if isinstance(error, OSError) else error
    rest = f"; could not be taken back: {'; '.join(left)}" if left else "; nothing was changed"
    msg = f"{ours}{rest}"
    raise InstallError(msg) from error


class Act:
    """A step made of functions."""

    def __init__(
        self,
        said: Callable[[], str | None],
        do: Callable[[], object],
        undo: Callable[[], object] | None = None,
    ) -> None:
        """`said` returns what is pending; without `undo` there is nothing to take back."""
        self._said = said
        self._do = do
        self._undo = undo

    def pending(self) -> str | None:
        """Say what would be done."""
        return self._said()

    def apply(self) -> None:
        """Do it."""
        self._do()

    def undo(self) -> None:
        """Take it back."""
        if self._undo is not None:
            self._undo()

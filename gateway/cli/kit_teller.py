"""Shows what the installer's kit does: bars on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from gateway.cli.tables import printable


class KitTeller:
    """A Teller on stderr; a context manager. `yes` agrees to every question.

    Where nobody can be asked, questions are answered with no.
    """

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._bar: TaskID | None = None
        self._began_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            if kind is None:
                self._finish()
            self._bars.stop()

    def step(self, text: str) -> None:
        """Say what begins now."""
        if not self._live:
            click.echo(f"{time.monotonic() - self._began_s:5.1f} s  {text}", err=True)
            return
        self._finish()
        self._bar = self._bars.add_task(text, total=None)

    def progress(self, fraction: float) -> None:
        """Show how much of the step is done."""
        if self._live and self._bar is not None:
            self._bars.update(self._bar, total=1.0, completed=fraction)

    def note(self, text: str) -> None:
        """Say something worth knowing."""
        if self._live:
            self._bars.console.print(f"  {printable(text)}", style="dim", highlight=False)
        else:
            click.echo(f"         {printable(text)}", err=True)

    def confirm(self, text: str) -> bool:
        """Ask, unless everything was agreed to."""
        if self._yes:
            return True
        if not sys.stdin.isatty():
            return False
        if self._live:
            self._bars.stop()
        try:
            return click.confirm(text, err=True)
        finally:
            if self._live:
                self._bars.start()

    def _finish(self) -> None:
        if self._bar is not None:
            self._bars.update(self._bar, total=1.0, completed=1.0)
            self._bars.stop_task(self._bar)
            self._bar = None

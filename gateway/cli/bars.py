"""Bars for work in several parts on a terminal; elsewhere a line as each part ends."""

import sys
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn


class Bars:
    """A context manager; one bar for each name it hears of."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(
            *columns, TextColumn("{task.fields[note]}"),
            console=Console(stderr=True), disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._known: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def move(  # noqa: PLR0913 - what a bar shows
        self, name: str, done: int, count: int, *, ended: str, title: str = "", note: str = ""
    ) -> None:  # fmt: skip
        """Show how far a part is; `ended` is its line where there is no terminal.

        `title` stands before the bar, the name where there is none, `note` behind it.
        """
        if name not in self._known:
            self._known[name] = self._bars.add_task(name, total=count, note="")
        self._bars.update(self._known[name], completed=done, description=title or name, note=note)
        if self._bars.disable and done == count:
            click.echo(ended, err=True)

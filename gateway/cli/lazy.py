"""A group of commands that imports a command's module only when it is called."""

import importlib
from collections.abc import Mapping
from typing import NamedTuple

import click


class Lazy(NamedTuple):
    """Where a command is, as "module:attribute", and what `--help` says of it in a line."""

    at: str
    says: str


class LazyGroup(click.Group):
    """Commands by name, those in `lazy` imported when called; others are added as usual.

    Keeps --help and small commands quick on a Pi, where importing numpy takes a second.
    """

    def __init__(self, *args: object, lazy: Mapping[str, Lazy], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the lazy commands in their order, then the others."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None when there is none of that name."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.lazy[cmd_name].at.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the list of commands without importing the lazy ones."""
        room = formatter.width - 6 - max(map(len, (*self.lazy, *self.commands)))  # as click has it
        rows = [(name, lazy.says) for name, lazy in self.lazy.items()]
        rows += [(name, one.get_short_help_str(room)) for name, one in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

"""A group of commands that imports a command's module only when it is called."""

import importlib
from collections.abc import Mapping

import click


class LazyGroup(click.Group):
    """Commands by name: `lazy` maps names to "module:attribute"; others are added as usual.

    Keeps --help and small commands quick on a Pi, where importing numpy takes a second.
    """

    def __init__(self, *args: object, lazy: Mapping[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the lazy commands in their order, then the others."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None when there is none of that name."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self._lazy[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

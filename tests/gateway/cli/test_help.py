"""Every command teaches by an example that uses options it really has."""

import re
import subprocess
import sys

import click
import pytest

from gateway.cli import cli
from gateway.cli.lazy import LazyGroup
from tests.gateway.cli.rig import run

COMMANDS = [
    "alerts", "alerts list", "alerts acknowledge", "alerts resolve", "alerts snooze",
    "alerts verdict", "meters", "meters list", "meters add", "meters remove", "meters gaps",
    "meters set", "doctor", "backup", "restore", "install", "upgrade", "uninstall",
    "certificates show", "certificates renew",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    said = run(*command.split(), "--help")
    assert said.status == 0
    options, _, example = said.out.partition("Example:\n")
    assert f"wattwarden {command}" in example
    assert "\b" not in said.out
    of_this = [line for line in example.splitlines() if f"wattwarden {command}" in line]
    if " " in command or command in ("doctor", "backup", "restore"):
        for option in re.findall(r" (--[a-z]+)", " ".join(of_this)):
            assert option in options


def groups(group: LazyGroup) -> list[LazyGroup]:
    """Return a group and all lazy groups below it."""
    below = [group.get_command(click.Context(group), name) for name in group.lazy]
    return [group, *(one for it in below if isinstance(it, LazyGroup) for one in groups(it))]


def test_a_list_of_commands_says_all_in_a_line_each() -> None:
    assert isinstance(cli, LazyGroup)
    for group in groups(cli):
        widest = max(map(len, group.list_commands(click.Context(group))))
        for name, lazy in group.lazy.items():
            command = group.get_command(click.Context(group), name)
            assert command is not None
            assert command.name == name
            assert len(lazy.says) + widest + 6 <= 80, f"{name} {lazy.says}"
            assert lazy.says.endswith(".")


def test_the_list_of_all_commands_imports_none_of_them() -> None:
    program = (
        "import sys; from gateway.cli import cli; cli(['--help'], standalone_mode=False); "
        "assert not {'numpy', 'pydantic', 'structlog', 'gateway.app'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

"""Every command teaches by an example that uses options it really has."""

import re

import pytest

from tests.gateway.cli.rig import run

COMMANDS = [
    "alerts", "alerts list", "alerts acknowledge", "alerts resolve", "alerts snooze",
    "alerts verdict", "meters", "meters list", "meters add", "meters remove", "meters gaps",
    "meters set", "doctor", "backup", "restore",
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

"""The check of documented commands finds what it should."""

from pathlib import Path

import click
import pytest

from tools import check_docs


def program() -> click.Group:
    """Make a small command line with a group, options, a flag and arguments."""
    root = click.Group("wattwarden")
    config = click.Option(["--config", "-c"])
    seconds = click.Option(["--seconds"], type=int)
    root.add_command(click.Command("demo", params=[seconds, click.Option(["--fault/--no-fault"])]))
    root.add_command(click.Command("run", params=[config]))
    users = click.Group("users")
    users.add_command(click.Command("add", params=[click.Argument(["name"]), config]))
    users.add_command(click.Command("remove", params=[click.Argument(["name"])]))
    root.add_command(users)
    return root


GOOD = """
Text about wattwarden that is no command, and `wattwarden run -c F`.

```sh
$ wattwarden demo --seconds 60 --no-fault   # a comment --with-dashes
sudo -u wattwarden /opt/wattwarden/bin/wattwarden users add anna \\
    --config=/etc/wattwarden/config.toml > out.txt
WATTWARDEN_X=1 .venv/bin/wattwarden users add|remove NAME
make test ARGS="-k x" | tail
```
"""


def complain(text: str) -> list[str]:
    return list(check_docs.complaints(program(), {"test", "run"}, {"docs/a.md": text}))


def test_a_page_that_agrees_raises_no_complaint() -> None:
    assert complain(GOOD) == []


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("wattwarden demos", "wattwarden has no command demos"),
        ("wattwarden users list", "users has no command list"),
        ("wattwarden users add|list NAME", "users has no command list"),
        ("wattwarden demo --second 3", "demo has no option --second"),
        ("wattwarden demo [--quiet]", "demo has no option --quiet"),
        ("wattwarden demo --seconds 3 house", "demo takes 0 arguments, not 1"),
        ("wattwarden users add A B --config F", "add takes 1 arguments, not 2"),
        ("$ wattwarden --verbose run", "wattwarden has no option --verbose"),
        ("make tests", "the Makefile has no tests"),
    ],
)
def test_a_call_that_would_fail_is_named_with_its_place(call: str, fault: str) -> None:
    assert complain(f"{GOOD}\n```\n{call}\n```\n") == [
        f"docs/a.md:13: `{call.removeprefix('$ ')}`: {fault}"
    ]
    assert complain(f"{GOOD}\nSay `{call}`.") == [
        f"docs/a.md:12: `{call.removeprefix('$ ')}`: {fault}"
    ]


def test_a_command_that_no_page_shows_is_named() -> None:
    found = complain("`wattwarden run` and `wattwarden demo`")
    assert len(found) == 1
    assert "`wattwarden users` is in no page" in found[0]


def test_help_is_an_option_of_every_command() -> None:
    assert list(check_docs.faults(program(), "wattwarden users add --help")) == []


def test_a_link_to_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("")
    text = "[a](../README.md#top) [b](https://example.org/x)\n[c](missing.md) [d](#here)"
    assert list(check_docs.broken_links(tmp_path, {"docs/a.md": text})) == [
        "docs/a.md:2: the link to missing.md leads nowhere"
    ]

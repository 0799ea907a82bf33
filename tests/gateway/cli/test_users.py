"""`wattwarden users` on a database of its own, no daemon running."""

import json
from pathlib import Path

import pytest

from gateway.cli import main

WORD = "correct horse"


class Shell:
    """Runs commands in this process, each as a user would type it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.config.write_text(f'[storage]\npath = "{folder}/w.db"\n')
        self._capsys = capsys

    def run(self, *args: str) -> tuple[int, str, str]:
        """Return exit status, stdout and stderr of `wattwarden users …`."""
        with pytest.raises(SystemExit) as ended:
            main(["users", *args, "--config", str(self.config)])
        out, err = self._capsys.readouterr()
        return int(ended.value.code or 0), out, err

    def secret(self, text: str = WORD, mode: int = 0o600) -> str:
        """Write a password file."""
        file = self.folder / "password"
        file.write_text(f"{text}\n")
        file.chmod(mode)
        return str(file)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


def test_add_list_passwd_remove(shell: Shell) -> None:
    secret = shell.secret()
    assert shell.run("list")[0] == 0
    status, out, err = shell.run("add", "ada", "--role", "admin", "--password-file", secret)
    assert (status, out, err) == (0, "ada may log in as admin\n", "")
    status, out, _ = shell.run("list", "--json")
    (item,) = json.loads(out)["items"]
    assert (item["name"], item["role"]) == ("ada", "admin")
    assert "ada" in shell.run("list")[1]
    assert shell.run("passwd", "ada", "--password-file", secret)[0] == 0
    status, out, err = shell.run("remove", "ada", "--yes")
    assert (status, out) == (2, "")
    assert "ada is the last administrator; add another first" in err
    assert shell.run("add", "eve", "--role", "admin", "--password-file", secret)[0] == 0
    assert shell.run("remove", "ada", "--yes")[0] == 0
    (item,) = json.loads(shell.run("list", "--json")[1])["items"]
    assert item["name"] == "eve"


def test_an_open_password_file_is_warned_of(shell: Shell) -> None:
    secret = shell.secret(mode=0o644)
    status, out, err = shell.run("add", "ada", "--role", "viewer", "--password-file", secret)
    assert status == 0
    assert "viewer" in out
    assert "chmod 600" in err


@pytest.mark.parametrize(
    ("args", "status", "named"),
    [
        (("add", "ada"), 2, "--role"),
        (("add", "ada", "--role", "king"), 2, "--role"),
        (("add", "ada", "--role", "admin", "--password-file", "/nowhere"), 2, "--password-file"),
        (("add", "ada", "--role", "admin"), 2, "--password-file"),  # no terminal to ask on
        (("remove", "nobody", "--yes"), 1, "nobody"),
    ],
)
def test_wrong_use_is_one_clear_line(
    shell: Shell, args: tuple[str, ...], status: int, named: str
) -> None:
    ended, out, err = shell.run(*args)
    assert ended == status
    assert out == ""
    assert named in err
    assert "Traceback" not in err


def test_bad_names_and_short_passwords_are_refused(shell: Shell) -> None:
    short = shell.secret("seven77")
    ended, _, err = shell.run("add", "ada", "--role", "admin", "--password-file", short)
    assert ended == 2
    assert "at least 8" in err
    assert "seven77" not in err
    ended, _, err = shell.run("add", "a b", "--role", "admin", "--password-file", shell.secret())
    assert ended == 2
    assert "name" in err
    for expected in (0, 2):  # a second account of the same name is refused
        args = ("add", "ada", "--role", "admin", "--password-file", shell.secret())
        assert shell.run(*args)[0] == expected


def test_tokens_are_made_listed_and_revoked(shell: Shell) -> None:
    assert "there are no tokens" in shell.run("token", "list")[2]
    status, out, err = shell.run("token", "add", "grafana", "--role", "viewer", "--days", "30")
    assert status == 0
    assert out.startswith("ww_")
    assert "grafana may be used as viewer for 30 days" in err
    (item,) = json.loads(shell.run("token", "list", "--json")[1])["items"]
    assert (item["name"], item["role"], item["seen"]) == ("grafana", "viewer", None)
    assert out.strip() not in str(item)
    assert "never used" in shell.run("token", "list")[1]
    assert shell.run("token", "add", "grafana", "--role", "admin")[0] == 2
    assert shell.run("token", "add", "x", "--role", "admin", "--days", "0")[0] == 2
    assert shell.run("token", "remove", "grafana", "--yes")[0] == 0
    assert shell.run("token", "remove", "grafana", "--yes")[0] == 1


def test_a_setup_code_is_printed_until_somebody_may_log_in(shell: Shell) -> None:
    status, out, _ = shell.run("setup-code")
    assert status == 0
    assert len(out.split()[0].replace("-", "")) == 12
    assert json.loads(shell.run("setup-code", "--json")[1])["code"] != out.split()[0]
    assert shell.run("add", "ada", "--role", "admin", "--password-file", shell.secret())[0] == 0
    status, _, err = shell.run("setup-code")
    assert (status, "may log in already" in err) == (2, True)

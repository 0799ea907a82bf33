"""Settings: defaults, ranges, and one line that names each bad key."""

import os
from pathlib import Path

import pytest

from gateway.domain.errors import ConfigError
from gateway.settings import Settings, read_secret
from tests.gateway.cli.rig import run
from tests.support.ordinary_user import ordinary_user


def load(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return Settings.load(path)


def test_an_empty_file_is_the_contract_s_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert (settings.site.id, settings.site.timezone) == ("home", "UTC")
    assert (settings.mqtt.host, settings.mqtt.port, settings.mqtt.embedded) == (
        "127.0.0.1",
        1883,
        False,
    )
    assert str(settings.storage.path) == "/var/lib/wattwarden/wattwarden.db"
    assert (settings.storage.raw_days, settings.storage.max_bytes) == (30, 8_000_000_000)
    assert (settings.web.enabled, settings.web.host, settings.web.port) == (True, "127.0.0.1", 8080)
    assert settings.meters.auto_register
    assert (settings.detect.nominal_voltage, settings.detect.nominal_frequency) == (230, 50)
    assert settings.detect.false_alarms_per_month == 4
    assert (settings.cloud.enabled, settings.clock.trust, settings.log.level) == (
        False,
        "auto",
        "info",
    )


def test_the_contract_s_example_is_accepted(tmp_path: Path) -> None:
    text = """
[site]
id = "home"
timezone = "Europe/Lisbon"
[mqtt]
host = "127.0.0.1"
port = 1883
username = "gateway"
password_file = "/run/credentials/wattwarden.service/mqtt"
ca_file = "/etc/wattwarden/ca.crt"
embedded = false
[storage]
path = "/var/lib/wattwarden/wattwarden.db"
raw_days = 30
max_bytes = 8_000_000_000
[web]
enabled = true
host = "127.0.0.1"
port = 8080
[meters]
auto_register = true
[detect]
nominal_voltage = 230
nominal_frequency = 50
false_alarms_per_month = 4
[cloud]
enabled = false
project = "my-project"
credentials_file = "/run/credentials/wattwarden.service/firebase"
[models]
repository = "https://example.org/models"
[clock]
trust = "auto"
[log]
level = "info"
"""
    assert load(tmp_path, text).site.zone.key == "Europe/Lisbon"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[site]\nidd = 'x'", "site.idd: unknown key"),
        ("[sight]\nid = 'x'", "sight: unknown key"),
        ("[site]\nid = 'Has Spaces'", "site.id:"),
        ("[site]\ntimezone = 'Mars/Olympus'", "site.timezone:"),
        ("[site]\ntimezone = '../etc/passwd'", "site.timezone:"),
        ("[mqtt]\nport = 0", "mqtt.port:"),
        ("[mqtt]\nport = 'x'", "mqtt.port:"),
        ("[storage]\nraw_days = 0", "storage.raw_days:"),
        ("[storage]\nmax_bytes = 5", "storage.max_bytes:"),
        ("[detect]\nnominal_voltage = 5", "detect.nominal_voltage:"),
        ("[clock]\ntrust = 'perhaps'", "clock.trust:"),
        ("[log]\nlevel = 'loud'", "log.level:"),
        ("[mqtt", "not valid TOML"),
    ],
)
def test_each_bad_key_is_named_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert str(tmp_path / "config.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_bad_keys_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.port.*web\.porrt"):
        load(tmp_path, "[mqtt]\nport = -1\n[web]\nporrt = 5")


def test_a_file_that_cannot_be_read_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; give one with --config"):
        Settings.load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings.load(tmp_path / "binary.toml")


def test_an_ordinary_user_is_told_of_sudo(short_path: Path) -> None:
    """The installed settings are for root and the daemon's group alone."""
    folder = short_path / "etc"
    folder.mkdir()
    (folder / "config.toml").write_text("")
    words = ("meters", "list", "--config", str(folder / "config.toml"))
    run("meters", "list", "--config", str(short_path / "none.toml"))  # its code is loaded now
    short_path.chmod(0o755)
    folder.chmod(0o750 if os.geteuid() == 0 else 0)
    with ordinary_user():
        said = run(*words)
    folder.chmod(0o750)
    assert (said.status, said.out) == (2, "")
    assert said.err.endswith(
        "config.toml: cannot be read by this user; run the command with sudo\n"
    )


def secret(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_is_the_first_line(tmp_path: Path) -> None:
    assert read_secret(secret(tmp_path, "p ä$$\r\nsecond\n"), key="mqtt.password_file") == "p ä$$"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [("x", 0o644, "chmod 600"), ("x", 0o640, "chmod 600"), ("", 0o600, "is empty"),
     ("\nx", 0o600, "is empty")],
)  # fmt: skip
def test_a_secret_that_is_none_is_refused(tmp_path: Path, text: str, mode: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_secret(secret(tmp_path, text, mode), key="mqtt.password_file")
    assert str(caught.value).startswith("mqtt.password_file: ")


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.password_file: .*cannot be read"):
        read_secret(tmp_path / "none", key="mqtt.password_file")


def test_systemd_s_credentials_may_be_group_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(secret(tmp_path, "x", 0o440), key="k") == "x"
    with pytest.raises(ConfigError):
        read_secret(secret(tmp_path, "x", 0o444), key="k")

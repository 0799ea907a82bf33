"""The shipped settings load, name every key, and agree with unit and broker; the unit is tight."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.settings import Settings

SYSTEMD = Path(__file__).parents[2] / "systemd"
EXAMPLE = SYSTEMD / "config.example.toml"
UNIT = SYSTEMD / "wattwarden.service"
EXPOSURE_LIMIT = 2.0  # of 10, as systemd-analyze rates it


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def uncommented() -> str:
    """Return the example with its commented-out settings switched on."""
    return re.sub(r"^# (?=\w+ = )", "", EXAMPLE.read_text(), flags=re.MULTILINE)


def unit(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), flags=re.MULTILINE)


def test_the_example_loads() -> None:
    settings = Settings.load(EXAMPLE)
    assert settings.site.timezone == "Europe/Lisbon"
    assert settings.mqtt.username == "gateway"


def test_the_example_names_every_setting_and_all_of_them_load(tmp_path: Path) -> None:
    text = uncommented()
    given = {f"{part}.{key}" for part, values in tomllib.loads(text).items() for key in values}
    assert given == set(keys(Settings))
    full = tmp_path / "config.toml"
    full.write_text(text)
    assert Settings.load(full).detect.contracted_power_w is not None


def test_what_the_example_calls_a_default_is_one() -> None:
    settings, default = Settings.load(EXAMPLE), Settings()
    named_otherwise = {"site.timezone", "mqtt.username", "mqtt.password_file"}
    changed = {
        f"{part}.{key}"
        for part, values in settings.model_dump().items()
        for key, value in values.items()
        if value != default.model_dump()[part][key]
    }
    assert changed == named_otherwise


def test_settings_agree_with_unit_and_broker() -> None:
    settings = Settings.load(EXAMPLE)
    name, _, _ = unit("LoadCredential")[0].partition(":")
    assert settings.mqtt.password_file == Path(f"/run/credentials/{UNIT.name}/{name}")
    assert settings.storage.path.parent == Path("/var/lib") / unit("StateDirectory")[0]
    broker = (SYSTEMD / "mosquitto" / "wattwarden.conf").read_text()
    assert "\nmax_inflight_messages 2000\n" in broker
    assert f"\nlistener {settings.mqtt.port} {settings.mqtt.host}\n" in broker


def test_the_unit_restarts_for_ever_but_not_on_wrong_settings() -> None:
    assert unit("Type") == ["notify"]
    assert unit("Restart") == ["always"]
    assert unit("StartLimitIntervalSec") == ["0"]
    assert unit("RestartPreventExitStatus") == ["2"]
    assert unit("WatchdogSec") == ["30"]


def test_the_unit_lets_the_daemon_ask_whether_the_clock_is_right() -> None:
    """Reading the kernel's clock state needs adjtimex(2), which ProtectClock= refuses as well."""
    assert {"adjtimex", "clock_adjtime"} <= set(unit("SystemCallFilter")[-1].split())
    assert "true" not in unit("ProtectClock")
    assert unit("CapabilityBoundingSet") == [""]  # without CAP_SYS_TIME nobody can set it


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_the_unit_exposes_little() -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=20",
            "--no-pager",
            str(UNIT),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot rate a file")
    assert done.returncode == 0, done.stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) < EXPOSURE_LIMIT, done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("name", ["wattwarden.service", "wattwarden-certificates.service"])
def test_systemd_understands_the_units(name: str, tmp_path: Path) -> None:
    """Another program stands in for ours, which is not installed here; all else is as shipped."""
    shipped = (SYSTEMD / name).read_text()
    started = re.sub(
        r"^(Exec\w+=\W*)/opt/wattwarden\S+", r"\1/bin/true", shipped, flags=re.MULTILINE
    )
    assert started != shipped
    (tmp_path / name).write_text(started)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    # Of systemd 254, while Debian 12 has 252, which goes on without them.
    newer = ("RestartSteps", "RestartMaxDelaySec")
    said = [line for line in done.stderr.splitlines() if not any(key in line for key in newer)]
    assert said == []
    assert done.returncode == 0

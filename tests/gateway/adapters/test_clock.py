"""Whether the machine's clock may be believed."""

import time
from pathlib import Path
from typing import Literal

import pytest

from gateway.adapters import clock as clock_module
from gateway.adapters.clock import BUILD_MS, SystemClock
from gateway.settings import ClockSettings


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand for a machine without any time service."""
    monkeypatch.setattr(clock_module, "TIMESYNCD", tmp_path / "timesync")
    monkeypatch.setattr(clock_module, "CHRONY_PIDS", (tmp_path / "chronyd.pid",))
    monkeypatch.setattr(clock_module, "NTP_PIDS", (tmp_path / "ntpd.pid",))
    return tmp_path


def auto(trust: Literal["auto", "always", "never"] = "auto") -> SystemClock:
    return SystemClock(ClockSettings(trust=trust))


def kernel(monkeypatch: pytest.MonkeyPatch, *, synchronised: bool) -> None:
    monkeypatch.setattr(clock_module, "_kernel_says_synchronised", lambda: synchronised)


def test_always_and_never_mean_that() -> None:
    assert auto("always").trusted()
    assert not auto("never").trusted()


def test_without_a_time_service_any_time_after_the_build_will_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert auto().trusted()
    monkeypatch.setattr(time, "time_ns", lambda: (BUILD_MS - 1) * 1_000_000)
    assert not auto().trusted()


@pytest.mark.parametrize("synchronised", [True, False])
@pytest.mark.parametrize("name", ["chronyd.pid", "ntpd.pid"])
def test_with_a_time_daemon_the_kernel_is_asked(
    machine: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, synchronised: bool
) -> None:
    (machine / name).write_text("1")
    kernel(monkeypatch, synchronised=synchronised)
    assert auto().trusted() is synchronised


def test_timesyncd_says_it_by_a_file(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "timesync").mkdir()
    kernel(monkeypatch, synchronised=False)
    assert not auto().trusted()
    (machine / "timesync" / "synchronized").write_text("")
    assert auto().trusted()


def test_it_is_looked_up_at_most_every_five_seconds(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "chronyd.pid").write_text("1")
    kernel(monkeypatch, synchronised=False)
    clock = auto()
    assert not clock.trusted()
    kernel(monkeypatch, synchronised=True)
    assert not clock.trusted()
    begun = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: begun + 5.1)
    assert clock.trusted()


def test_the_kernel_s_own_answer_is_one() -> None:
    assert clock_module._kernel_says_synchronised() in (True, False)  # noqa: SLF001


def test_both_clocks_run() -> None:
    clock = auto()
    assert abs(clock.wall_ms() - time.time() * 1000) < 1000
    assert abs(clock.mono_s() - time.monotonic()) < 1

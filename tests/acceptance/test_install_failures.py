"""Installing when something goes wrong: it says what and who must act, and leaves nothing."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.adapters.installer.answers import Answers
from gateway.adapters.installer.layout import Layout
from gateway.adapters.installer.pairs import fits
from gateway.adapters.installer.papers import Papers
from gateway.adapters.installer.steps import carry_out
from gateway.cli.site_kit import SiteKit
from tests.gateway.cli.rig import run
from tests.support.disks import need_mounts
from tests.support.installing import WANTED, install
from tests.support.wheels import ROOT

pytestmark = pytest.mark.timeout(600)  # pip and venv on a busy machine


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_make_install_and_uninstall_with_all_packages(tmp_path: Path) -> None:
    """From a checkout, over the package index, as the guide says."""
    root = tmp_path / "root"
    where = [f"DESTDIR={root}", f"WHEELHOUSE={tmp_path / 'wheels'}"]

    def make(target: str, arguments: str) -> str:
        command = ["make", "-C", str(ROOT), target, *where, f"ARGS={arguments}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    assert "staged below" in make("install", "--yes --extras=")
    python = root / "opt/wattwarden/bin/python"
    help_text = subprocess.run(
        [python, "-P", "-m", "gateway.cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "home's energy gateway" in help_text
    assert "in use already" in make("upgrade", "--yes --extras=")
    assert "wattwarden is removed" in make("uninstall", "--yes")
    assert not (root / "opt/wattwarden").exists()


@pytest.mark.soak
def test_a_failed_installation_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    """Without its dependencies and without an index pip must fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PIP_NO_DEPS", raising=False)
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(tmp_path))
        said = install(tmp_path / "root", wheel)
    assert said.status == 1
    assert "pip could not install" in said.err
    assert "--wheelhouse" in said.err
    assert "nothing was changed" in said.err
    assert files_below(tmp_path / "root") == []


@pytest.mark.soak
def test_killed_at_any_moment_the_next_run_completes(
    wheel: Path, bare: None, tmp_path: Path
) -> None:
    root, chance = tmp_path / "root", random.Random(4)
    arguments = ["install", "--wheel", str(wheel), "--root", str(root), "--extras", "", "--yes"]
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(chance.uniform(0.5, 12.0))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
    said = install(root, wheel)
    assert said.status == 0, said
    assert "nothing to do" in install(root, wheel).out
    assert len(list((root / "opt/wattwarden/releases").iterdir())) == 1
    found = {name: (root / name).stat().st_mode & 0o777 for name in WANTED}
    assert found == WANTED
    etc = root / "etc"
    assert fits(etc / "wattwarden/web.crt", etc / "credstore/wattwarden.web.key")
    certs = etc / "mosquitto/certs"
    assert fits(certs / "wattwarden-broker.crt", certs / "wattwarden-broker.key")
    assert not list(root.rglob("*.part"))


def test_half_a_pair_is_replaced_by_a_whole_one(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for folder in (layout.settings_folder, layout.credstore, layout.real("/etc/mosquitto/certs")):
        folder.mkdir(parents=True)
    papers = Papers(layout, Answers(), SiteKit(layout))

    def place() -> int:
        return carry_out(papers.server_certificates(), lambda _: None)

    assert place() > 0
    assert place() == 0
    web, key = layout.settings_folder / "web.crt", layout.web_key
    before = web.read_bytes()
    for broken in (web, key):
        broken.unlink()
        assert not fits(web, key)
        place()
        assert fits(web, key)
    assert web.read_bytes() != before
    assert place() == 0


def test_a_full_disk_is_named_and_leaves_nothing(wheel: Path, bare: None, tmp_path: Path) -> None:
    need_mounts()
    small = tmp_path / "card"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(small)]
    subprocess.run(mount, check=True)
    try:
        said = install(small, wheel)
        left = files_below(small)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert said.status == 1
    assert re.search(r"(?i)no space left|disk is full", said.err), said
    assert "nothing was changed" in said.err
    assert left == []


def test_without_rights_the_next_step_is_named(wheel: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("another account can be taken by root only")
    program = (
        "import os, sys\n"
        "from gateway.cli import main\n"
        "import gateway.cli.install\n"  # read before the rights are gone
        "os.setgid(65534); os.setuid(65534)\n"
        f"main(['install', '--wheel', {str(wheel)!r}, '--yes'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "sudo" in done.stderr


def test_a_clock_that_is_surely_wrong_is_put_right_first(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 86_400 * 10**9)
    said = install(tmp_path / "root", wheel)
    assert said.status == 1
    assert "1970-01-02" in said.err
    assert "timedatectl" in said.err
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["--wheel", "--wheelhouse"]),
        (("--wheel", "nowhere/wattwarden-1-py3-none-any.whl"), ["No such file"]),
        (("--wheel", "other-1.0-py3-none-any.whl"), ["not a wheel of wattwarden"]),
        (("--wheelhouse", "."), ["no wattwarden-*.whl"]),
    ],
)
def test_wrong_use_is_told_in_a_line(
    options: tuple[str, ...], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("install", *options, "--root", str(tmp_path / "root"), "--yes")
    assert (said.status, said.err.count("\n")) == (2, 1), said
    assert all(word in said.err for word in words), said


def test_a_damaged_wheel_and_a_wrong_part(wheel: Path, tmp_path: Path) -> None:
    broken = tmp_path / wheel.name
    broken.write_bytes(wheel.read_bytes()[:5000])
    said = install(tmp_path / "root", broken)
    assert (said.status, "damaged" in said.err) == (2, True), said
    said = install(tmp_path / "root", wheel, "--extras", "kit,sauna")
    assert (said.status, "sauna" in said.err) == (2, True), said

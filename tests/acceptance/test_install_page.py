"""docs/install.md as a person follows it: each of its commands is typed, and does what it says."""

import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from simulation.chain import Chain
from tests.support.firmware import needs_vm
from tests.support.kit_bench import KitBench
from tests.support.kit_site import WIFI, KitSite
from tests.support.nspawn import CACHE, Machine, base, machine
from tests.support.page_commands import commands
from tests.support.terminal import Answer, Said, type_at
from tests.support.wheels import build_wheelhouse, copy_into, other_version

PAGE = "install.md"
WORDS = "correct horse battery"
PASSPHRASE: Mapping[str, Answer] = {"Passphrase": WORDS, "confirmation": WORDS}
AGREED: Mapping[str, Answer] = {"Go on?": ""}
# Typed at a Debian of its own, in this order, each with the answers it needs.
ON_THE_PI: Mapping[str, Mapping[str, Answer]] = {
    "timedatectl": {},
    "sudo /media/stick/wheelhouse/install.sh": AGREED,
    "sudo openssl x509 -in /etc/wattwarden/ca.crt -noout -fingerprint -sha256": {},
    "sudo wattwarden users setup-code": {},
    "sudo wattwarden users add anna --role admin": {"Password": WORDS, "confirmation": WORDS},
    "sudo wattwarden doctor": {},
    "sudo wattwarden certificates show": {},
    "sudo wattwarden certificates renew": {},
    "sudo wattwarden backup --everything /media/stick/home.wattwarden --encrypt": PASSPHRASE,
    "sudo systemctl stop wattwarden": {},
    "sudo wattwarden restore /media/stick/home.wattwarden": {
        "Passphrase": WORDS, "Replace this site": "y",
    },
    "sudo systemctl start wattwarden": {},
    "sudo wattwarden upgrade --wheelhouse /media/stick/wheelhouse": AGREED,
    "sudo wattwarden uninstall": AGREED,
}  # fmt: skip
WITH_A_BOARD = (
    "wattwarden meters flash",
    "sudo wattwarden meters provision kitchen",
    'sudo wattwarden meters calibrate kitchen --class 1 --reference "plug meter PM-231"',
)
# `make` into a staging root: tests/acceptance/test_install_failures.py. The others are Debian's,
# git's and ssh's own, and need a network.
ELSEWHERE = {
    "make install", "make wheelhouse", "make upgrade", "git pull", "ssh anna@energy.local",
    "sudo apt-get install -y git make python3-venv", "sudo apt-get clean",
    "sudo timedatectl set-ntp true",
}  # fmt: skip


def test_no_command_of_the_page_is_left_out() -> None:
    assert set(commands(PAGE)) == {*ON_THE_PI, *WITH_A_BOARD, *ELSEWHERE}


# -- on a Debian of its own -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the stick: what `make wheelhouse` makes lies on it."""
    base()
    folder = tmp_path_factory.mktemp("stick")
    shutil.copytree(build_wheelhouse(CACHE / "wheelhouse"), folder / "wheelhouse")
    return folder


@pytest.fixture(scope="module")
def pi(stick: Path) -> Iterator[Machine]:
    """Give a fresh card with the stick in it; who types is root, so sudo has nothing to do."""
    with machine(stick) as made:
        with made.path("/etc/hosts").open("a") as hosts:
            hosts.write("127.0.0.1 localhost energy energy.local\n")
        made.path("/media/stick").symlink_to("/shared")
        sudo = made.path("/usr/local/bin/sudo")
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
        yield made


def typed(pi: Machine, command: str) -> str:
    """Type a command of the page, answer what it asks; return what stood there."""
    said = type_at(pi.enter("bash", "-c", command), ON_THE_PI[command])
    assert said.status == 0, f"{command}: {said.text[-3000:]}"
    return said.text


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_what_is_typed_at_the_pi(pi: Machine, stick: Path) -> None:
    said: dict[str, str] = {}
    for command in ON_THE_PI:
        if "systemctl stop" in command:  # a new card, with an installation of its own
            pi.ok("wattwarden", "uninstall", "--purge", "--yes")
            typed(pi, "sudo /media/stick/wheelhouse/install.sh")
        if "upgrade" in command:
            (wheel,) = (stick / "wheelhouse").glob("wattwarden-*.whl")
            copy_into(other_version(wheel, stick / "newer", "9.1.0"), stick / "wheelhouse")
        said[command] = typed(pi, command)
        if "systemctl start" in command:
            typed(pi, "sudo wattwarden doctor")
    text = "\n".join(said.values())
    for words in (
        "Time zone:", "make the first administrator with this code:", "sha256 Fingerprint=",
        "is restored", "wattwarden 9.1.0 runs", "kept for a later installation",
    ):  # fmt: skip
        assert words in text, words
    assert pi.run("test", "-s", "/var/lib/wattwarden/wattwarden.db").returncode == 0


# -- with a board on USB --------------------------------------------------------------------------


@needs_vm
@pytest.mark.soak
@pytest.mark.timeout(1100)
def test_what_is_typed_with_a_board_on_usb(short_path: Path) -> None:
    with KitSite(short_path) as site:
        board = site.plug_in("board", chain=Chain(7, 1), speed=8.0)
        bench = KitBench(site, "kitchen", "board")
        more = {
            "flash": site.flash_words(board)[1:-1],
            "provision": ["--port", str(board.port), "--within", "120"],
            "calibrate": ["--digits", "0.01", "0.01", "--certificate", str(bench.certificate)],
        }
        told = {name: by_hand(site, bench, name, more[name]) for name in more}
    assert "it boots" in told["flash"].text
    assert "kitchen is a meter of this site. Its first reading:" in told["provision"].text
    assert WIFI["attic"] not in told["provision"].text
    assert "calibration 1 of kitchen is in force; its report:" in told["calibrate"].text
    assert "plug meter PM-231" in bench.certificate.read_text()


def by_hand(site: KitSite, bench: KitBench, name: str, more: Sequence[str]) -> Said:
    """Type the page's command, with what names this site, and answer as an installer would."""
    (command,) = (one for one in WITH_A_BOARD if f"meters {name}" in one)
    loads = iter((0.3, 1.0, 5.0, 0.0, 3.0))

    def switched() -> str:
        amps = next(loads)
        if amps:
            bench.put(amps)
        return "" if amps else "q"

    def off() -> str:
        bench.put(0.0)
        return ""

    answers: dict[str, Answer] = {
        "Wi-Fi name": "attic", "Password of attic": WIFI["attic"],
        "when it is done": off, "Press Enter when it is on": switched,
        "volts on the reference": lambda: f"{bench.true.v:.3f}",
        "watts": lambda: f"{bench.true.p:.4f}", "amperes": lambda: f"{bench.true.i:.5f}",
    }  # fmt: skip
    words = shlex.split(command.partition("meters ")[2])
    said = type_at(site.command(*words, *more), answers, env=site.environment(), cwd=site.directory)
    assert said.status == 0, said.text[-3000:]
    return said

"""Accounts at the broker: mosquitto's own tools and mosquitto itself judge what we write."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.domain.errors import BadInputError, ConfigError
from provisioning.broker_files import BrokerFiles, new_password
from provisioning.errors import BrokerError
from tests.provisioning.conftest import needs_root
from tests.support.disks import TinyDisk


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "wattwarden.passwd"
    path.touch(mode=0o640)
    return path


def test_accounts_come_and_go_and_others_stay(passwords: Path) -> None:
    files = BrokerFiles(passwords)
    files.set_password("gateway", "one")
    files.set_password("kitchen", "two")
    assert files.users() == ["gateway", "kitchen"]
    assert files.matches("kitchen", "two")
    assert not files.matches("kitchen", "one")
    assert not files.matches("roof", "two")
    before = passwords.read_text().splitlines()[0]
    files.set_password("kitchen", "three")
    assert files.matches("kitchen", "three")
    assert passwords.read_text().splitlines()[0] == before
    assert files.remove("kitchen")
    assert not files.remove("kitchen")
    assert (files.has("kitchen"), files.has("gateway")) == (False, True)


def test_mosquitto_s_tool_and_we_understand_each_other(passwords: Path) -> None:
    subprocess.run(
        ["mosquitto_passwd", "-b", str(passwords), "kitchen", "of the tool"], check=True, timeout=20
    )
    files = BrokerFiles(passwords)
    assert files.matches("kitchen", "of the tool")
    assert not files.matches("kitchen", "of another")
    files.set_password("roof", "ours")
    theirs, ours = passwords.read_text().splitlines()
    form = r"\w+:\$7\$\d+\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}=="
    assert re.fullmatch(form, theirs)
    assert re.fullmatch(form, ours)
    subprocess.run(["mosquitto_passwd", "-D", str(passwords), "kitchen"], check=True, timeout=20)
    assert files.users() == ["roof"]


def test_a_password_is_long_and_never_the_same(passwords: Path) -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50
    assert min(map(len, made)) >= 32
    BrokerFiles(passwords).set_password("kitchen", next(iter(made)))
    assert not any(secret in passwords.read_text() for secret in made)


@pytest.mark.parametrize("name", ["Kitchen", "k", "-k", "a:b", "a\nb", "x" * 33, ""])
def test_an_impossible_name_is_refused(passwords: Path, name: str) -> None:
    with pytest.raises(BadInputError, match="2 to 32 of a-z"):
        BrokerFiles(passwords).set_password(name, "secret")
    assert passwords.read_text() == ""


def test_mode_and_owner_stay(passwords: Path) -> None:
    passwords.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(passwords, 0, 65534)
    before = passwords.stat()
    BrokerFiles(passwords).set_password("kitchen", "secret")
    after = passwords.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid
    )  # fmt: skip


def test_many_at_once_lose_none(passwords: Path) -> None:
    names = [f"meter-{number}" for number in range(12)]
    threads = [
        threading.Thread(target=BrokerFiles(passwords).set_password, args=(name, name))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert BrokerFiles(passwords).users() == sorted(names)


def test_a_missing_file_and_a_broker_that_is_down_are_told(passwords: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; install the broker"):
        BrokerFiles(tmp_path / "none").set_password("kitchen", "secret")
    pid = tmp_path / "pid"
    files = BrokerFiles(passwords, pid)
    for content in (None, "nonsense", str(os.getpid()), "4194000"):
        if content is not None:
            pid.write_text(content)
        with pytest.raises(BrokerError, match="systemctl start mosquitto"):
            files.reload()
        with pytest.raises(BrokerError, match="systemctl start mosquitto"):
            files.check()


@needs_root
def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    with TinyDisk(tmp_path / "disk", 64 * 1024) as disk:
        path = disk.root / "wattwarden.passwd"
        files = BrokerFiles(path)
        path.touch(mode=0o640)
        files.set_password("gateway", "secret")
        before = path.read_bytes()
        ballast = disk.fill()
        with pytest.raises(ConfigError, match=r"No space left on device; make room on the disk"):
            files.set_password("kitchen", "secret")
        assert path.read_bytes() == before
        ballast.unlink()
        files.set_password("kitchen", "secret")
        assert files.matches("kitchen", "secret")


@needs_root
def test_another_user_is_told_to_use_sudo(passwords: Path) -> None:
    passwords.parent.chmod(0o755)
    BrokerFiles(passwords).set_password("gateway", "secret")
    script = (
        "import sys\nsys.path.insert(0, sys.argv[2])\nfrom pathlib import Path\n"
        "from provisioning.broker_files import BrokerFiles\n"
        "from gateway.domain.errors import ConfigError\n"
        "try:\n BrokerFiles(Path(sys.argv[1])).check()\nexcept ConfigError as e:\n print(e)\n"
    )
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-c", script,
         str(passwords), str(Path(__file__).parents[2])],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "Permission denied" in done.stderr:
        pytest.skip("the checkout cannot be read by other users")
    assert "run it with sudo" in done.stdout or "run this command with sudo" in done.stdout

"""Accounts, packages and file systems of the machine."""

import grp
import os
import pwd
import re
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway.adapters.clock import BUILD_MS
from gateway.adapters.installer.answers import read_if_there
from gateway.adapters.installer.errors import InstallError
from gateway.adapters.installer.files import write_whole
from gateway.adapters.installer.layout import ACCOUNT, Layout
from gateway.adapters.installer.services import run
from gateway.adapters.installer.steps import Act

APT_S = 1800.0
PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
SYSUSERS = "/usr/lib/sysusers.d/wattwarden.conf"


def require_root(layout: Layout) -> None:
    """Raise InstallError unless the running system may be changed."""
    if not layout.staged and os.geteuid() != 0:
        msg = "this changes the system, which needs root: run it again with sudo"
        raise InstallError(msg)


def require_clock() -> None:
    """Raise InstallError for a clock that is surely wrong: certificates made now would not hold."""
    now_ms = time.time_ns() // 1_000_000
    if now_ms < BUILD_MS:
        now = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="minutes")
        msg = (
            f"this machine's clock says {now}, which is wrong: certificates would not hold;"
            " set it: sudo timedatectl set-ntp true (or date --set), then run this again"
        )
        raise InstallError(msg)


def require_debian(layout: Layout) -> None:
    """Raise InstallError on a system this was not made for."""
    if layout.staged:
        return
    text = read_if_there(Path("/etc/os-release"))
    like = set(re.findall(r"[\w]+", " ".join(re.findall(r"(?m)^(?:ID|ID_LIKE)=(.*)$", text))))
    version = re.search(r'(?m)^VERSION_ID="?(\d+)', text)
    old = "debian" in like and "ubuntu" not in like and version and int(version[1]) < 12  # noqa: PLR2004
    if not like & {"debian", "raspbian"} or old:
        msg = (
            "this is neither Debian 12 or newer nor Raspberry Pi OS made of it; elsewhere install"
            " by hand, as systemd/README.md tells"
        )
        raise InstallError(msg)


def packages(wanted: Sequence[tuple[str, str]], *, allowed: bool) -> Act:
    """Return the step that installs Debian packages, given as (package, what shows it is there)."""

    def missing() -> list[str]:
        return [package for package, sign in wanted if not _there(sign)]

    def said() -> str | None:
        names = " ".join(missing())
        return f"apt-get install {names}" if names else None

    def do() -> None:
        names = missing()
        if not allowed:
            msg = f"missing: {' '.join(names)}; run: apt-get install {' '.join(names)}"
            raise InstallError(msg)
        command = ["apt-get", "-q", "-y", "--no-install-recommends", "install", *names]
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        done = run([*environment, *command], within_s=APT_S)
        if done.returncode != 0:
            run(["apt-get", "-q", "update"], within_s=APT_S)
            done = run([*environment, *command], within_s=APT_S)
        if done.returncode != 0:
            said = done.stderr.strip().replace("\n", " | ")[-400:]
            msg = f"apt-get install {' '.join(names)} failed: {said}; is the network there?"
            raise InstallError(msg)

    return Act(said, do)  # packages stay: others may have come to need them


def _there(sign: str) -> bool:
    if sign.startswith("/"):
        return any(Path("/").glob(sign.lstrip("/")))
    return shutil.which(sign, path=PLACES) is not None


def account(layout: Layout) -> Act:
    """Return the step that makes the daemon's account from the shipped sysusers file."""

    def said() -> str | None:
        return None if layout.staged or account_exists() else f"create the account {ACCOUNT}"

    def do() -> None:
        done = run(["systemd-sysusers", SYSUSERS])
        if done.returncode != 0 or not account_exists():
            msg = f"systemd-sysusers could not make the account {ACCOUNT}: {done.stderr.strip()}"
            raise InstallError(msg)

    return Act(said, do, remove_account)


def account_exists() -> bool:
    """Tell whether account and group of the daemon are there."""
    try:
        pwd.getpwnam(ACCOUNT)
        grp.getgrnam(ACCOUNT)
    except KeyError:
        return False
    return True


def remove_account() -> None:
    """Remove the daemon's account; one that is not there is no fault."""
    run(["userdel", ACCOUNT])


def without_access_times(layout: Layout) -> Act:
    """Return the step that stops each read from being written to the card (noatime)."""
    fstab = layout.fstab
    before: list[str] = []

    def said() -> str | None:
        text = read_if_there(fstab)
        return None if noatime(text) == text else f"mount / with noatime ({fstab})"

    def do() -> None:
        text = fstab.read_text()
        before.append(text)
        write_whole(fstab, noatime(text).encode(), fstab.stat().st_mode & 0o777)
        if not layout.staged:
            run(["mount", "-o", "remount,noatime", "/"])

    def undo() -> None:
        if before:
            write_whole(fstab, before[0].encode(), fstab.stat().st_mode & 0o777)

    return Act(said, do, undo)


def noatime(fstab: str) -> str:
    """Return an fstab(5) whose `/` has noatime; all else stays to the letter."""
    lines = []
    for line in fstab.split("\n"):
        fields = re.match(r"^(\s*[^#\s]\S*\s+/\s+\S+\s+)(\S+)(.*)$", line)
        if fields is not None and "noatime" not in fields[2].split(","):
            kept = [one for one in fields[2].split(",") if one not in ("relatime", "strictatime")]
            lines.append(f"{fields[1]}{','.join([*kept, 'noatime'])}{fields[3]}")
        else:
            lines.append(line)
    return "\n".join(lines)

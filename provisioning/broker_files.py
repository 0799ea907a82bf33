"""Who may log in at mosquitto: its password file, written whole, and its reload.

What a logged-in meter may read and write is one pattern with %u in the shipped ACL
(systemd/mosquitto/acl), the same for all: the account is all that a meter needs of its own.
"""

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.domain.errors import BadInputError, ConfigError
from provisioning.errors import BrokerError

# Names that the shipped ACL gives rights of their own.
RESERVED: Final = frozenset({"gateway", "homeassistant"})
USER: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,31}")
PASSWORD_BYTES: Final = 24
# mosquitto's own format ($7$: PBKDF2-HMAC-SHA512) and its number of rounds. Few rounds are enough
# for passwords that are 192 random bits, and the broker counts them at each login.
_ROUNDS: Final = 101
_SALT_BYTES: Final = 12
_HASH_BYTES: Final = 64
_MODE: Final = 0o640


def new_password() -> str:
    """Return a password nobody has to type."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


class BrokerFiles:
    """The accounts in a password file, and the broker that reads it at SIGHUP.

    ConfigError when a file cannot be used, most often because it takes root; BrokerError when
    the broker does not run.
    """

    def __init__(self, passwords: Path, pid_file: Path | None = None) -> None:
        self._passwords = passwords
        self._pid_file = pid_file

    def check(self) -> None:
        """Raise ConfigError or BrokerError when accounts could not be changed now."""
        with self._locked():
            self._read()
        if self._pid_file is not None:
            self._pid()

    def has(self, user: str) -> bool:
        """Tell whether a user has an account."""
        return user in self._read()

    def users(self) -> list[str]:
        """Return all users, sorted."""
        return sorted(self._read())

    def matches(self, user: str, password: str) -> bool:
        """Tell whether this is the user's password."""
        stored = self._read().get(user, "")
        try:
            _, kind, rounds, salt, hashed = stored.split("$")
            known = base64.b64decode(hashed)
            made = _derive(password, base64.b64decode(salt), int(rounds))
        except ValueError:
            return False
        return kind == "7" and hmac.compare_digest(known, made)

    def set_password(self, user: str, password: str) -> None:
        """Give a user an account or another password. BadInputError for an impossible name."""
        if USER.fullmatch(user) is None and user not in RESERVED:
            msg = f"{user[:40]!r} must be 2 to 32 of a-z, 0-9 and -, and not begin with -"
            raise BadInputError(msg)
        salt = secrets.token_bytes(_SALT_BYTES)
        hashed = base64.b64encode(_derive(password, salt, _ROUNDS)).decode()
        with self._locked():
            accounts = self._read()
            accounts[user] = f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${hashed}"
            self._write(accounts)

    def remove(self, user: str) -> bool:
        """Take a user's account away; False when there was none."""
        with self._locked():
            accounts = self._read()
            if accounts.pop(user, None) is None:
                return False
            self._write(accounts)
        return True

    def reload(self) -> None:
        """Have the broker read the file again; it cuts off who has no account any more."""
        if self._pid_file is None:
            return
        try:
            os.kill(self._pid(), signal.SIGHUP)
        except PermissionError as error:
            msg = "the broker belongs to another user; run this command with sudo"
            raise ConfigError(msg) from error
        except ProcessLookupError as error:
            raise BrokerError(_NOT_RUNNING) from error

    def _pid(self) -> int:
        """Return the broker's process id; a file left over by an earlier boot counts for none."""
        try:
            pid = int((self._pid_file or Path()).read_text().strip())
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError) as error:
            raise BrokerError(_NOT_RUNNING) from error
        if name != "mosquitto":
            raise BrokerError(_NOT_RUNNING)
        return pid

    def _read(self) -> dict[str, str]:
        try:
            text = self._passwords.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            msg = f"{self._passwords}: no such file; install the broker: sudo wattwarden install"
            raise ConfigError(msg) from error
        except PermissionError as error:
            msg = f"{self._passwords}: only root may read it; run this command with sudo"
            raise ConfigError(msg) from error
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{self._passwords}: cannot be read: {error}"
            raise ConfigError(msg) from error
        pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
        return {user: stored for user, _, stored in pairs}

    def _write(self, accounts: dict[str, str]) -> None:
        """Put the file in place in one step, with the owner and mode it had."""
        fresh = self._passwords.with_name(self._passwords.name + ".new")
        text = "".join(f"{user}:{stored}\n" for user, stored in accounts.items())
        try:
            known = self._passwords.stat()
            fresh.unlink(missing_ok=True)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(handle)
                if os.geteuid() == 0:
                    os.fchown(handle, known.st_uid, known.st_gid)
                os.fchmod(handle, known.st_mode & 0o777)
            fresh.replace(self._passwords)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            hint = "make room on the disk" if error.errno == _DISK_FULL else "run it with sudo"
            msg = f"{self._passwords}: cannot be written: {error.strerror}; {hint}"
            raise ConfigError(msg) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one change at a time through; ConfigError where this user may change nothing."""
        try:
            handle = os.open(self._passwords.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            denied = isinstance(error, PermissionError)
            advice = "run it with sudo" if denied else "install: sudo wattwarden install"
            msg = f"{self._passwords.parent}: {error.strerror}; {advice}"
            raise ConfigError(msg) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not os.access(self._passwords.parent, os.W_OK):
                msg = f"{self._passwords}: this user may not change it; run it with sudo"
                raise ConfigError(msg)
            yield
        finally:
            os.close(handle)


_DISK_FULL = 28  # ENOSPC
_NOT_RUNNING = "the broker does not run; start it: sudo systemctl start mosquitto"


def _derive(password: str, salt: bytes, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds, _HASH_BYTES)

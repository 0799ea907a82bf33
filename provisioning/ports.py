"""Serial ports: which there are, which one to take, and why one cannot be used."""

import os
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.domain.errors import BadInputError
from provisioning.errors import PortError

Choose = Callable[[Sequence["SerialPort"]], "SerialPort"]
NONE_FOUND = (
    "no board on USB: plug it in with a cable that carries data, not one that only charges;"
    " if it is plugged in, give its port with --port"
)
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A serial port with the words of its USB chip."""

    device: str
    text: str


def usb_ports(classes: Path = Path("/sys/class/tty")) -> list[SerialPort]:
    """Return the serial ports that hang on USB, by name, with what their USB chip says."""
    found = []
    for entry in sorted(classes.glob("tty*")):
        place = (entry / "device").resolve()
        above = next((one for one in place.parents if (one / "idVendor").is_file()), None)
        if above is not None:
            words = [_words(above / name) for name in ("manufacturer", "product")]
            found.append(SerialPort(f"/dev/{entry.name}", " ".join(filter(None, words))))
    return found


def _words(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def pick(
    wanted: str | None,
    choose: Choose | None,
    *,
    look: Callable[[], Sequence[SerialPort]] = usb_ports,
) -> str:
    """Return the port to use, after it was found usable.

    With several ports `choose` decides; None = nobody can be asked. PortError says what is
    wrong with the port, BadInputError that one must be named.
    """
    if wanted is not None:
        return checked(wanted)
    ports = look()
    if not ports:
        raise PortError(NONE_FOUND)
    if len(ports) == 1:
        return checked(ports[0].device)
    if choose is None:
        names = ", ".join(f"{port.device} ({port.text})" for port in ports)
        msg = f"--port: there are several boards: {names}; name one"
        raise BadInputError(msg)
    return checked(choose(ports).device)


def checked(device: str) -> str:
    """Return a port that can be opened, or raise PortError with what to do about it."""
    path = Path(device)
    if not path.exists():
        others = ", ".join(sorted(str(one) for one in Path("/dev").glob("tty[UA]*[0-9]")))
        hint = f"there are: {others}" if others else "no USB port is there at all"
        msg = f"{device}: no such port; {hint}. Unplug the board, plug it in, look again"
        raise PortError(msg)
    if not os.access(path, os.R_OK | os.W_OK):
        msg = (
            f"{device}: this user may not use it; run: sudo usermod -aG {_group(path)} $USER,"
            " then log out and in again (or run this command with sudo)"
        )
        raise PortError(msg)
    holders = _holders(path)
    if holders:
        msg = f"{device}: in use by {', '.join(holders)}; close that program, then try again"
        raise PortError(msg)
    _try_open(device)
    return device


def _try_open(device: str) -> None:
    try:
        handle = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        msg = (
            f"{device}: cannot be opened ({error.strerror}); close other programs that use it,"
            " or unplug the board and plug it in again"
        )
        raise PortError(msg) from error
    try:
        termios.tcgetattr(handle)
    except termios.error as error:
        msg = f"{device}: is no serial port; name the board's port with --port"
        raise PortError(msg) from error
    finally:
        os.close(handle)


def _group(path: Path) -> str:
    try:
        return path.group()
    except (KeyError, OSError):
        return "dialout"


def _holders(path: Path) -> list[str]:
    """Return the programs that have a device open, as far as this user may see."""
    try:
        target = path.resolve()
    except OSError:
        return []
    found = []
    for folder in _PROC.glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            if any(fd.readlink() == target for fd in (folder / "fd").iterdir()):
                name = (folder / "comm").read_text().strip()
                found.append(f"{name} (process {folder.name})")
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found

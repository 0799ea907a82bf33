"""Finding the board's port, and saying what is wrong with one."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.domain.errors import BadInputError
from provisioning.errors import PortError
from provisioning.ports import NONE_FOUND, SerialPort, checked, pick, usb_ports
from tests.provisioning.conftest import needs_root


@pytest.fixture
def port() -> Iterator[str]:
    """Give a serial port nobody uses."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    yield name
    os.close(master)


def test_none_is_told_with_what_to_do() -> None:
    with pytest.raises(PortError) as caught:
        pick(None, None, look=list)
    assert str(caught.value) == NONE_FOUND
    assert "cable that carries data" in NONE_FOUND
    assert "--port" in NONE_FOUND


def test_the_only_one_is_taken(port: str) -> None:
    assert pick(None, None, look=lambda: [SerialPort(port, "CP2102")]) == port


def test_of_several_a_person_chooses(port: str) -> None:
    several = [SerialPort("/dev/ttyUSB7", "CH340"), SerialPort(port, "CP2102")]
    seen: list[Sequence[SerialPort]] = []

    def choose(ports: Sequence[SerialPort]) -> SerialPort:
        seen.append(ports)
        return ports[1]

    assert pick(None, choose, look=lambda: several) == port
    assert seen == [several]
    with pytest.raises(BadInputError) as caught:
        pick(None, None, look=lambda: several)
    assert f"/dev/ttyUSB7 (CH340), {port} (CP2102); name one" in str(caught.value)


def test_usb_ports_are_read_from_the_kernel(tmp_path: Path) -> None:
    usb = tmp_path / "devices" / "usb1" / "1-2"
    (usb / "1-2:1.0" / "ttyUSB0").mkdir(parents=True)
    (usb / "idVendor").write_text("10c4\n")
    (usb / "manufacturer").write_text("Silicon Labs\n")
    (usb / "product").write_text("CP2102\n")
    board = tmp_path / "devices" / "serial8250"
    board.mkdir()
    classes = tmp_path / "class"
    for name, device in (("ttyUSB0", usb / "1-2:1.0" / "ttyUSB0"), ("ttyS0", board)):
        (classes / name).mkdir(parents=True)
        (classes / name / "device").symlink_to(device)
    (classes / "tty0").mkdir()
    assert usb_ports(classes) == [SerialPort("/dev/ttyUSB0", "Silicon Labs CP2102")]


def test_a_missing_port_is_told(tmp_path: Path) -> None:
    with pytest.raises(PortError, match=r"ttyUSB9: no such port; .* plug it in, look again"):
        checked(str(tmp_path / "ttyUSB9"))


def test_a_port_in_use_names_the_program(port: str) -> None:
    script = "import os, sys; os.open(sys.argv[1], os.O_RDWR); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, port],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(PortError) as caught:
            checked(port)
        holder.kill()
    assert "in use by python" in str(caught.value)
    assert f"(process {holder.pid}); close that program, then try again" in str(caught.value)
    assert checked(port) == port


def test_what_is_no_port_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(PortError, match="is no serial port; name the board's port with --port"):
        checked(str(path))


@needs_root
def test_a_port_of_another_group_tells_how_to_join_it(port: str) -> None:
    Path(port).chmod(0o600)
    root = str(Path(__file__).parents[2])
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from provisioning.ports import checked\nfrom provisioning.errors import PortError\n"
        "try: checked(sys.argv[1])\nexcept PortError as e: print(e)\n"
    )
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-c", script, port, root],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "Permission denied" in done.stderr:
        pytest.skip("the checkout cannot be read by other users")
    assert "this user may not use it; run: sudo usermod -aG" in done.stdout
    assert "log out and in again" in done.stdout

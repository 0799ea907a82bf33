"""File systems of a test's own that fill up, turn read-only or lose power; they need root."""

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

EXT4_IOC_SHUTDOWN = 0x8004587D  # fs/ext4/ext4.h: _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: what is not in the journal is gone
MOUNT_S = 20.0


def need_mounts() -> None:
    """Skip, loudly, where this account may mount nothing."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
        pytest.skip("this machine lets nothing be mounted")


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=MOUNT_S)
    if done.returncode != 0:
        msg = f"{' '.join(words)}: {done.stderr.strip()}"
        raise OSError(msg)


class _Mounted:
    """A mounted directory; a context manager. `root` is where it is mounted."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Self:
        need_mounts()
        self.root.mkdir(parents=True, exist_ok=True)
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()

    def mount(self) -> None:
        """Mount it at `root`."""
        raise NotImplementedError

    def unmount(self) -> None:
        """Unmount it; a process that has just ended may hold it a moment longer."""
        deadline = time.monotonic() + 5
        while True:
            try:
                _run("umount", str(self.root))
            except OSError:
                if time.monotonic() > deadline:
                    with contextlib.suppress(OSError):
                        _run("umount", "--lazy", str(self.root))
                    return
                time.sleep(0.05)
            else:
                return


class TinyDisk(_Mounted):
    """A tmpfs of so many bytes."""

    def __init__(self, root: Path, size: int) -> None:
        super().__init__(root)
        self.size = size

    def mount(self) -> None:
        """Mount it empty."""
        _run("mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", str(self.root))

    def fill(self) -> Path:
        """Take all its space; return the file to delete."""
        ballast = self.root / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        return ballast


class LoopDisk(_Mounted):
    """An ext4 file system in a file, whose power can be cut."""

    def __init__(self, root: Path, size: int = 64 << 20) -> None:
        super().__init__(root)
        self.image = root.with_name(root.name + ".img")
        self.size = size

    def mount(self) -> None:
        """Mount it, with what the journal brings back; made at the first time."""
        if not self.image.exists():
            with self.image.open("wb") as file:
                file.truncate(self.size)
            _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(self.image))
        options = "loop,errors=remount-ro"
        _run("mount", "-t", "ext4", "-o", options, str(self.image), str(self.root))

    def cut(self) -> None:
        """Cut the power: from now on nothing is written, and what no fsync has saved is lost."""
        folder = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def turn_read_only(self) -> None:
        """Have the kernel find an error, as of a dying card: it remounts read-only."""
        device = Path(self._device()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test\n")

    def _device(self) -> str:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            device, root, *_ = line.split()
            if root == str(self.root):
                return device
        msg = f"{self.root} is not mounted"
        raise OSError(msg)

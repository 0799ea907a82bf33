"""What the card gets to write: the daemon on a loop device, 20 meters at one reading a second.

The device's own count of sectors is taken (Linux, /sys/block/…/stat), with everything in it:
the write-ahead log, its checkpoints, the file system's journal, and the end in good order.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.common import Figures, progress
from bench.load import close, connect, meter_name, payload, register_wh
from tests.support.daemon import Daemon
from tests.support.mosquitto import Mosquitto

METERS = 20
WINDOW_MS = 1000
SECTOR_BYTES = 512  # the unit of the block layer's statistics, whatever the device has
IMAGE_BYTES = 512 * 1024 * 1024
MKFS = ("-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0")


def can_mount() -> bool:
    """Tell whether a loop device can be mounted here; say so when not."""
    able = os.geteuid() == 0 and Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4")
    if not able:
        progress("written bytes are not measured: that needs root, loop devices and mkfs.ext4")
    return bool(able)


@contextlib.contextmanager
def loop_device(place: Path) -> Iterator[tuple[Path, str]]:
    """Give a mounted file system on a loop device of its own, and the device's name."""
    image, root = place / "card.img", place / "card"
    root.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    said("mkfs.ext4", *MKFS, str(image))
    device = said("losetup", "--find", "--show", str(image))
    try:
        said("mount", device, str(root))
        try:
            yield root, Path(device).name
        finally:
            said("umount", str(root))
    finally:
        said("losetup", "--detach", device)


def said(*words: str) -> str:
    """Run a command that must end well; return what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def written_bytes(device: str) -> int:
    """Return the bytes written to a block device so far, with all that was still waiting."""
    os.sync()
    fields = Path(f"/sys/block/{device}/stat").read_text(encoding="utf-8").split()
    return int(fields[6]) * SECTOR_BYTES


def run_wear(place: Path, broker: Mosquitto, seconds: int) -> Figures:
    """Measure bytes written per reading over so many seconds, the daemon's end included."""
    with loop_device(place) as (root, device), Daemon(root / "p", mqtt_port=broker.port) as daemon:
        publish(broker.port, range(5))
        before = written_bytes(device)
        publish(broker.port, range(5, seconds + 5))
        daemon.terminate(within_s=30)
        written = written_bytes(device) - before
    return {"written_bytes_per_reading": written / (METERS * seconds)}


def publish(port: int, seqs: range) -> None:
    """Publish these windows of every meter, each second's spread over the second."""
    client = connect(port, "bench-wear")
    start_ms = int(time.time() * 1000) - (seqs.start + 1) * WINDOW_MS
    began = time.monotonic()
    for seq in seqs:
        body = payload(seq, start_ms, register_wh(seq, WINDOW_MS))
        for index in range(METERS):
            due = began + (seq - seqs.start + index / METERS) * WINDOW_MS / 1000
            time.sleep(max(0.0, due - time.monotonic()))
            client.publish(f"ww/v1/{meter_name(index)}/readings", body, qos=1)
    time.sleep(2.0)
    close(client)

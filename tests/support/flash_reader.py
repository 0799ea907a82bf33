"""What lies on a simulated meter's flash image: read in the VM by the firmware's codecs."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.firmware import vm

_PROGRAM: Final = """
import json, os, sys
import records, simflash
from checked import Checked
simflash.mount(sys.argv[1], int(sys.argv[2]), None, "/flash")
spans = []
try:
    names = sorted(os.listdir("/flash/spool"))
except OSError:
    names = []
for name in names:
    number = int(name[:-4], 16)
    with open("/flash/spool/" + name, "rb") as file:
        payload = records.read_frame(file, number)
        if payload is None:
            continue
        base = records.decode_header(payload)
        codec, minute = records.Codec(base), records.Minute(len(base.names))
        while (payload := records.read_frame(file, number)) is not None:
            if payload[0] & 3 == records.MINUTE:
                codec.decode(payload, minute)
                spans.append((base.boot, minute.seq - minute.n + 1, minute.seq))
count = Checked("/flash", "bootcount").load()
entries = Checked("/flash", "registers").load()
# One byte of version; per channel the name's CRC-32, import and export in 7 bytes each, mWh.
mwh = int.from_bytes(entries[5:12], "little") if entries else 0
print(json.dumps({
    "bootn": int.from_bytes(count, "little") if count else 0, "spool": spans, "mwh": mwh}))
"""


@dataclass(frozen=True, slots=True)
class OnFlash:
    """The boot counter, the first channel's energy in (mWh), and (boot, first, last) of minutes."""

    bootn: int
    mwh: int
    spool: list[tuple[int, int, int]]


def read_flash(directory: Path, size: int) -> OnFlash:
    """Return what lies on the flash of a meter that is down; its image stays as it is."""
    copy = directory / "flash.copy"
    shutil.copy(directory / "flash.bin", copy)
    try:
        told = json.loads(vm(_PROGRAM, str(copy), str(size), heap="2M"))
    finally:
        copy.unlink()
    spool = [(boot, first, last) for boot, first, last in told["spool"]]
    return OnFlash(told["bootn"], told["mwh"], spool)

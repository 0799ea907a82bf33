"""A meter's bundle road in the MicroPython VM, on littlefs in an image that may lose power."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.bundle_rig import KEYS, METER, signer
from tests.support.firmware import vm_command, vm_environment

FLASH_BYTES = 512 * 1024
KILLED = -9

# Boots, tells what runs, brings in what job.json says, tells what runs then.
PROGRAM = """
import asyncio, gc, json, sys
from binascii import a2b_base64, b2a_base64
import simflash
with open(sys.argv[1]) as file:
    job = json.load(file)
flash = simflash.mount(job["image"], job["size"], job["cut_after"], "/flash")
from choice import choose
from bundles import Bundles
from errors import BadBundleError
keys = {name: [a2b_base64(key) for key in some] for name, some in job["keys"].items()}
events = []
class Rest(Exception):
    pass
class Restarted(Exception):
    pass
def start():
    slot = choose("/flash")
    running = {}
    def taker(kind):
        def take(lent):
            content = None if lent is None else bytes(lent)
            if content and b"bad" in content:
                raise BadBundleError("vector 0")
            running[kind] = content
        return take
    async def request(kind, version, offset, length):
        with open(job["shelf"] + "/" + kind + str(version), "rb") as file:
            file.seek(offset)
            data = b2a_base64(file.read(length)).strip().decode()
        message = {"kind": kind, "version": version, "offset": offset, "data": data}
        await bundles.chunk(message)
    async def restart():
        raise Restarted
    async def sleep(seconds):
        if seconds >= 1:
            raise Rest
        await asyncio.sleep(0)
    apply = {kind: taker(kind) for kind in ("model", "calibration")}
    ring = memoryview(bytearray(8192))
    bundles = Bundles("/flash", job["meter"], keys, request_chunk=request, apply=apply,
        lend=lambda size: ring[:size], send_event=events.append, restart=restart, sleep=sleep)
    for kind in ("model", "calibration"):
        running[kind] = bundles.active(kind)
    return bundles, running, slot
def tell(what):
    text = {k: None if v is None else v.decode()[:20] for k, v in running.items()}
    if slot >= 0:
        with open("/flash/app_" + "ab"[slot] + "/app.py") as file:
            text["firmware"] = file.read()
    print(json.dumps({"at": what, "running": text, "versions": bundles.versions(),
        "events": events, "changes": flash.writes + flash.erases, "heap": gc.mem_alloc()}))
async def rest():
    try:
        await bundles.run()
    except Rest:
        pass
bundles, running, slot = start()
tell("boot")
for entry in job["entries"]:
    for again in range(3):
        asyncio.run(bundles.desired({"bundles": [entry]}))
        try:
            asyncio.run(rest())
        except Restarted:
            bundles, running, slot = start()
            asyncio.run(bundles.desired({"bundles": [entry]}))
        for window in range(10):
            bundles.good_window()
        asyncio.run(rest())
        gc.collect()
        if bundles.versions()[entry["kind"]] == entry["version"]:
            break
tell("end")
"""


class VmMeter:
    """Boots of one simulated meter; each boot is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "flash.img"
        self._shelf = folder / "shelf"
        self._shelf.mkdir(exist_ok=True)
        self._program = folder / "road.py"
        self._program.write_text(PROGRAM)
        self._job = folder / "job.json"

    def offer(self, kind: str, version: int, content: bytes) -> dict[str, Any]:
        """Put a bundle on the gateway's shelf; return its announcement."""
        (self._shelf / f"{kind}{version}").write_bytes(content)
        return signer(kind).announce(kind, version, content)

    def boot(
        self, *entries: dict[str, Any], cut_after: int | None = None
    ) -> list[dict[str, Any]] | None:
        """Boot and bring in the bundles one by one; None when the power went before the end.

        Returns what ran at boot and at the end. AssertionError when the VM ended otherwise.
        """
        job = {
            "image": str(self.image),
            "size": FLASH_BYTES,
            "cut_after": cut_after,
            "shelf": str(self._shelf),
            "meter": METER,
            "keys": {
                name: [base64.b64encode(key).decode() for key in some]
                for name, some in KEYS.items()
            },
            "entries": entries,
        }
        self._job.write_text(json.dumps(job))
        done = subprocess.run(
            vm_command(self._program, str(self._job), heap="256K"),  # the sources, not linked
            env=vm_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == KILLED:
            return None
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def copy_image(self, pattern: Path) -> None:
        """Start over from another meter's flash."""
        shutil.copy(pattern, self.image)

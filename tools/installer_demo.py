"""The installer's road without hardware: `make installer-demo`.

A simulated board on a pretended USB port is flashed by the real esptool and mpremote, made a
meter by a real mosquitto and the daemon, and calibrated. Everything lies in a temporary folder.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from simulation.chain import Chain
from simulation.firmware_files import find_vm
from tests.support.kit_bench import KitBench
from tests.support.kit_site import KitSite
from tests.support.mosquitto import find_mosquitto

METER = "kitchen"
SPEED = 8.0  # the board's clock against ours, so that nobody waits for a calibration


def main() -> int:
    """Run the demo; return 0, or 1 after one line that says what is missing or went wrong."""
    if find_mosquitto() is None or find_vm() is None:
        print("installer-demo: needs mosquitto (apt-get install mosquitto) and an x86_64 Linux")
        return 1
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as folder:
        place = Path(folder)
        print("A broker with our accounts, ACL and TLS, and the gateway, are starting …")
        with KitSite(place) as site:
            board = site.plug_in("board", chain=Chain(7, 1), speed=SPEED)
            print(f"A bare ESP32 is on {board.port} (simulated; what talks to it is real).\n")
            image = ["flash", "--port", str(board.port), "--image", "micropython.bin", "--yes"]
            steps = (
                (image, site.flash_words(board)),
                (["provision", METER, "--wifi-file", "wifi.json"],
                 site.provision_words(board, METER)),
            )  # fmt: skip
            for shown, words in steps:
                if not _run(site, shown, words):
                    return 1
            return _calibrated(site)


def _run(site: KitSite, shown: Sequence[str], words: Sequence[str]) -> bool:
    print(f"$ wattwarden meters {' '.join(shown)}", flush=True)
    command = site.command(*words)
    environment = site.environment()
    done = subprocess.run(command, cwd=site.directory, env=environment, check=False)
    print(flush=True)
    return done.returncode == 0


def _calibrated(site: KitSite) -> int:
    print(f"$ wattwarden meters calibrate {METER} --class 0.05 --reference-log reference.csv")
    bench = KitBench(site, METER, "board", hear=lambda line: print(line, flush=True))
    bench.certificate = Path("build").resolve() / f"certificate-{METER}.html"
    bench.certificate.parent.mkdir(exist_ok=True)
    status, said = bench.run()
    if status != 0:
        print(said[-1000:], file=sys.stderr)
        return 1
    print("\nThat is all: bare board to certificate, which any browser shows and prints.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("installer-demo: interrupted; what it had begun is taken away")

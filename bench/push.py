"""How long after the reading that shows a fault a push to a phone is accepted.

Twenty meters or more send a window a second, as a site does; one after the other has a swell (1.2
times the nominal voltage), which the gateway must tell once it has lasted 3 s. Each has but one,
since a meter's next one within minutes belongs to the same alert. The clock starts when the
window that completes those 3 s is published, and ends when the stub of Google's server has taken
the push. Alerts of one kind within a minute are told as one; here they are told apart, so that
every single one is timed.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.common import Figures, Limit, Result, finish, percentile, progress, work_directory
from bench.load import VOLTS, WINDOW_MS, close, connect, meter_name, payload, register_wh
from tests.support.accounts import service_account
from tests.support.api import Api
from tests.support.daemon import Daemon, clean_environment
from tests.support.fcm_stub import FcmStub
from tests.support.mosquitto import Mosquitto

SWELL_V = 1.2 * 230
LEAST_METERS = 20
WARM_UP_WINDOWS = 8
SWELL_WINDOWS = 5  # 3 s are enough; meters do not stop at once
PHONE = "phone-of-the-bench"
APART = (
    "import gateway.services.notify.notifier as n; n.GROUP_MS = -1;"
    "from gateway.cli import main; main()"
)


class UngroupedDaemon(Daemon):
    """A daemon that tells alerts apart however close together they are."""

    def launch(self) -> None:
        """Start the process without waiting for it to be ready."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", APART, "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env=clean_environment(self.directory),
            )  # fmt: skip
        self.starts += 1


def publish_swells(port: int, count: int, every: int) -> tuple[int, dict[tuple[str, int], float]]:
    """Publish in a steady rhythm, a swell beginning every `every` windows.

    Return the start (Unix ms) and when (monotonic s) each (meter, seq) was sent.
    """
    client = connect(port, "bench-push")
    start_ms, began_s = int(time.time() * 1000), time.monotonic()
    sent: dict[tuple[str, int], float] = {}
    meters = max(LEAST_METERS, count)
    for seq in range(WARM_UP_WINDOWS + count * every + SWELL_WINDOWS + 3):
        register = register_wh(seq, WINDOW_MS)
        for index in range(meters):
            due_s = began_s + (seq + 1 + index / meters) * WINDOW_MS / 1000
            time.sleep(max(0.0, due_s - time.monotonic()))
            volts = SWELL_V if swells(index, seq, count, every) else VOLTS
            body = payload(seq, start_ms, register, WINDOW_MS, volts)
            sent[meter_name(index), seq] = time.monotonic()
            client.publish(f"ww/v1/{meter_name(index)}/readings", body, qos=1)
    time.sleep(3.0)
    close(client)
    return start_ms, sent


def swells(index: int, seq: int, count: int, every: int) -> bool:
    """Tell whether a meter's window lies in its swell: the n-th is that of meter n."""
    return index < count and 0 <= seq - WARM_UP_WINDOWS - index * every < SWELL_WINDOWS


def measure(place: Path, count: int, every: int) -> Figures:
    """Time `count` swells."""
    with FcmStub() as fcm, Mosquitto(place / "mosquitto") as broker:
        os.environ["FCM_EMULATOR_HOST"] = fcm.host
        key = service_account(place / "key.json", token_uri=f"http://{fcm.host}/token")
        cloud = {"enabled": True, "project": "demo-x", "development": True}
        settings = {"cloud": {**cloud, "credentials_file": str(key)}}
        daemon = UngroupedDaemon(place / "d", mqtt_port=broker.port, settings=settings)
        with daemon:
            with Api.logged_in(daemon) as api:
                body = {"token": PHONE, "platform": "android"}
                api.http.post("/api/v1/devices", json=body).raise_for_status()
            daemon.terminate()
            daemon.start()  # with a phone known, it logs in at its start
            start_ms, sent = publish_swells(broker.port, count, every)
    late_ms = []
    for taken in fcm.taken:
        facts = taken.message["data"]
        seq = (int(facts["opened"]) - start_ms) // WINDOW_MS - 1
        late_ms.append((taken.at_s - sent[facts["meter"], seq]) * 1000)
    return {
        "push_p50_ms": percentile(late_ms, 0.5) if late_ms else float("inf"),
        "push_p99_ms": percentile(late_ms, 0.99) if late_ms else float("inf"),
        "pushes_missing": count - len({taken.tag for taken in fcm.taken}),
        "pushes_repeated": len(fcm.taken) - len({taken.tag for taken in fcm.taken}),
    }


def main() -> int:
    """Run once and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 swells instead of 100")
    args = parser.parse_args()
    count, every = (12, 3) if args.quick else (100, 3)
    progress(f"{count} swells in {count * every + 20} s")
    with work_directory() as place:
        figures = measure(place, count, every)
    limits = [
        Limit("push_p99_ms", "max", 2000),
        Limit("pushes_missing", "max", 0),
        Limit("pushes_repeated", "max", 0),
    ]
    return finish(
        Result("push", figures, limits, {"meters": max(LEAST_METERS, count), "swells": count})
    )


if __name__ == "__main__":
    sys.exit(main())

"""Somebody who looks at history, in a process of its own: asks for charts in a fixed rhythm."""

import argparse
import itertools
import json
import sys
import threading
import time
from dataclasses import dataclass, field

import httpx

from bench.year import CHANNEL, DAY_MS, METER

CALLS_PER_S = 5
CHARTS = (  # what the app asks for when somebody looks at history
    ("year_chart", 365, "auto"),
    ("month_chart", 30, "15m"),
    ("day_chart", 1, "1m"),
)


@dataclass
class Charts:
    """Calls charts in a fixed rhythm, and keeps how long each took."""

    url: str
    cookie: str
    took_ms: dict[str, list[float]] = field(default_factory=dict)
    failed: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Call until stopped; every other call is the year's chart."""
        others = itertools.cycle(CHARTS[1:])
        headers = {"Cookie": self.cookie}
        with httpx.Client(base_url=self.url, headers=headers, timeout=10) as client:
            for chart in CHARTS:  # what is loaded at the first call is no part of it
                self.call(client, *chart)
            self.took_ms.clear()
            print("ready", flush=True)
            began = time.monotonic()
            for count in itertools.count():
                self.call(client, *(CHARTS[0] if count % 2 == 0 else next(others)))
                if self.stop.wait(max(0.0, began + (count + 1) / CALLS_PER_S - time.monotonic())):
                    return

    def call(self, client: httpx.Client, name: str, days: int, resolution: str) -> None:
        """Ask for one chart."""
        now_ms = int(time.time() * 1000)
        params = {
            "channel": CHANNEL, "fields": "p,p_min,p_max,v", "resolution": resolution,
            "start": str(now_ms - days * DAY_MS), "end": str(now_ms),
        }  # fmt: skip
        began = time.perf_counter()
        answer = client.get(f"/api/v1/meters/{METER}/series", params=params)
        took_ms = (time.perf_counter() - began) * 1000
        self.took_ms.setdefault(name, []).append(took_ms)
        if answer.status_code != 200 or len(answer.json()["t"]) < 300:
            self.failed += 1


def main() -> None:
    """Say `ready` after a first call of each, call until stdin closes, print the times as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--cookie", required=True)
    args = parser.parse_args()
    charts = Charts(args.url, args.cookie)
    calling = threading.Thread(target=charts.run)
    calling.start()
    sys.stdin.read()
    charts.stop.set()
    calling.join()
    print(json.dumps({"took_ms": charts.took_ms, "failed": charts.failed}), flush=True)


if __name__ == "__main__":
    main()

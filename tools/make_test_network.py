"""Train the small network that tests run without TensorFlow: `python -m tools.make_test_network`.

Needs the extra `train`. Writes tests/support/networks/dense.tflite (int8, at most 10 kB) and
dense.json: rows it has not seen, and what the network of floats makes of them. Run it again when
the charts that the network reads (tinymodels.detect.bank.CHARTS) change.
"""

import json
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.support.small_home import small_home
from tinymodels.detect.bank import CHARTS
from tinymodels.detect.contract import Options
from tinymodels.train.autoencoder import Recipe, inputs_of, pool, train_network

FOLDER = Path(__file__).parents[1] / "tests" / "support" / "networks"
RECIPE = Recipe(hidden=16, code=8, epochs=40)
HOMES = (3, 4)
DAYS = 28
ROWS = 12
DIGITS = 5
MOST_BYTES = 10_000


def main() -> int:
    """Train and write; return 0, or 1 where the network is too large to be kept."""
    options = Options(ZoneInfo("UTC"), 4.0)
    x = pool([inputs_of(small_home(DAYS, seed=seed), options) for seed in HOMES])
    trained = train_network(x, RECIPE)
    if len(trained.network) > MOST_BYTES:
        print(f"{len(trained.network)} bytes are more than {MOST_BYTES}", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "dense.tflite").write_bytes(trained.network)
    step = max(1, len(trained.rows) // ROWS)
    told = {
        "inputs": list(CHARTS),
        "card": trained.card(),
        "rows": trained.rows[::step][:ROWS].round(DIGITS).tolist(),
        "whole": trained.whole[::step][:ROWS].round(DIGITS).tolist(),
    }
    text = json.dumps(told, separators=(",", ":"), sort_keys=True)
    (FOLDER / "dense.json").write_text(text + "\n", encoding="utf-8")
    print(f"{FOLDER / 'dense.tflite'}: {len(trained.network)} bytes, {trained.card()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

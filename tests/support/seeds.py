"""The seed of what happens at random moments; `make soak ARGS="--seed N"` sets another."""

import os

SEED = int(os.environ.get("WATTWARDEN_SOAK_SEED", "20261122"))

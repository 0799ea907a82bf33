"""Alert rules, one family per module: pure, deterministic in the readings they are given."""

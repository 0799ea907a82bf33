"""Benchmarks: `python -m bench.<name> [--quick]`, one JSON line at the end."""

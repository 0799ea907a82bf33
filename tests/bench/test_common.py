"""The benchmarks' own arithmetic: limits, percentiles, the JSON line, the page."""

import json

import numpy as np
import pytest

from bench.common import Limit, Result, finish, medians, percentile


def test_a_failed_limit_fails_the_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    limits = [Limit("rate", "min", 5000), Limit("rss", "max", 100)]
    result = Result("x", {"rate": 4999.0, "rss": 80.0}, limits)
    assert finish(result) == 1
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["name"] == "x"
    assert line["limits"]["rate"] == {"value": 4999, "limit": 5000, "bound": "min", "ok": False}
    assert line["limits"]["rss"]["ok"] is True
    assert line["machine"]["cores"] >= 1


def test_a_missing_figure_fails() -> None:
    assert not Result("x", {}, [Limit("rate", "min", 1)]).ok()


def test_limits_met_exactly_are_ok(capsys: pytest.CaptureFixture[str]) -> None:
    limits = [Limit("a", "min", 2), Limit("b", "max", 3)]
    assert finish(Result("x", {"a": 2.0, "b": 3.0}, limits)) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_figures_of_numpy_are_told_like_others(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"a": np.float64(2.5)}
    assert finish(Result("x", dict(figures), [Limit("a", "max", 3)])) == 0
    assert json.loads(capsys.readouterr().out)["limits"]["a"]["ok"] is True


def test_both_bounds_of_a_figure_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    bounds = [Limit("a", "min", 0.9), Limit("a", "max", 0.99)]
    assert finish(Result("x", {"a": 0.5}, bounds)) == 1
    told = json.loads(capsys.readouterr().out)["limits"]
    assert {name: each["ok"] for name, each in told.items()} == {"a": False, "a_max": True}


def test_percentiles_and_medians() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([7.0], 0.99) == 7
    assert medians([{"a": 1.0}, {"a": 9.0}, {"a": 2.0}]) == {"a": 2.0}

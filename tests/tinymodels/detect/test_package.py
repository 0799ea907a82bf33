"""The model file: there and back, its self-test, and what is refused."""

import dataclasses
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tinymodels.detect.homes import following, home
from tinymodels.detect.charts import FITTER, ChartsModel
from tinymodels.detect.contract import ModelRefusedError, Options
from tinymodels.detect.kinds import fitter, model_class, open_package
from tinymodels.detect.package import (
    MOST_PAYLOAD_BYTES,
    Package,
    Vectors,
    pack,
    self_test,
    unpack,
)
from tinymodels.detect.signals import NAMES, VERSION


@cache
def charts() -> ChartsModel:
    return FITTER.fit(home(8), Options(ZoneInfo("UTC"), 4.0))


def packed(**changes: Any) -> Package:  # noqa: ANN401 - fields of a Package
    model = charts()
    minutes = following(0.5, 8, 3)
    package = Package(
        "charts", 3, "*", "grid", NAMES, VERSION, model.to_bytes(),
        Vectors(minutes, model.score(minutes)[1]), card={"about": "a test"},
    )  # fmt: skip
    return dataclasses.replace(package, **changes)


CONTENT = pack(packed())


def test_there_and_back() -> None:
    package = unpack(CONTENT)
    assert pack(package) == CONTENT
    assert package.name == "charts-pooled-grid-3.wwm"
    assert (package.features, package.card) == (NAMES, {"about": "a test"})
    model = open_package(package)
    self_test(package, model)
    assert packed(meter="home").name == "charts-home-grid-3.wwm"


def test_a_model_that_scores_otherwise_fails_its_self_test() -> None:
    package = packed()
    other = FITTER.fit(home(9), Options(ZoneInfo("UTC"), 4.0))
    with pytest.raises(ModelRefusedError, match="scores are off by"):
        self_test(package, other)
    vectors = package.vectors
    short = Vectors(vectors.minutes, vectors.scores[:-1])
    with pytest.raises(ModelRefusedError, match="scores where"):
        self_test(dataclasses.replace(package, vectors=short), open_package(package))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": 0}, "version 0"),
        ({"version": True}, "version True"),
        ({"meter": "Über"}, "no meter's id"),
        ({"channel": "../x"}, "no channel"),
        ({"kind": "Nice"}, "no kind"),
        ({"payload": b""}, "0 bytes of model"),
        ({"payload": bytes(MOST_PAYLOAD_BYTES + 1)}, "bytes of model"),
        ({"schema": 2}, "schema 2"),
        ({"features": ()}, "0 features"),
    ],
)
def test_what_is_out_of_form_is_not_packed(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ModelRefusedError, match=why):
        pack(packed(**changes))


def test_a_self_test_with_nan_is_refused() -> None:
    vectors = packed().vectors
    bad = Vectors(vectors.minutes, np.full(len(vectors.scores), np.nan))
    with pytest.raises(ModelRefusedError, match="NaN"):
        pack(packed(vectors=bad))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(at: int, by: int) -> None:
    with pytest.raises(ModelRefusedError):
        unpack(CONTENT[:at] + bytes([CONTENT[at] ^ by]) + CONTENT[at + 1 :])


@settings(max_examples=80, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.integers(0, len(CONTENT) - 1)))
def test_what_is_cut_or_something_else_is_refused(what: bytes | int) -> None:
    with pytest.raises(ModelRefusedError):
        unpack(CONTENT[:what] if isinstance(what, int) else what)


def test_kinds_nobody_knows_are_refused() -> None:
    for ask in (model_class, fitter):
        with pytest.raises(ModelRefusedError, match="no kind of model"):
            ask("oracle")

"""The signed text is the canonical JSON of the contract."""

import json

import pytest
from canon import announced
from hypothesis import given
from hypothesis import strategies as st


@given(
    kind=st.sampled_from(["model", "calibration", "firmware"]),
    meter=st.one_of(st.just("*"), st.from_regex(r"[a-z0-9][a-z0-9-]{1,31}", fullmatch=True)),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    size=st.integers(0, 2**32),
    version=st.integers(0, 2**53),
)
def test_equals_the_json_module(
    kind: str, meter: str, sha256: str, size: int, version: int
) -> None:
    fields = {"kind": kind, "meter": meter, "sha256": sha256, "size": size, "version": version}
    expected = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    assert announced(kind, meter, sha256, size, version) == expected


@pytest.mark.parametrize("bad", ['a"b', "a\\b", "Ä", "a b", "a\n", "{", "A"])
def test_refuses_what_json_would_have_to_escape(bad: str) -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        announced("model", bad, "00", 1, 1)

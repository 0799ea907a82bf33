"""Packing bundles: what is signed, what is refused before a meter has to."""

import hashlib
import json
import struct
from base64 import b64decode
from typing import Any

import pytest
from canon import announced
from hypothesis import given
from hypothesis import strategies as st

from tests.support.signing import Signer
from tinymodels.detect.bundle import (
    MOST_BYTES,
    MOST_FILES,
    BundleError,
    Kind,
    announce,
    pack_firmware,
)


@given(
    kind=st.sampled_from(["model", "calibration", "firmware"]),
    version=st.integers(1, 10**9),
    content=st.binary(min_size=1, max_size=300),
    meter=st.one_of(st.just("*"), st.from_regex(r"[a-z0-9][a-z0-9-]{1,31}", fullmatch=True)),
)
def test_the_meter_checks_the_text_that_is_signed(
    kind: Kind, version: int, content: bytes, meter: str
) -> None:
    made = announce(kind, version, content, meter=meter)
    sha256 = hashlib.sha256(content).hexdigest()
    assert made.canonical() == announced(kind, meter, sha256, len(content), version)


def test_an_entry_is_what_the_contract_says() -> None:
    signer = Signer()
    made = announce("model", 7, b"{}")
    entry = made.entry(signer.sign(made.canonical()))
    assert entry == signer.announce("model", 7, b"{}")
    assert set(entry) == {"kind", "version", "size", "sha256", "sig"}
    assert len(b64decode(str(entry["sig"]))) == 64


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "recipe"}, "recipe"),
        ({"content": b""}, "0 bytes"),
        ({"content": bytes(MOST_BYTES["model"] + 1)}, "8193 bytes"),
        ({"version": 0}, "version 0"),
        ({"version": 10**9 + 1}, "version 1000000001"),
        ({"meter": "Kitchen"}, "Kitchen"),
        ({"meter": "k"}, "'k'"),
        ({"meter": 'k"x'}, "no meter"),
    ],
)
def test_what_no_meter_takes_is_refused(changes: dict[str, Any], named: str) -> None:
    good: dict[str, Any] = {"kind": "model", "version": 1, "content": b"{}", "meter": "*"}
    with pytest.raises(BundleError, match=named):
        announce(**{**good, **changes})


def test_a_short_signature_is_refused() -> None:
    with pytest.raises(BundleError, match="64 bytes, not 63"):
        announce("model", 1, b"{}").entry(bytes(63))


def test_a_container_is_repeatable_and_reads_back() -> None:
    files = {"b.py": b"x = 1\n", "app.py": b"def main(root):\n    pass\n"}
    packed = pack_firmware(files, 9)
    assert packed == pack_firmware(dict(reversed(files.items())), 9)
    magic, form, length = struct.unpack_from("<4sBI", packed)
    manifest = json.loads(packed[9 : 9 + length])
    assert (magic, form, manifest["format"], manifest["version"]) == (b"WWFW", 1, 1, 9)
    at = 9 + length
    for name, size, sha256 in manifest["files"]:
        assert packed[at : at + size] == files[name]
        assert hashlib.sha256(files[name]).hexdigest() == sha256
        at += size
    assert at == len(packed)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"x.py": b""}, "app.py"),
        ({"app.py": b"", "main.py": b""}, "main.py"),
        ({"app.py": b"", "boot.mpy": b""}, "boot.mpy"),
        ({"app.py": b"", "../x.py": b""}, "x.py"),
        ({"app.py": b"", "lib/x.py": b""}, "lib"),
        ({"app.py": b"", "X.py": b""}, "X.py"),
        ({"app.py": b"", "x.txt": b""}, "x.txt"),
        ({"app.py": bytes(MOST_BYTES["firmware"])}, "bytes of firmware"),
        ({"app.py": b"", **{f"m{i}.py": b"" for i in range(MOST_FILES)}}, "97 files"),
    ],
)
def test_what_no_meter_unpacks_is_refused(files: dict[str, bytes], named: str) -> None:
    with pytest.raises(BundleError, match=named):
        pack_firmware(files, 1)

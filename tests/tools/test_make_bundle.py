"""What the packing tool makes, a meter takes; what it cannot make, it says in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from bootslot import version_of
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.bundle_rig import Gateway, Meter
from tools.make_bundle import main

RELEASE = Ed25519PrivateKey.generate()


def pem(private: Ed25519PrivateKey | EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "release.pem"
    path.write_bytes(pem(RELEASE))
    return str(path)


def offered(gateway: Gateway, out: Path) -> dict[str, Any]:
    """Put what the tool wrote onto the gateway's shelf; return the entry it wrote."""
    entry: dict[str, Any] = json.loads(out.with_name(out.name + ".json").read_text())
    gateway.shelf[entry["kind"], entry["version"]] = out.read_bytes()
    return entry


@pytest.fixture
def meter(tmp_path: Path) -> Meter:
    (tmp_path / "meter").mkdir()
    keys = {"release": [RELEASE.public_key().public_bytes_raw()], "site": []}
    return Meter(tmp_path / "meter", Gateway(), keys=keys)


async def test_a_meter_takes_the_whole_firmware(tmp_path: Path, key: str, meter: Meter) -> None:
    out = tmp_path / "firmware.bin"
    assert main(["firmware", "12", str(out), "--key", key]) == 0
    await meter.desire(offered(meter.gateway, out))
    assert meter.firmware_slot == 0
    assert version_of(str(meter.root / "app_a")) == 12
    names = {path.stem for path in (meter.root / "app_a").iterdir()}
    assert {"app", "board", "bundles"} <= names
    assert names.isdisjoint({"main", "link", "romslot"})


async def test_a_meter_takes_a_model(tmp_path: Path, key: str, meter: Meter) -> None:
    (tmp_path / "model.json").write_text('{"format":1}')
    out = tmp_path / "model.bin"
    words = ["model", "7", str(out), str(tmp_path / "model.json"), "--key", key]
    assert main([*words, "--meter", "kitchen"]) == 0
    await meter.desire(offered(meter.gateway, out))
    assert meter.running["model"] == b'{"format":1}'


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["model", "7", "OUT"], "needs FILE"),
        (["model", "0", "OUT", "KEY"], "version 0"),
        (["model", "7", "OUT", "missing.json"], "missing.json"),
        (["model", "7", "OUT", "KEY", "--meter", "Kitchen"], "Kitchen"),
        (["model", "7", "OUT", "KEY", "--key", "EC"], "not an ed25519 key"),
        (["model", "7", "OUT", "KEY", "--key", "missing.pem"], "missing.pem"),
        (["model", "7", "OUT", "KEY", "--key", "TEXT"], "--key"),
        (["firmware", "7", "OUT", "EMPTY"], "no firmware"),
        (["firmware", "7", "OUT", "BROKEN"], "invalid syntax"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    (tmp_path / "ec.pem").write_bytes(pem(generate_private_key(SECP256R1())))
    (tmp_path / "text").write_text("no key")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "app.py").write_text("def (")
    places = {"OUT": "out", "EC": "ec.pem", "TEXT": "text", "EMPTY": "empty", "BROKEN": "broken"}
    given = [str(tmp_path / places[w]) if w in places else key if w == "KEY" else w for w in words]
    assert main(["--key", key, *given]) == 1
    said = capsys.readouterr().err
    assert named in said
    assert said.startswith("make_bundle: ")
    assert not (tmp_path / "out").exists()

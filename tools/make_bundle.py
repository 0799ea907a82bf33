"""Pack and sign a bundle for meters: `python -m tools.make_bundle KIND VERSION OUT …`."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tinymodels.detect.bundle import ANY_METER, BundleError, Kind, announce, pack_firmware
from tools.compile_firmware import FIRMWARE
from tools.firmware_linker.source import LinkError
from tools.link_firmware import compile_to, link


class InputError(Exception):
    """Whoever packs must correct what the text names."""


def firmware(folder: Path, version: int, architecture: str) -> bytes:
    """Return the container of the linked firmware for one architecture.

    Raise BundleError when a meter would refuse it, LinkError when it cannot be linked.
    """
    with tempfile.TemporaryDirectory(prefix="mpy-") as place:
        made = Path(place) / "module.mpy"
        files = {}
        for one in link(folder):
            source = Path(place) / f"{one.name}.py"
            source.write_text(one.text, encoding="utf-8")
            compile_to(source, made, architecture)
            files[f"{one.name}.mpy"] = made.read_bytes()
    return pack_firmware(files, version)


def private_key(path: Path) -> Ed25519PrivateKey:
    """Read an ed25519 key in PEM, without password. Raise InputError when it is none."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = f"--key {path}: {error}"
        raise InputError(msg) from error
    if not isinstance(key, Ed25519PrivateKey):
        msg = f"--key {path}: not an ed25519 key"
        raise InputError(msg)
    return key


def make(arguments: argparse.Namespace) -> None:
    """Write the bundle to OUT and its entry for `desired` to OUT.json."""
    if arguments.kind == "firmware":
        content = firmware(arguments.file or FIRMWARE, arguments.version, arguments.march)
    elif arguments.file is None:
        msg = f"a bundle of kind {arguments.kind} needs FILE"
        raise InputError(msg)
    else:
        content = arguments.file.read_bytes()
    announced = announce(arguments.kind, arguments.version, content, meter=arguments.meter)
    entry = announced.entry(private_key(arguments.key).sign(announced.canonical()))
    if announced.meter != ANY_METER:
        entry["meter"] = announced.meter  # whose it is: `registry publish` asks for it
    arguments.out.write_bytes(content)
    beside = arguments.out.with_name(arguments.out.name + ".json")
    beside.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(content)} bytes; {beside}: entry for desired")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after one line on stderr that names what is wrong."""
    parser = argparse.ArgumentParser(prog="make_bundle", description=__doc__)
    parser.add_argument("kind", choices=get_args(Kind))
    parser.add_argument("version", type=int)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="the model or calibration; for firmware the folder of its modules",
    )
    parser.add_argument("--key", type=Path, required=True, help="ed25519 private key, PEM")
    parser.add_argument("--meter", default=ANY_METER, help="one meter's id; default: all")
    parser.add_argument(
        "--march",
        default="xtensawin",
        help="what firmware is compiled for: xtensawin (ESP32, S3), rv32imc (C3), x64 (the VM)",
    )
    try:
        make(parser.parse_args(words))
    except (InputError, BundleError, LinkError, OSError) as error:
        print(f"make_bundle: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

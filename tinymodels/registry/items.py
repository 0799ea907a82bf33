"""What is published: a file, what it is, and why it may be."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gateway.domain.errors import BadInputError
from tinymodels.detect.bundle import BundleError, announce
from tinymodels.detect.contract import ModelRefusedError
from tinymodels.detect.package import POOLED, SUFFIX, unpack

MODEL, DEVICE, FIRMWARE = "model", "device", "firmware"
MOST_BYTES = 4_194_304  # of any target; a gateway fetches no larger one
VERDICT_SUFFIX = ".verdict.json"
LONGEST_REASON = 500
MOST_LINES = 100
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86}==")


class Item(NamedTuple):
    """A target: its name within a channel, its content, what its metadata says of it."""

    name: str
    body: bytes
    custom: dict[str, Any]

    @property
    def family(self) -> tuple[object, ...]:
        """Return what its versions have in common."""
        return family_of(self.custom)


def family_of(custom: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what the versions of a target have in common."""
    return tuple(custom.get(key) for key in ("what", "kind", "meter", "channel"))


def item_of(path: Path, entry: Path | None = None) -> Item:
    """Return what a file is: a model (.wwm), or a meter's bundle with its signed entry.

    BadInputError names what cannot be published.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise BadInputError(msg) from error
    if not 0 < len(body) <= MOST_BYTES:
        msg = f"{path}: {len(body)} bytes; a target has 1 to {MOST_BYTES}"
        raise BadInputError(msg)
    if path.suffix == SUFFIX:
        return _model(path, body)
    return _bundle(path, body, entry or path.with_name(path.name + ".json"))


def _model(path: Path, body: bytes) -> Item:
    try:
        package = unpack(body)
    except ModelRefusedError as error:
        msg = f"{path}: {error}"
        raise BadInputError(msg) from error
    custom = {
        "what": MODEL, "kind": package.kind, "meter": package.meter, "channel": package.channel,
        "version": package.version, "schema": package.schema,
        "features_version": package.features_version, "needs": list(package.needs),
    }  # fmt: skip
    return Item(package.name, body, custom)


def _bundle(path: Path, body: bytes, entry: Path) -> Item:
    """Return a device model or firmware; its signature is the meters' affair, and goes along."""
    signed = _object(entry, "--entry")
    kind, version = signed.get("kind"), signed.get("version")
    meter, sig = signed.get("meter", POOLED), signed.get("sig")
    if kind not in (MODEL, FIRMWARE) or type(version) is not int or not isinstance(meter, str):
        msg = f"--entry: {entry} announces no model or firmware for meters"
        raise BadInputError(msg)
    if not isinstance(sig, str) or not _SIGNATURE.fullmatch(sig):
        msg = f"--entry: {entry} has no ed25519 signature in `sig`; sign with tools/make_bundle.py"
        raise BadInputError(msg)
    try:
        announced = announce(kind, version, body, meter=meter)
    except BundleError as error:
        msg = f"{path}: {error}"
        raise BadInputError(msg) from error
    if signed.get("sha256") not in (None, announced.sha256):
        msg = f"--entry: {entry} announces another content than {path}"
        raise BadInputError(msg)
    what = DEVICE if kind == MODEL else FIRMWARE
    custom = {"what": what, "kind": kind, "meter": meter, "version": version, "sig": sig}
    whose = "pooled" if meter == POOLED else meter
    return Item(f"{what}/{whose}-{version}.bin", body, custom)


def verdict_of(path: Path, given: Path | None = None) -> dict[str, Any] | None:
    """Return the gate's written verdict on a file: `passed`, `lines`; None where there is none.

    It stands in FILE.verdict.json, or as `gate` in the report.json beside the file. One that
    names another content (`sha256`) is refused with BadInputError.
    """
    if given is not None:
        told = _object(given, "--verdict")
    else:
        beside, report = path.with_name(path.name + VERDICT_SUFFIX), path.with_name("report.json")
        if beside.is_file():
            told = _object(beside, "--verdict")
        elif report.is_file():
            told = _object(report, "--verdict")
        else:
            return None
    told = told.get("gate", told)
    if not isinstance(told, Mapping) or not isinstance(told.get("passed"), bool):
        return None
    lines = told.get("lines")
    shown = [str(line)[:300] for line in lines[:MOST_LINES]] if isinstance(lines, list) else []
    return {"passed": told["passed"], "lines": shown, "sha256": told.get("sha256")}


def gated(
    item: Item, verdict: Mapping[str, Any] | None, *, force: bool, reason: str, by: str
) -> Item:
    """Return the item with its verdict in the metadata; BadInputError where it may not go out.

    Firmware is released by the release key's signature, not by the gate.
    """
    custom = dict(item.custom)
    if verdict is not None:
        custom["gate"] = {"passed": verdict["passed"], "lines": verdict["lines"]}
        if verdict["sha256"] not in (None, hashlib.sha256(item.body).hexdigest()):
            msg = f"{item.name}: the gate's verdict is on another content; judge this one"
            raise BadInputError(msg)
    passed = verdict is not None and verdict["passed"]
    if custom["what"] == FIRMWARE or passed:
        return item._replace(custom=custom)
    if not force:
        why = "the gate refused it" if verdict is not None else "it has no verdict of the gate"
        msg = f"{item.name}: {why}; publish what passed it, or say why not: --force --reason TEXT"
        raise BadInputError(msg)
    if not reason.strip():
        msg = "--reason: must say why this is published in spite of the gate; it is kept for ever"
        raise BadInputError(msg)
    custom["forced"] = {"reason": reason.strip()[:LONGEST_REASON], "by": by}
    return item._replace(custom=custom)


def _object(path: Path, option: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{option}: {path} cannot be used: {error}"
        raise BadInputError(msg) from error
    if not isinstance(found, dict):
        msg = f"{option}: {path} holds no JSON object"
        raise BadInputError(msg)
    return found

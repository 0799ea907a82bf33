"""A run's files: each is there whole or not at all, so that a run goes on where it ended."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.domain.errors import BadInputError, ConflictError
from tinymodels.detect.minutes import Minutes
from tinymodels.train.archive import Part

WORK: Final = ".train"  # below --out: what an interrupted run goes on from
ORDER: Final = "order.json"


def write_whole(path: Path, body: bytes) -> None:
    """Write a file under its name only when all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write JSON for people and programs; equal values give equal bytes."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    write_whole(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - what JSON holds
    """Return what `write_json` wrote; BadInputError for anything else."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be used ({error}); begin anew with --fresh"
        raise BadInputError(msg) from error


@contextlib.contextmanager
def held(out: Path, order: Mapping[str, Any], *, fresh: bool) -> Iterator[Path]:
    """Hold a run's folder; yield where it keeps what it goes on from.

    `order` is what the run was asked: with another one nothing of an earlier run can be used, and
    BadInputError says so unless `fresh` throws it away. ConflictError while another run holds it.
    """
    work = out / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = os.open(out / f"{WORK}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        msg = f"--out: {out} cannot be made: {error.strerror}"
        raise BadInputError(msg) from error
    try:
        _lock(lock, out)
        known = work / ORDER
        if fresh:
            shutil.rmtree(work)
        elif known.exists() and read_json(known) != json.loads(json.dumps(order)):
            msg = (
                f"--out: {out} holds a run on other data or with other options; name another"
                " folder, or begin anew there with --fresh"
            )
            raise BadInputError(msg)
        write_json(known, order)
        yield work
    finally:
        os.close(lock)


def _lock(handle: int, out: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = f"--out: another run is writing to {out}"
        raise ConflictError(msg) from error


def fingerprint(found: Mapping[str, list[Part]], root: Path) -> str:
    """Return a hash of an archive's file names and sizes: a changed archive is another run."""
    digest = hashlib.sha256()
    for meter, parts in sorted(found.items()):
        for part in parts:
            name = part.path.relative_to(root)
            digest.update(f"{meter} {name} {part.path.stat().st_size}\n".encode())
    return digest.hexdigest()


def save_minutes(path: Path, channels: Mapping[str, Minutes]) -> None:
    """Keep a meter's minutes."""
    arrays: dict[str, Any] = {}
    for name, minutes in channels.items():
        arrays[f"{name}.t"], arrays[f"{name}.x"] = minutes.start_ms, minutes.values
    save_arrays(path, arrays)


def load_minutes(path: Path) -> dict[str, Minutes]:
    """Return what `save_minutes` kept."""
    arrays = load_arrays(path)
    names = sorted(name.removesuffix(".t") for name in arrays if name.endswith(".t"))
    return {name: Minutes(arrays[f"{name}.t"], arrays[f"{name}.x"]) for name in names}


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Keep arrays under their names."""
    body = io.BytesIO()
    np.savez_compressed(body, allow_pickle=False, **arrays)
    write_whole(path, body.getvalue())


def load_arrays(path: Path) -> dict[str, Any]:
    """Return what `save_arrays` kept."""
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}

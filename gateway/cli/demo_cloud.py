"""`wattwarden demo --cloud`: the demo with a Firestore on loopback, out of a checkout."""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from cloud_sync.firebase_app import disconnect
from gateway.settings import CloudSettings

VARIABLE = "FIRESTORE_EMULATOR_HOST"
PROJECT = "demo-wattwarden"
RIG = "tests.support.cloud_rig"
ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
HOST = "127.0.0.1"
NONE_YET = {"minutes": " (they are packed when a quarter of an hour is over)"}


@contextlib.contextmanager
def local_cloud(port: int) -> Iterator[CloudSettings]:
    """Give the settings of a cloud on loopback: the one that runs, or one for this demo."""
    settings = CloudSettings(enabled=True, project=PROJECT, development=True, late_wait_s=1)
    if importlib.util.find_spec("google.cloud.firestore") is None:
        msg = "--cloud: needs the extra `cloud`: pip install 'wattwarden[cloud]'"
        raise click.ClickException(msg)
    if os.environ.get(VARIABLE):  # `make cloud-rig` runs
        yield settings
        return
    if not (ROOT / "tests" / "support" / "cloud_rig.py").exists():
        msg = f"--cloud: needs a checkout, or `make cloud-rig` running and {VARIABLE} set"
        raise click.ClickException(msg)
    order = [sys.executable, "-m", RIG, "--firestore", str(port), "--only"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(order, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet) as rig:  # noqa: S603 - ours
        try:
            _wait_for(port)
            os.environ[VARIABLE] = f"{HOST}:{port}"
            yield settings
        finally:
            os.environ.pop(VARIABLE, None)
            rig.terminate()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.1)
    msg = "--cloud: the local Firestore did not start; try: make cloud-rig"
    raise click.ClickException(msg)


def in_cloud(site: str) -> Sequence[str]:
    """Return what stands in the local cloud, as lines for people."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.firestore import Client

    client = Client(project=PROJECT, credentials=AnonymousCredentials())
    lines = []
    for kind in ("latest", "alerts", "minutes", "status"):
        found = list(client.collection(f"sites/{site}/{kind}").stream(timeout=5, retry=None))
        names = ", ".join(one.id for one in found[:3]) + (", …" if len(found) > 3 else "")  # noqa: PLR2004 - a line's worth
        told = f" ({names})" if found else NONE_YET.get(kind, "")
        lines.append(f"in the cloud: {len(found)} {kind}{told}")
    disconnect(client)
    return lines

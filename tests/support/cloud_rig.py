"""All of Firebase on loopback, for people: `make cloud-rig`.

Firestore, Cloud Storage and messaging as the tests use them, and the Auth emulator of
firebase-tools where node is installed. Everything lies in memory and is gone afterwards.
"""

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Mapping
from types import FrameType

from tests.support.auth_rig import AuthRig, NoAuthEmulatorError, installed
from tests.support.fcm_stub import FcmStub
from tests.support.firestore_rig import FirestoreRig
from tests.support.storage_rig import StorageRig

PROJECT = "demo-wattwarden"
FIRESTORE_PORT = 8280
OTHER_PORTS = {"storage": 4443, "messaging": 9555, "auth": 9099}
SHOW_S = 2.0


def start(stack: contextlib.ExitStack, firestore_port: int, *, only: bool) -> Mapping[str, str]:
    """Start the servers; return the environment that points clients to them."""
    firestore = stack.enter_context(FirestoreRig(firestore_port))
    found = {"FIRESTORE_EMULATOR_HOST": firestore.host}
    _show_writes(firestore)
    if only:
        return found
    storage = stack.enter_context(StorageRig(OTHER_PORTS["storage"]))
    found["STORAGE_EMULATOR_HOST"] = storage.url
    messaging = stack.enter_context(FcmStub(OTHER_PORTS["messaging"]))
    found["FCM_EMULATOR_HOST"] = messaging.host
    try:
        auth = stack.enter_context(AuthRig(installed(), PROJECT, OTHER_PORTS["auth"]))
        found["FIREBASE_AUTH_EMULATOR_HOST"] = auth.host
    except (NoAuthEmulatorError, TimeoutError) as error:
        sys.stderr.write(f"without the Auth emulator: {error}\n")
    return found


def _show_writes(rig: FirestoreRig) -> None:
    """Print each document's path as it is written."""

    def show() -> None:
        shown = 0
        while True:
            news = rig.store.order[shown:]
            shown += len(news)
            for name in news:
                sys.stdout.write(name.partition("/documents/")[2] + "\n")
            sys.stdout.flush()
            stopped.wait(SHOW_S)

    stopped = threading.Event()
    threading.Thread(target=show, daemon=True).start()


def main() -> None:
    """Run until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firestore", type=int, default=FIRESTORE_PORT, help="its port")
    parser.add_argument("--only", action="store_true", help="Firestore and nothing else")
    arguments = parser.parse_args()
    done = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        done.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with contextlib.ExitStack() as stack:
        environment = start(stack, arguments.firestore, only=arguments.only)
        lines = [f"export {name}={value}" for name, value in environment.items()]
        hint = f"and in the settings: [cloud] enabled, development = true, project = {PROJECT}"
        sys.stderr.write("\n".join([*lines, hint, "what is written:", ""]))
        sys.stderr.flush()
        done.wait()


if __name__ == "__main__":
    main()

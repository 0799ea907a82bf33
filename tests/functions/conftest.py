"""A whole Firebase on loopback: accounts, documents and the functions, really running."""

from collections.abc import Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from tests.support.auth_rig import AuthRig, NoAuthEmulatorError, installed
from tests.support.fcm_stub import FcmStub
from tests.support.firestore_rig import FirestoreRig
from tests.support.functions_rig import FunctionsRig

PROJECT = "demo-wattwarden"


@pytest.fixture(scope="package")
def auth() -> Iterator[AuthRig]:
    """Give the Auth emulator, known to all that is started after it."""
    try:
        folder = installed()
    except NoAuthEmulatorError as error:
        pytest.skip(f"no Auth emulator: {error}")
    with AuthRig(folder, PROJECT) as rig, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIREBASE_AUTH_EMULATOR_HOST", rig.host)
        yield rig


@pytest.fixture(scope="package")
def db() -> Iterator[firestore.Client]:
    """Give a client of a Firestore that the functions use too."""
    with FirestoreRig() as rig, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", rig.host)
        client = firestore.Client(project=PROJECT, credentials=AnonymousCredentials())
        yield client
        client.close()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="package")
def fcm() -> Iterator[FcmStub]:
    """Give a stub of Firebase Cloud Messaging that the functions send to."""
    with FcmStub() as stub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FCM_EMULATOR_HOST", stub.host)
        yield stub


@pytest.fixture(scope="package")
def functions(auth: AuthRig, db: firestore.Client, fcm: FcmStub) -> Iterator[FunctionsRig]:
    """Give the functions, running."""
    with FunctionsRig(PROJECT) as rig:
        yield rig

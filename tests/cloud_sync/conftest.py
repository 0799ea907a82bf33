"""Fixtures of the cloud's tests: a Firestore to speak to, and clients of it."""

import os
import uuid
from collections.abc import Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from tests.support.firestore_rig import FirestoreRig

PROJECT = "demo-wattwarden"
# A suite that is pointed at Google's own emulator uses that instead of the rig.
OUTSIDE = os.environ.get("FIRESTORE_EMULATOR_HOST")


@pytest.fixture(scope="module")
def firestore_host() -> Iterator[str]:
    """Give host and port of a Firestore."""
    if OUTSIDE:
        yield OUTSIDE
        return
    with FirestoreRig() as rig:
        yield rig.host


@pytest.fixture(scope="module")
def db(firestore_host: str) -> Iterator[firestore.Client]:
    """Give a client."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", firestore_host)
        client = firestore.Client(project=PROJECT, credentials=AnonymousCredentials())
        yield client
        client.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def collection(db: firestore.Client) -> firestore.CollectionReference:
    """Give a collection of this test's own."""
    return db.collection(f"test_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def rig() -> Iterator[FirestoreRig]:
    """Give a rig whose faults and counts are this test's own."""
    with FirestoreRig() as running:
        yield running

"""What a cloud must do, in memory as on a Firestore; and what Firestore's failures become."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from cloud_sync.documents import Document, moment
from cloud_sync.errors import (
    CloudBusyError,
    CloudDownError,
    CredentialError,
    ForbiddenError,
    QuotaError,
    RejectedError,
)
from cloud_sync.firestore import FirestoreCloud
from cloud_sync.memory_cloud import MemoryCloud
from cloud_sync.ports import Cloud
from gateway.domain.errors import ConfigError
from tests.cloud_sync.conftest import PROJECT
from tests.support.chaos_proxy import ChaosProxy, Mode
from tests.support.firestore_rig import Fault, FirestoreRig

AT = moment(1_790_000_000_123)


def client(host: str, patch: pytest.MonkeyPatch) -> firestore.Client:
    """Return a client of a server on loopback."""
    patch.setenv("FIRESTORE_EMULATOR_HOST", host)
    return firestore.Client(project=PROJECT, credentials=AnonymousCredentials())


def document(number: int = 1, **fields: object) -> Document:
    return Document("minutes", f"sites/home/minutes/m_{number}", {"start": AT, **fields})


@pytest.fixture(params=["memory", "firestore"])
async def cloud(
    request: pytest.FixtureRequest, rig: FirestoreRig, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cloud]:
    """Give an empty cloud of each kind."""
    if request.param == "memory":
        yield MemoryCloud(server_ms=1_790_000_000_000)
        return
    made = FirestoreCloud(lambda: client(rig.host, monkeypatch))
    yield made
    await made.close()


async def held(cloud: Cloud, rig: FirestoreRig, patch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return every document of a cloud."""
    if isinstance(cloud, MemoryCloud):
        return dict(cloud.documents)
    reader = client(rig.host, patch)
    found = reader.collection_group("minutes").stream(timeout=10)
    answer: dict[str, object] = {one.reference.path: one.to_dict() for one in found}
    reader.close()  # type: ignore[no-untyped-call]
    return answer


async def test_documents_are_written_whole_and_again_changes_nothing(
    cloud: Cloud, rig: FirestoreRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [
        document(1, data=b"\x01\xff", rows=15, totals={"grid": {"p": 1.5, "q": None}}),
        document(2, history=[{"at": AT, "who": "ada"}], on=True, name="é"),
    ]
    receipt = await cloud.put(batch, 10)
    assert receipt.server_ms > 1_700_000_000_000
    await cloud.put(batch, 10)
    found = await held(cloud, rig, monkeypatch)
    assert found == {one.path: one.fields for one in batch}
    await cloud.put([document(1, rows=16)], 10)  # fields that are left out are gone
    assert (await held(cloud, rig, monkeypatch))[batch[0].path] == {"start": AT, "rows": 16}


async def test_a_document_that_is_too_large_takes_no_other_with_it(
    cloud: Cloud, rig: FirestoreRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RejectedError):
        await cloud.put([document(1), document(2, data=bytes(1_100_000))], 10)
    assert await held(cloud, rig, monkeypatch) == {}


async def test_a_closed_cloud_is_down(cloud: Cloud) -> None:
    await cloud.close()
    with pytest.raises((CloudDownError, RuntimeError)):
        await cloud.put([document()], 5)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, CloudDownError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, CloudDownError),
        (grpc.StatusCode.INTERNAL, CloudDownError),
        (grpc.StatusCode.ABORTED, CloudBusyError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, QuotaError),
        (grpc.StatusCode.PERMISSION_DENIED, ForbiddenError),
        (grpc.StatusCode.NOT_FOUND, ForbiddenError),  # the project has no database
        (grpc.StatusCode.FAILED_PRECONDITION, ForbiddenError),  # it is in Datastore mode
        (grpc.StatusCode.UNAUTHENTICATED, CredentialError),
        (grpc.StatusCode.INVALID_ARGUMENT, RejectedError),
    ],
)
async def test_every_status_becomes_an_error_that_says_who_must_act(
    code: grpc.StatusCode, error: type[Exception], rig: FirestoreRig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cloud = FirestoreCloud(lambda: client(rig.host, monkeypatch))
    rig.faults.add(Fault("Commit", code))
    with pytest.raises(error):
        await cloud.put([document()], 5)
    await cloud.put([document()], 5)  # no retry of the library's own, and the next one works
    assert rig.calls["Commit"] == 2
    await cloud.close()


async def test_a_line_that_is_cut_is_known_within_the_time_limit(
    rig: FirestoreRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChaosProxy(rig.port) as proxy:
        cloud = FirestoreCloud(lambda: client(f"127.0.0.1:{proxy.port}", monkeypatch))
        await cloud.put([document(1)], 5)
        proxy.mode = Mode.BLACKHOLE
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with pytest.raises(CloudDownError) as raised:
            await cloud.put([document(2)], 0.7)
        assert raised.value.maybe_written
        assert loop.time() - began_s < 5
        proxy.mode = Mode.PASS
        await cloud.put([document(2)], 10)  # on a new connection, at once
        await cloud.close()


async def test_nobody_logged_in_is_said_and_stops_nothing() -> None:
    def connect() -> firestore.Client:
        msg = "run: wattwarden cloud login"
        raise ConfigError(msg)

    cloud = FirestoreCloud(connect)
    with pytest.raises(CredentialError, match="wattwarden cloud login"):
        await cloud.put([document()], 5)
    await cloud.close()

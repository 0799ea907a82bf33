"""An identity speaks to Firestore over TLS: what a token that cannot be renewed becomes."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.api_core import grpc_helpers
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError
from google.cloud import firestore
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

from cloud_sync.command_box import FirestoreCommandBox
from cloud_sync.documents import Document
from cloud_sync.errors import CloudDownError, CredentialError
from cloud_sync.firestore import FirestoreCloud
from cloud_sync.identity import identity_credentials
from gateway.domain.errors import GatewayError
from tests.cloud_sync.conftest import PROJECT
from tests.cloud_sync.test_identity import IDENTITY
from tests.support.certificates import Authority
from tests.support.firestore_rig import FirestoreRig
from tests.support.token_stub import BAD_DAY, GRANTED, PORTAL, REVOKED, Answer, TokenStub

Connect = Callable[[Credentials], firestore.Client]
DOCUMENTS = [Document("minutes", "sites/home/minutes/m_1", {"rows": 1})]


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenStub]:
    with TokenStub() as stub:
        stub.serve(monkeypatch)
        yield stub


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[FirestoreRig, Connect]]:
    """Give a Firestore that wants TLS, and how to connect as Google's library does."""
    authority = Authority(tmp_path / "ca")
    roots = authority.ca_file.read_bytes()
    with FirestoreRig(tls=authority.server("localhost")) as rig:

        def connect(credentials: Credentials) -> firestore.Client:
            made = firestore.Client(project=PROJECT, credentials=credentials)
            channel = grpc_helpers.create_channel(
                f"localhost:{rig.port}",
                credentials=credentials,
                ssl_credentials=grpc.ssl_channel_credentials(roots),
            )
            transport = FirestoreGrpcTransport(channel=channel)
            made._firestore_api_internal = FirestoreClient(transport=transport)  # noqa: SLF001
            return made

        yield rig, connect


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (REVOKED, CredentialError, "run: wattwarden cloud login"),
        (BAD_DAY, CloudDownError, "503"),
        (PORTAL, CloudDownError, "tokens"),
    ],
)
async def test_who_must_act_is_told_and_nothing_counts_as_written(
    answer: Answer, error: type[GatewayError], said: str, tokens: TokenStub,
    secure: tuple[FirestoreRig, Connect],
) -> None:  # fmt: skip
    rig, connect = secure
    credentials = identity_credentials(IDENTITY)
    cloud = FirestoreCloud(lambda: connect(credentials))
    box = FirestoreCommandBox(lambda: connect(credentials), "home")
    tokens.answer = answer
    for asked in (cloud.put(DOCUMENTS, 10), box.pending(1)):
        with pytest.raises(error, match=said) as raised:
            await asked
        assert not getattr(raised.value, "maybe_written", False)
    assert rig.calls == {}
    tokens.answer = GRANTED
    assert (await cloud.put(DOCUMENTS, 10)).server_ms
    assert await box.pending(1) == []
    assert rig.calls == {"Commit": 1, "RunQuery": 1}
    await asyncio.gather(cloud.close(), box.close())


async def test_a_token_service_that_hangs_is_down_and_nothing_was_written(
    tokens: TokenStub, secure: tuple[FirestoreRig, Connect], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_sync.firebase_app.RENEW_S", 0.5)
    _, connect = secure
    credentials = identity_credentials(IDENTITY)
    cloud = FirestoreCloud(lambda: connect(credentials))
    tokens.answer = GRANTED._replace(delay_s=60.0)
    with pytest.raises(CloudDownError) as raised:
        await cloud.put(DOCUMENTS, 10)
    assert not raised.value.maybe_written
    await cloud.close()


async def test_many_writes_renew_the_token_once(
    tokens: TokenStub, secure: tuple[FirestoreRig, Connect]
) -> None:
    _, connect = secure
    credentials = identity_credentials(IDENTITY)
    cloud = FirestoreCloud(lambda: connect(credentials))
    await asyncio.gather(*(cloud.put(DOCUMENTS, 10) for _ in range(6)))
    assert tokens.asked == 1
    await cloud.close()


class Passing(Credentials):
    """A service account's, on a bad day of Google's tokens."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # published untyped

    def refresh(self, request: object) -> None:  # noqa: ARG002 - google.auth's shape
        """Fail in a way that passes."""
        msg = "internal_failure"
        raise RefreshError(msg, retryable=True)


class Ending(Passing):
    """A token that looks good, and is not to be had when the call wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "looks-good"

    def before_request(self, *_: object) -> None:
        """Fail, within gRPC."""
        msg = "gone"
        raise RefreshError(msg)


@pytest.mark.parametrize(
    ("credentials", "said"), [(Passing(), "internal_failure"), (Ending(), "plugin")]
)
async def test_what_passes_or_fails_within_a_call_was_never_sent(
    credentials: Credentials, said: str, secure: tuple[FirestoreRig, Connect]
) -> None:
    rig, connect = secure
    cloud = FirestoreCloud(lambda: connect(credentials))
    with pytest.raises(CloudDownError, match=said) as raised:
        await cloud.put(DOCUMENTS, 10)
    assert not raised.value.maybe_written
    assert rig.calls == {}
    await cloud.close()

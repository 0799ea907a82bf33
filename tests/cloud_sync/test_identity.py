"""An identity's token: who must act when it cannot be renewed."""

from collections.abc import Iterator

import pytest
from google.auth.exceptions import RefreshError, TransportError
from google.auth.transport.requests import Request

from cloud_sync.identity import Identity, identity_credentials
from tests.support.token_stub import BAD_DAY, GRANTED, PORTAL, REVOKED, Answer, TokenStub, refusal

IDENTITY = Identity("demo", "home", "gateway-home", "key", "refresh-token")


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenStub]:
    with TokenStub() as stub:
        stub.serve(monkeypatch)
        yield stub


@pytest.mark.parametrize(
    "answer", [REVOKED, refusal(403, "PERMISSION_DENIED"), refusal(401, "UNAUTHENTICATED")]
)
def test_a_refusal_wants_a_login(answer: Answer, tokens: TokenStub) -> None:
    tokens.answer = answer
    with pytest.raises(RefreshError, match="run: wattwarden cloud login"):
        identity_credentials(IDENTITY).refresh(Request())


@pytest.mark.parametrize(
    "answer",
    [
        BAD_DAY,
        PORTAL,
        refusal(429, "RESOURCE_EXHAUSTED"),
        refusal(500, "INTERNAL"),
        Answer(403, "<html>Blocked by your provider</html>"),
        Answer(200, "{}"),
        Answer(200, "[]"),
        Answer(200, '{"id_token": "t", "expires_in": null}'),
    ],
)
def test_anything_else_passes_and_nobody_must_act(answer: Answer, tokens: TokenStub) -> None:
    tokens.answer = answer
    credentials = identity_credentials(IDENTITY)
    with pytest.raises(TransportError):
        credentials.refresh(Request())
    assert not credentials.valid
    tokens.answer = GRANTED
    credentials.refresh(Request())
    assert credentials.valid

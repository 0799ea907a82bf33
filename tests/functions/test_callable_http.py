"""Calls whose token cannot be checked: the caller is not at fault, and tries again."""

import uuid
from collections.abc import Callable, Iterator

import callable_http
import firebase_admin
import pushes
import pytest
from flask import Flask, Request, Response

from tests.functions.conftest import PROJECT
from tests.support.auth_rig import AuthRig
from tests.support.ports import free_port


@pytest.fixture
def token(auth: AuthRig, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give a token of an app in this process, which no longer reaches any accounts."""
    given = auth.sign_up(f"lost-{uuid.uuid4().hex}@example.org")["idToken"]
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    app = firebase_admin.initialize_app(options={"projectId": PROJECT})
    yield given
    firebase_admin.delete_app(app)


def commanded(request: Request) -> Response:
    return callable_http.answer(request, lambda *_: {})


@pytest.mark.parametrize("function", [commanded, pushes.forward])
def test_accounts_that_cannot_be_asked_are_unavailable(
    function: Callable[[Request], Response], token: str
) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    context = Flask("test").test_request_context(method="POST", json={}, headers=headers)
    with context:
        answer = function(context.request)
    assert answer.status_code == 503
    assert answer.get_json()["error"]["status"] == "UNAVAILABLE"

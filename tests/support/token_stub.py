"""Google's token service as an identity asks it: gives ID tokens, refuses, or has a bad day."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

import pytest


class Answer(NamedTuple):
    """What it answers, after a while."""

    status: int
    body: str
    delay_s: float = 0.0


def refusal(status: int, message: str) -> Answer:
    """Return an error in Google's form."""
    return Answer(status, json.dumps({"error": {"code": status, "message": message}}))


GRANTED = Answer(200, json.dumps({"id_token": "an-id-token", "expires_in": "3600"}))
REVOKED = refusal(400, "TOKEN_EXPIRED")
BAD_DAY = refusal(503, "The service is currently unavailable.")
PORTAL = Answer(200, "<html>Welcome to our hotel</html>")


class TokenStub:
    """A server on a loopback port; `answer` is what it says to everybody, `asked` how often."""

    def __init__(self, answer: Answer = GRANTED) -> None:
        self.answer = answer
        self.asked = 0
        self.ended = threading.Event()
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def serve(self, patch: pytest.MonkeyPatch) -> None:
        """Have identities renew their tokens here."""
        patch.setenv("FIREBASE_AUTH_EMULATOR_HOST", f"127.0.0.1:{self._server.server_port}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    """One request; the class is made anew for each stub."""

    stub: TokenStub

    def do_POST(self) -> None:
        """Answer as the test says."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.stub.asked += 1
        answer = self.stub.answer
        if self.stub.ended.wait(answer.delay_s):
            return
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

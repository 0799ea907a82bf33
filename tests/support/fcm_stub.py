"""Firebase Cloud Messaging, HTTP v1: takes messages, and fails as Google does when it is told to.

It answers `POST /v1/projects/P/messages:send` and, for service accounts, `POST /token`. Errors have
the form of firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode.
"""

import json
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """An answer other than "accepted"; `code` is FCM's own name of the error.

    With `page` it is this text instead of JSON, as a server in between answers.
    """

    status: int
    code: str = ""
    retry_after: str = ""
    text: str = "the stub was told to"
    delay_s: float = 0.0
    page: str = ""


UNREGISTERED = Fault(404, "UNREGISTERED", text="Requested entity was not found.")
QUOTA = Fault(429, "QUOTA_EXCEEDED", retry_after="2", text="Quota exceeded.")
UNAVAILABLE = Fault(503, "UNAVAILABLE", retry_after="2", text="Try later.")
BAD_TOKEN = Fault(
    400, "INVALID_ARGUMENT",
    text="The registration token is not a valid FCM registration token",
)  # fmt: skip
SENDER = Fault(403, "SENDER_ID_MISMATCH", text="SenderId mismatch")


@dataclass(frozen=True)
class Taken:
    """One accepted message, and when (monotonic s)."""

    token: str
    message: dict[str, Any]
    at_s: float

    @property
    def tag(self) -> str:
        """Return under which tag a phone shows it."""
        return str(self.message["android"]["notification"]["tag"])


@dataclass
class FcmStub:
    """A server on a loopback port.

    `faults[token]` are its next answers, `everybody` those to all; the last one for ever where
    `forever` holds the token. While `revoked` no access token passes.
    """

    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    asked_at: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    everybody: list[Fault] = field(default_factory=list)
    tokens_given: int = 0
    token_fault: int = 0  # an HTTP status: the account's key is refused
    revoked: bool = False
    known_access: set[str] = field(default_factory=set)
    forever: set[str] = field(default_factory=set)
    answer_delay_s: float = 0.0  # accepted, but the answer takes its time

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    @property
    def host(self) -> str:
        """Return what FCM_EMULATOR_HOST must be."""
        return f"127.0.0.1:{self.port}"

    def visible(self, token: str) -> dict[str, dict[str, Any]]:
        """Return what a phone shows: the newest message of every tag."""
        return {taken.tag: taken.message for taken in self.taken if taken.token == token}

    def wait(self, count: int, *, within_s: float = 60.0) -> None:
        """Block until so many messages were accepted."""
        deadline_s = time.monotonic() + within_s
        while len(self.taken) < count:
            if time.monotonic() > deadline_s:
                msg = f"{len(self.taken)} of {count} pushes within {within_s} s"
                raise TimeoutError(msg)
            time.sleep(0.01)

    def give_access(self) -> str:
        """Return a new access token; tokens given before a revocation stay refused."""
        self.tokens_given += 1
        token = f"ya29.stub-{self.tokens_given}"
        self.known_access.add(token)
        return token

    def judge(self, token: str, access: str) -> Fault | None:
        """Return how a message to a token fails, None when it is accepted."""
        self.asked[token] += 1
        self.asked_at[token].append(time.monotonic())
        if self.revoked or (access not in self.known_access and access != "owner"):
            return Fault(401, text="Request had invalid authentication credentials.")
        for queue in (self.everybody, self.faults.get(token, [])):
            if queue:
                return queue.pop(0) if len(queue) > 1 or token not in self.forever else queue[0]
        return None


class _Handler(BaseHTTPRequestHandler):
    """One request; the class is made anew for each stub."""

    stub: FcmStub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer as Google would."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/token":
            self._grant()
            return
        message = json.loads(body)["message"]
        access = self.headers.get("Authorization", "").removeprefix("Bearer ")
        fault = self.stub.judge(message["token"], access)
        if fault is not None:
            time.sleep(fault.delay_s)
            self._fail(fault)
            return
        self.stub.taken.append(Taken(message["token"], message, time.monotonic()))
        time.sleep(self.stub.answer_delay_s)
        project = self.path.split("/")[3]
        self._answer(200, {"name": f"projects/{project}/messages/{len(self.stub.taken)}"})

    def _grant(self) -> None:
        if self.stub.token_fault:
            error = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            self._answer(self.stub.token_fault, error)
            return
        grant = {"access_token": self.stub.give_access(), "expires_in": 3600}
        self._answer(200, {**grant, "token_type": "Bearer"})

    def _fail(self, fault: Fault) -> None:
        error: dict[str, Any] = {
            "code": fault.status, "message": fault.text, "status": STATUS[fault.status],
        }  # fmt: skip
        if fault.code:
            error["details"] = [{"@type": FCM_ERROR, "errorCode": fault.code}]
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        if fault.page:
            self._write(fault.status, fault.page.encode(), "text/html", headers)
        else:
            self._answer(fault.status, {"error": error}, headers)

    def _answer(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        self._write(status, json.dumps(body).encode(), "application/json", headers or {})

    def _write(self, status: int, data: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: tests read what was taken."""


def main() -> None:
    """Run for people: `python -m tests.support.fcm_stub PORT` prints what it takes."""
    with FcmStub(int(sys.argv[1]) if len(sys.argv) > 1 else 9555) as stub:
        sys.stderr.write(f"FCM stub: FCM_EMULATOR_HOST={stub.host}\n")
        shown = 0
        while True:
            time.sleep(0.2)
            for taken in stub.taken[shown:]:
                sys.stdout.write(json.dumps(taken.message) + "\n")
            sys.stdout.flush()
            shown = len(stub.taken)


if __name__ == "__main__":
    main()

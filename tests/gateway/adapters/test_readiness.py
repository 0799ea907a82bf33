"""Is the gateway on this machine ready, asked over its own web server."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gateway.adapters.readiness import readyz
from gateway.settings import WebSettings
from tests.support.ports import free_port

PROBLEM = b'{"title":"not ready","detail":"the broker is away"}'


class Answering(BaseHTTPRequestHandler):
    """Says 200, or 503 with a problem where the server is told so."""

    def do_GET(self) -> None:
        status = 200 if self.server.is_ready else 503  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"{}" if status == 200 else PROBLEM)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int) -> Iterator[HTTPServer]:
    """Give a server that does not listen yet."""
    made = HTTPServer(("127.0.0.1", port), Answering, bind_and_activate=False)
    made.is_ready = True  # type: ignore[attr-defined]
    yield made
    made.shutdown()
    made.server_close()


def listen(server: HTTPServer) -> None:
    server.server_bind()
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()


def test_a_web_server_that_comes_last_is_waited_for(port: int, server: HTTPServer) -> None:
    timer = threading.Timer(0.6, listen, [server])
    timer.start()
    assert readyz(WebSettings(port=port), start_s=60) == (True, "")
    timer.join()


def test_what_does_not_listen_is_told(port: int) -> None:
    began_s = time.monotonic()
    is_ready, why = readyz(WebSettings(port=port))
    assert not is_ready
    assert why.startswith(f"web.port {port} does not answer")
    assert time.monotonic() - began_s < 5


def test_what_says_why_it_is_not_ready_is_believed_at_once(port: int, server: HTTPServer) -> None:
    server.is_ready = False  # type: ignore[attr-defined]
    listen(server)
    began_s = time.monotonic()
    assert readyz(WebSettings(port=port), start_s=60) == (False, "the broker is away")
    assert time.monotonic() - began_s < 30

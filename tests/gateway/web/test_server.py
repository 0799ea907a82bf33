"""The server on a real loopback port: start, stop, limits."""

import asyncio
import signal
import socket
import ssl
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from gateway.domain.errors import ConfigError, TransientError
from gateway.web import bodies, server
from gateway.web.server import WebServer
from tests.gateway.web.rig import PASSWORD, Rig, assert_problem


@asynccontextmanager
async def serving(
    rig: Rig, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebServer]:
    """Run a server on a free port and stop it as the daemon does."""
    web = WebServer(rig.app, host, 0, tls)
    web.bind()
    task = asyncio.create_task(web.run())
    try:
        yield web
    finally:
        async with asyncio.timeout(3):
            await web.stop()
        assert not task.done()  # services run until cancelled
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_session_over_real_http(rig: Rig) -> None:
    async with serving(rig) as web, httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{web.port}"
    ) as client:  # fmt: skip
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert_problem(await client.get("/api/v1/status"), 401)
        body = {"username": "ada", "password": PASSWORD}
        answer = await client.post("/api/v1/auth/login", json=body)
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert (await client.get("/api/v1/status")).json()["version"] == "1.0"
        assert (await client.get("/metrics")).status_code == 200
        large = {"content-type": "application/json"}
        assert_problem(
            await client.post("/api/v1/auth/login", content=b"x" * 100_000, headers=large), 413
        )


async def test_stopping_frees_the_port_and_leaves_signals_alone(rig: Rig) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with serving(rig) as web:
        assert signal.getsignal(signal.SIGTERM) is before
        port = web.port
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_stopping_before_it_ran_frees_the_port_too(rig: Rig) -> None:
    async with serving(rig) as web:
        port = web.port
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_a_cancelled_server_ends_and_can_run_again(rig: Rig) -> None:
    web = WebServer(rig.app, "127.0.0.1", 0)
    for _ in range(2):
        port = web.bind()
        task = asyncio.create_task(web.run())
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1)


async def test_a_taken_port_is_retried_and_a_bad_host_is_not(rig: Rig) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(TransientError, match=r"web\.port"),
    ):
        WebServer(rig.app, "127.0.0.1", taken.getsockname()[1]).bind()
    with pytest.raises(ConfigError, match=r"web\.host"):
        WebServer(rig.app, "not a host", 0).bind()
    with pytest.raises(TransientError, match="192"):
        WebServer(rig.app, "192.0.2.1", 0).bind()  # TEST-NET-1: an address that may still come


async def raw(port: int, sent: bytes) -> bytes:
    """Send bytes, then return what comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_slow_callers_are_dropped(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LONGEST_HEADER_S", 0.2)
    monkeypatch.setattr(bodies, "LONGEST_READ_S", 0.2)
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    async with serving(rig) as web:
        assert await raw(web.port, b"") == b""
        assert await raw(web.port, b"GET /healthz HT") == b""
        answer = await raw(web.port, head + b"\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


async def test_a_kept_connection_is_not_cut_by_the_header_deadline(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LONGEST_HEADER_S", 0.2)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(rig) as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        for _ in range(3):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(15) == b'{"status":"ok"}'
            await asyncio.sleep(0.3)
        writer.close()


async def test_answers_do_not_wait_for_the_client_s_acknowledgement(rig: Rig) -> None:
    took_s = []
    async with serving(rig) as web, httpx.AsyncClient() as client:
        for _ in range(15):
            began_s = time.perf_counter()
            await client.get(f"http://127.0.0.1:{web.port}/healthz")
            took_s.append(time.perf_counter() - began_s)
    assert statistics.median(took_s) < 0.03  # Linux delays acknowledgements by 40 ms


async def test_headers_are_bounded_and_garbage_is_refused(rig: Rig) -> None:
    async with serving(rig) as web:
        long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000
        assert (await raw(web.port, long)).startswith(b"HTTP/1.1 400 ")
        assert (await raw(web.port, b"\x16\x03\x01\x02\x00\r\n\r\n")).startswith(b"HTTP/1.1 400 ")

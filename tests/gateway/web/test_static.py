"""The app's files: kept by hash, compressed, and never in the way of the API."""

import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from gateway.web.static import AppFiles, load_files

SCRIPT = "console.log('x');" * 100
HTML = {"Accept": "text/html,*/*"}


@pytest.fixture
def app(tmp_path: Path) -> AppFiles:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>app</title>")
    (tmp_path / "assets" / "app-1a2b.js").write_text(SCRIPT)
    (tmp_path / "manifest.webmanifest").write_text("{}")
    (tmp_path / ".built").write_text("")
    return AppFiles(_beyond, load_files(tmp_path), also=("https://push.example",))


async def _beyond(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("the API", 418)(scope, receive, send)


async def _get(app: Any, path: str, method: str = "GET", **headers: str) -> httpx.Response:  # noqa: ANN401 - any ASGI app
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://home") as client:
        return await client.request(method, path, headers=headers)


async def test_hashed_files_are_kept_for_ever_and_compressed(app: AppFiles) -> None:
    answer = await _get(app, "/assets/app-1a2b.js", **{"Accept-Encoding": "gzip"})
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < len(SCRIPT) / 4
    assert answer.text == SCRIPT
    assert answer.headers["content-type"].startswith("text/javascript")
    plain = await _get(app, "/assets/app-1a2b.js", **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.compress(plain.content)


async def test_the_page_is_asked_about_each_time(app: AppFiles) -> None:
    answer = await _get(app, "/", **HTML)
    assert answer.headers["cache-control"] == "no-cache"
    again = await _get(app, "/", **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = await _get(app, "/", "HEAD")
    assert head.content == b""
    assert head.headers["date"].endswith("GMT")


async def test_pages_call_the_gateway_and_what_it_names(app: AppFiles) -> None:
    policy = (await _get(app, "/", **HTML)).headers["content-security-policy"]
    assert "connect-src 'self' https://push.example;" in policy
    alone = await _get(AppFiles(_beyond, load_files(None)), "/", **HTML)
    assert "connect-src 'self';" in alone.headers["content-security-policy"]


async def test_a_pages_own_address_gives_the_page(app: AppFiles) -> None:
    assert "<title>app" in (await _get(app, "/alerts/a1", **HTML)).text
    manifest = await _get(app, "/manifest.webmanifest")
    assert manifest.headers["content-type"] == "application/manifest+json"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nothing",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/trust/ca.crt",
        "/assets/gone.js",
    ],
)
async def test_what_the_gateway_answers_is_left_to_it(app: AppFiles, path: str) -> None:
    assert (await _get(app, path, **HTML)).status_code == 418


async def test_programs_and_changes_pass_on(app: AppFiles) -> None:
    assert (await _get(app, "/alerts", Accept="application/json")).status_code == 418
    assert (await _get(app, "/", "POST")).status_code == 418
    assert (await _get(app, "/.built", **HTML)).status_code == 418


async def test_without_a_build_the_page_says_how(tmp_path: Path) -> None:
    answer = await _get(AppFiles(_beyond, load_files(None)), "/", **HTML)
    assert answer.status_code == 503
    assert "make dashboard" in answer.text
    assert "unsafe" not in answer.headers["content-security-policy"]

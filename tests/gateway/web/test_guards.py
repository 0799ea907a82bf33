"""Default-deny, roles, cross-site requests, host names, bodies: what guards every route."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.domain.errors import ConfigError, MeterAwayError, StorageError
from gateway.web.app import LOGINS
from gateway.web.gate import OPEN_PATHS
from tests.gateway.web.rig import Rig, assert_problem

API = "/api/v1"
ACKNOWLEDGE = f"{API}/alerts/a1/acknowledge"
CHANGES = [
    ("POST", ACKNOWLEDGE, None),
    ("POST", f"{API}/alerts/a1/resolve", None),
    ("POST", f"{API}/alerts/a1/snooze", {"minutes": 5}),
    ("POST", f"{API}/alerts/a1/verdict", {"right": True, "note": "kettle"}),
    ("PATCH", f"{API}/meters/kitchen", {"label": "Küche"}),
]


def every_operation(rig: Rig) -> Iterator[tuple[str, str]]:
    """Give method and path of all that the app's routes answer."""
    for path, operations in rig.app.openapi()["paths"].items():
        for method in operations:
            yield method.upper(), path.replace("{id}", "kitchen").replace("{name}", "otto")


async def test_nothing_answers_without_a_login(rig: Rig) -> None:
    seen = set()
    async with rig.client(address="192.168.1.7") as client:
        for method, path in every_operation(rig):
            answer = await client.request(method, path)
            seen.add(path)
            if path not in OPEN_PATHS:
                assert_problem(answer, 401)
        for path in (f"{API}/nothing", "/", "/docs", "/metrics", f"{API}/auth/login/", "//healthz"):
            assert_problem(await client.get(path), 401)
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
    assert {ACKNOWLEDGE.replace("a1", "kitchen"), f"{API}/status", "/metrics"} <= seen


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_viewer_changes_nothing_an_operator_does(
    rig: Rig, method: str, path: str, body: dict[str, object] | None
) -> None:
    async with rig.login("vera") as viewer:
        assert_problem(await viewer.request(method, path, json=body), 403)
        assert rig.operations.calls == []
    async with rig.login("otto") as operator:
        answer = await operator.request(method, path, json=body)
    assert answer.status_code == 200
    ((_, _, who),) = rig.operations.calls
    assert who == "otto"


async def test_every_change_in_the_api_is_refused_to_viewers(rig: Rig) -> None:
    async with rig.login("vera") as viewer:
        for method, path in every_operation(rig):
            own = path.startswith((f"{API}/auth/", f"{API}/setup", f"{API}/devices"))
            if method != "GET" and not own:
                assert_problem(await viewer.request(method, path, json={}), 403)
    assert rig.operations.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_changes_from_other_sites_are_refused(rig: Rig, headers: dict[str, str]) -> None:
    async with rig.login() as client:
        assert_problem(await client.post(ACKNOWLEDGE, headers=headers), 403)
        login = {"username": "ada", "password": "x"}
        refused = await client.post(f"{API}/auth/login", json=login, headers=headers)
        assert_problem(refused, 403)
    assert rig.operations.calls == []


async def test_changes_from_our_own_pages_pass(rig: Rig) -> None:
    headers = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    async with rig.login() as client:
        assert (await client.post(ACKNOWLEDGE, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("192.168.1.20", True),
        ("localhost:8080", True),
        ("wattwarden.local", True),
        ("WattWarden.LOCAL.", True),
        ("gateway.example", True),
        ("pi.home.arpa", True),
        ("evil.example", False),
        ("evil.example:8080", False),
        ("local", False),
        ("127.0.0.1.evil.example", False),
        ("gateway.example.evil.example", False),
        ("localhost:x", False),
        ("", False),
    ],
)
async def test_only_known_host_names_are_served(rig: Rig, host: str, *, known: bool) -> None:
    async with rig.client() as client:
        answer = await client.get("/healthz", headers={"Host": host})
    if known:
        assert answer.status_code == 200
    else:
        assert_problem(answer, 421)


async def test_bodies_are_bounded_and_json(rig: Rig) -> None:
    url = f"{API}/auth/login"
    kind = {"content-type": "application/json"}

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 4096

    async with rig.client() as client:
        assert_problem(await client.post(url, content=b"x" * 65_537, headers=kind), 413)
        assert_problem(await client.post(url, content=endless(), headers=kind), 413)
        text = {"content-type": "text/plain"}
        assert_problem(await client.post(url, content=b"{}", headers=text), 415)
        form = {"username": "ada", "password": "x"}
        assert_problem(await client.post(url, data=form), 415)
        for body, status in (
            (b"{", 400),
            (b"[" * 60_000, 400),
            (b"\xff\xfe", 400),
            (b"[]", 422),
            (b'{"username":1}', 422),
            (b'{"username":"a","password":"b","more":1}', 422),
            (b"", 422),
        ):
            assert_problem(await client.post(url, content=body, headers=kind), status)


async def test_a_refused_body_is_not_repeated(rig: Rig) -> None:
    async with rig.client() as client:
        body = {"username": "ada", "password": ["secret-word"]}
        answer = await client.post(f"{API}/auth/login", json=body)
    assert_problem(answer, 422)
    assert "secret-word" not in answer.text
    assert answer.json()["errors"][0]["at"] == "body.password"


async def test_every_error_is_a_problem(rig: Rig) -> None:
    async with rig.login() as client:
        assert_problem(await client.get(f"{API}/nothing"), 404)
        assert_problem(await client.get(f"{API}/alerts/none"), 404)
        assert_problem(await client.get(f"{API}/meters/none"), 404)
        assert_problem(await client.get(f"{API}/meters/No"), 422)
        assert_problem(await client.post(f"{API}/alerts/none/resolve"), 404)
        wrong_method = await client.put(f"{API}/status")
        assert_problem(wrong_method, 405)
        assert wrong_method.headers["allow"] == "GET, HEAD, OPTIONS"
        for error, status in (
            (StorageError("/secret/path: disk I/O error"), 503),
            (MeterAwayError("meter kitchen is offline"), 409),
            (ConfigError("x"), 500),
            (RuntimeError("secret detail"), 500),
        ):
            rig.operations.error = error
            answer = await client.post(ACKNOWLEDGE)
            assert_problem(answer, status)
            assert "secret" not in answer.text


async def test_a_session_store_that_fails_is_a_problem(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: bytes) -> None:
        msg = "disk I/O error"
        raise StorageError(msg)

    async with rig.login() as client:
        monkeypatch.setattr(rig.store, "find_session", fail)
        assert_problem(await client.get(f"{API}/status"), 503)


async def test_security_headers_stand_everywhere(rig: Rig) -> None:
    async with rig.client() as client:
        for path in ("/healthz", "/openapi.json", f"{API}/status", "/nothing"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "1.2.3.4"}, 401),
        ("192.168.1.7", {}, 401),
        ("192.168.1.7", {"X-Forwarded-For": "127.0.0.1"}, 401),
    ],
)
async def test_metrics_are_open_on_this_machine_only(
    rig: Rig, address: str, headers: dict[str, str], status: int
) -> None:
    async with rig.client(address=address) as client:
        answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == status
    async with rig.login("vera", address=address) as client:
        assert "wattwarden_readings_total 3.0" in (await client.get("/metrics")).text


def test_openapi_documents_every_error_as_a_problem(rig: Rig) -> None:
    schema = rig.app.openapi()
    assert "Problem" in schema["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(schema)
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            statuses = operation["responses"]
            assert {"500", "503", "421"} <= statuses.keys()
            open_call = path in OPEN_PATHS and operation["operationId"] not in ("login", "set_up")
            assert ("401" in statuses) != open_call
            for status, response in statuses.items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]
            assert operation["security"] == ([] if path in OPEN_PATHS else LOGINS)

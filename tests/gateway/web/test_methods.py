"""HEAD, OPTIONS, 405 and what goes over TLS alone."""

import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from gateway.domain.errors import ConfigError
from gateway.settings import Settings, WebSettings, web_tls_context
from tests.gateway.web.rig import Rig, assert_problem
from tests.gateway.web.test_server import serving

API = "/api/v1"


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", f"{API}/status", f"{API}/audit"])
async def test_head_is_get_without_the_body(rig: Rig, path: str) -> None:
    async with rig.login() as client:
        plain = {"Accept-Encoding": "identity"}
        whole, head = await client.get(path, headers=plain), await client.head(path, headers=plain)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["content-type"] == whole.headers["content-type"]


async def test_head_over_a_real_connection_leaves_it_usable(rig: Rig) -> None:
    async with serving(rig) as web, httpx.AsyncClient() as client:
        for _ in range(2):
            answer = await client.head(f"http://127.0.0.1:{web.port}/openapi.json")
            assert (answer.status_code, answer.content) == (200, b"")
            assert (await client.get(f"http://127.0.0.1:{web.port}/healthz")).is_success


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/healthz", "GET, HEAD, OPTIONS"),
        (f"{API}/meters/kitchen", "GET, HEAD, OPTIONS, PATCH"),
        (f"{API}/users", "GET, HEAD, OPTIONS, POST"),
        (f"{API}/stream", "GET, OPTIONS"),
        (f"{API}/alerts/a1/resolve", "OPTIONS, POST"),
    ],
)
async def test_options_and_refusals_tell_what_is_allowed(rig: Rig, path: str, allow: str) -> None:
    async with rig.login() as client:
        answer = await client.options(path)
        assert (answer.status_code, answer.headers["allow"]) == (204, allow)
        for method in ("PUT", "TRACE", "BREW"):
            refused = await client.request(method, path)
            assert_problem(refused, 405)
            assert refused.headers["allow"] == allow
        table = {"Content-Type": "multipart/form-data; boundary=x"}
        assert_problem(await client.request("TRACE", path, content=b"--x", headers=table), 405)
        tables = f"{API}/imports"
        assert_problem(await client.request("DELETE", tables, content=b"--x", headers=table), 405)
        if "GET" not in allow:
            assert_problem(await client.get(path), 405)
        for method in ("OPTIONS", "PUT", "HEAD"):
            unknown = await client.request(method, f"{path}/no/thing")
            assert unknown.status_code == 404


async def test_options_and_head_need_a_login_too(rig: Rig) -> None:
    async with rig.client() as client:
        for path in (f"{API}/status", f"{API}/nothing"):
            assert_problem(await client.options(path), 401)
            assert (await client.head(path)).status_code == 401


async def test_hsts_is_told_over_tls_alone(rig: Rig) -> None:
    async with rig.client() as client:
        assert "strict-transport-security" not in (await client.get("/healthz")).headers
    async with rig.client(scheme="https") as client:
        for path in ("/healthz", "/nothing"):
            headers = (await client.get(path)).headers
            assert headers["strict-transport-security"] == "max-age=31536000"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "web.crt", folder / "web.key"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *kind, *names, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    key.chmod(0o600)
    return cert, key


async def test_a_certificate_makes_it_https(rig: Rig, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    tls = web_tls_context(WebSettings(cert_file=cert, key_file=key))
    trusted = ssl.create_default_context(cafile=str(cert))
    async with serving(rig, tls=tls) as web, httpx.AsyncClient(verify=trusted) as client:
        answer = await client.get(f"https://localhost:{web.port}/healthz")
        assert answer.status_code == 200
        assert "strict-transport-security" in answer.headers
        with pytest.raises(httpx.HTTPError):
            await client.get(f"http://localhost:{web.port}/healthz")


def test_certificates_that_cannot_work_are_named(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    assert web_tls_context(WebSettings()) is None
    with pytest.raises(ValueError, match="belong together"):
        Settings.model_validate({"web": {"cert_file": str(cert)}})
    with pytest.raises(ConfigError, match=r"web\.key_file"):
        web_tls_context(WebSettings(cert_file=cert, key_file=tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"web\.cert_file"):
        web_tls_context(WebSettings(cert_file=key, key_file=key))
    open_key = tmp_path / "open.key"
    open_key.write_bytes(key.read_bytes())
    open_key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        web_tls_context(WebSettings(cert_file=cert, key_file=open_key))

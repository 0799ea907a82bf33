"""The app over HTTPS with a certificate of the site's own: it can be installed and opens alone."""

import json
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from gateway.web.static import app_directory
from tests.support.api import add_user
from tests.support.browser import log_in, violations
from tests.support.certificates import Authority
from tests.support.daemon import Daemon
from tests.support.mosquitto import Mosquitto
from tests.support.solar_home import LiveHome

PATIENCE_MS = 30_000
START_S = 60.0


@pytest.fixture
def home(broker: Mosquitto) -> Iterator[tuple[Daemon, Authority, Path]]:
    directory = Path(tempfile.mkdtemp(prefix="ww-pwa-", dir="/var/tmp"))
    authority = Authority(directory / "ca", name="Home of the test")
    files = authority.server("localhost", "127.0.0.1")
    web = {"cert_file": str(files.certificate), "key_file": str(files.key)}
    daemon = Daemon(directory / "d", mqtt_port=broker.port, settings={"web": web})
    daemon.launch()  # `start` would wait for plain HTTP
    try:
        with LiveHome(broker.port, "pwa-home", days=0.1):
            yield daemon, authority, directory
    finally:
        daemon.__exit__()
    shutil.rmtree(directory, ignore_errors=True)


def _trust(directory: Path, authority: Authority) -> dict[str, str | float | bool]:
    """Have a browser profile trust the site's CA, as the trust page tells people to."""
    certutil = shutil.which("certutil")
    if certutil is None or shutil.which("chromium") is None:
        pytest.skip("chromium or certutil is missing (apt-get install chromium libnss3-tools)")
    store = directory / ".pki" / "nssdb"
    store.mkdir(parents=True)
    place = f"sql:{store}"
    subprocess.run([certutil, "-N", "-d", place, "--empty-password"], check=True)
    subprocess.run(
        [certutil, "-A", "-d", place, "-t", "C,,", "-n", "home", "-i", str(authority.ca_file)],
        check=True,
    )
    return {"HOME": str(directory)}


def _wait(daemon: Daemon, authority: Authority, url: str) -> None:
    context = ssl.create_default_context(cafile=authority.ca_file)
    until_s = time.monotonic() + START_S
    with httpx.Client(verify=context) as client:
        while time.monotonic() < until_s:
            try:
                if client.get(f"{url}/healthz", timeout=1).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert daemon.running, daemon.log_tail()
            time.sleep(0.1)
    pytest.fail(f"not ready: {daemon.log_tail()}")


def _is_installable(page: Page) -> None:
    assert page.evaluate("isSecureContext") is True
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    session = page.context.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    told = json.loads(manifest["data"])
    assert told["display"] == "standalone"
    assert {icon["sizes"] for icon in told["icons"]} >= {"192x192", "512x512"}
    assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] == []


def test_it_installs_over_https_and_opens_without_the_gateway(
    home: tuple[Daemon, Authority, Path],
) -> None:
    daemon, authority, directory = home
    if app_directory() is None:
        pytest.skip("the app has not been built (make dashboard)")
    environment = _trust(directory, authority)
    url = f"https://localhost:{daemon.web_port}"
    _wait(daemon, authority, url)
    add_user(daemon)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            directory / "profile",
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu"],
            env=environment,
            base_url=url,
        )
        context.set_default_timeout(PATIENCE_MS)
        page = log_in(context)
        _is_installable(page)
        page.goto("/trust")
        expect(page.get_by_text("This connection is trusted and private.")).to_be_visible()
        assert violations(page) == []
        daemon.terminate(within_s=10)
        page.goto("/")  # from what the service worker has kept
        waiting = page.get_by_text("The gateway does not answer")
        expect(waiting).to_be_visible(timeout=PATIENCE_MS)
        daemon.launch()
        _wait(daemon, authority, url)
        expect(page.get_by_role("heading", name="Now", exact=True)).to_be_visible(
            timeout=PATIENCE_MS
        )
        context.close()


def test_plain_http_says_what_is_missing(broker: Mosquitto, tmp_path: Path) -> None:
    directory = Path(tempfile.mkdtemp(prefix="ww-pwa-", dir="/var/tmp"))
    with Daemon(directory / "d", mqtt_port=broker.port) as daemon:
        answer = httpx.get(daemon.url, headers={"Accept-Encoding": "gzip"})
        if app_directory() is None:
            assert answer.status_code == 503
            assert "make dashboard" in answer.text
        else:
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert "strict-transport-security" not in answer.headers
    shutil.rmtree(directory, ignore_errors=True)

"""A browser is registered for pushes, is pushed to, and is forgotten again.

Google's part stands in: its two registration servers, and the browser vendor's push service,
which a browser without the internet has none of. Everything else is the app's own.
"""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page, Route, expect

from tests.support.api import Api, add_user
from tests.support.browser import chromium, log_in, viewer, violations
from tests.support.daemon import Daemon
from tests.support.gateway_stub import until
from tests.support.mosquitto import Mosquitto

LONG_MS = 30_000
POINT = base64.urlsafe_b64encode(b"\x04" + bytes(range(64))).decode().rstrip("=")
CLOUD = {
    "enabled": True, "project": "my-home", "api_key": "AIza-not-a-secret",
    "web_app_id": "1:123456789012:web:0123456789abcdef", "web_push_key": POINT,
}  # fmt: skip
TOKEN = "fcm-registration-token:of-this-browser"
INSTALLED = {
    "name": "projects/123456789012/installations/cAbCdEfGhIjKlMnOpQrStU",
    "fid": "cAbCdEfGhIjKlMnOpQrStU",
    "refreshToken": "refresh",
    "authToken": {"token": "auth", "expiresIn": "604800s"},
}
# What the browser vendor's service would give; the app and Google's library see no difference.
VENDOR = """
const keys = {auth: new Uint8Array(16).buffer, p256dh: new Uint8Array(65).buffer};
let held = null;
PushManager.prototype.getSubscription = async () => held;
PushManager.prototype.subscribe = async (options) => {
  window.subscribedWith = new Uint8Array(options.applicationServerKey).length;
  held = {endpoint: 'https://push.example/1', options, getKey: (name) => keys[name],
          unsubscribe: async () => { held = null; return true; }};
  return held;
};
"""


@pytest.fixture
def daemon(broker: Mosquitto) -> Iterator[Daemon]:
    directory = Path(tempfile.mkdtemp(prefix="ww-push-", dir="/var/tmp"))
    with Daemon(directory / "d", mqtt_port=broker.port, settings={"cloud": CLOUD}) as running:
        add_user(running)
        yield running
    shutil.rmtree(directory, ignore_errors=True)


class Google:
    """Answers for Google, and keeps what it was told."""

    def __init__(self, context: BrowserContext) -> None:
        self.told: list[tuple[str, str, Any]] = []
        context.route("https://firebaseinstallations.googleapis.com/**", self._answer)
        context.route("https://fcmregistrations.googleapis.com/**", self._answer)

    def _answer(self, route: Route) -> None:
        request = route.request
        allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
        allowed["Access-Control-Allow-Methods"] = "*"
        if request.method == "OPTIONS":
            route.fulfill(status=204, headers=allowed)
            return
        body = json.loads(request.post_data or "null")
        self.told.append((request.method, request.url.split("/")[2].split(".")[0], body))
        registered = "fcmregistrations" in request.url
        route.fulfill(json={"token": TOKEN} if registered else INSTALLED, headers=allowed)


def test_a_browser_is_registered_pushed_to_and_forgotten(daemon: Daemon) -> None:
    with chromium() as browser:
        context = viewer(browser, daemon.url, permissions=["notifications"])
        context.add_init_script(VENDOR)
        google = Google(context)
        page = log_in(context, path="/alerts")
        scripts = "performance.getEntriesByType('resource').map(r => r.name).join()"
        assert "index.esm" not in page.evaluate(scripts)  # Google's library has not been loaded
        here = page.get_by_role("region", name="Notifications on this device")
        here.get_by_role("button", name="Switch on").click()
        expect(here.get_by_text("This device is told of new alerts.")).to_be_visible(
            timeout=LONG_MS
        )
        expect(here.get_by_text("this one")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("window.subscribedWith") == 65
        (registered,) = [body for _, host, body in google.told if host == "fcmregistrations"]
        assert registered["web"]["endpoint"] == "https://push.example/1"
        with Api.logged_in(daemon) as api:
            (device,) = api.items("devices")
        assert (device["platform"], device["token_end"]) == ("web", TOKEN[-6:])
        assert "Chrome" in device["name"]
        _pushed(context, page)
        here.get_by_role("button", name="Switch off").click()
        expect(here.get_by_text("This device is not told of new alerts yet.")).to_be_visible()
        with Api.logged_in(daemon) as api:
            assert api.items("devices") == []
        context.close()


def _pushed(context: BrowserContext, page: Page) -> None:
    """Push as the gateway does through Google; the same alert again replaces the first."""
    session = context.new_cdp_session(page)
    number = _registration(session)
    for title in ("Voltage too high", "Voltage dangerously high"):
        shown = {"title": title, "body": "268.1 V for 3 s", "tag": "home-a1", "renotify": True}
        data = {"alert": "a1", "alerts": "1", "tag": "home-a1"}
        session.send(
            "ServiceWorker.deliverPushMessage",
            {
                "origin": page.evaluate("location.origin"),
                "registrationId": number,
                "data": json.dumps({"notification": shown, "data": data}),
            },
        )
    page.wait_for_function(
        """async () => {
            const here = await navigator.serviceWorker.ready;
            const shown = await here.getNotifications();
            return shown.length === 1 && shown[0].title === 'Voltage dangerously high'
                && shown[0].data.url === '/alerts/a1' && shown[0].body.includes('268.1 V');
        }"""
    )


def _registration(session: CDPSession) -> str:
    """Return the id under which the browser knows the app's service worker."""
    found: list[str] = []

    def note(event: dict[str, Any]) -> None:
        found.extend(one["registrationId"] for one in event["registrations"])

    session.on("ServiceWorker.workerRegistrationUpdated", note)
    session.send("ServiceWorker.enable")
    # Events are taken in while something is asked.
    until(lambda: session.send("Runtime.evaluate", {"expression": "1"}) and found)
    return found[0]

"""The page on the phone, in a real browser, over stand-ins for Google's scripts."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, Route, sync_playwright

from cloud_sync import documents

PUBLIC = Path(documents.__file__).parent / "firebase" / "public"
CHROMIUM = Path("/usr/bin/chromium")
# What the page uses of Firebase, in memory: `store` is what Firestore holds, `asked` what was done.
FIREBASE = """
window.asked = []; window.store = { latest: [], alerts: [] }; window.listeners = {};
window.signIn = (user) => window.listeners.auth(user);
const at = (ms) => ({ toMillis: () => ms, toDate: () => new Date(ms) });
const docs = (kind) => ({ empty: !store[kind].length,
  docs: store[kind].map((d) => ({ id: d.meter || d.id, data: () => d })) });
const tell = (kind) => window.listeners[kind] && window.listeners[kind](docs(kind));
const collection = (path) => ({
  onSnapshot: (f, failed) => { const kind = path.split("/").pop(); listeners[kind] = f;
    window.refuse = failed; f(docs(kind)); return () => { delete listeners[kind]; }; },
  where: () => collection(path),
  doc: (id) => ({ set: async (v) => { asked.push(["lease", path + "/" + id, v]); } }),
});
const doc = (path) => ({ collection: (kind) => collection(path + "/" + kind),
  onSnapshot: (f) => { setTimeout(() => f({ data: () => window.answer }), 9); return () => {}; } });
const auth = { onAuthStateChanged: (f) => { listeners.auth = f; f(null); },
  signOut: () => signIn(null),
  signInWithEmailAndPassword: async (email, password) => {
    if (password !== "right") throw new Error("wrong password");
    signIn({ uid: "u1", email }); } };
window.firebase = { auth: () => auth, firestore: () => ({ doc }),
  messaging: () => ({ getToken: async () => "fcm-token-of-browser" }),
  app: () => ({ functions: (region) => ({ httpsCallable: (name) => async (data) => {
    asked.push([region, name, data]); return { data: { path: "sites/home/commands/x" } }; } }) }) };
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(PUBLIC))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """Serves the page, and says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("no browser: apt install chromium")
    with sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"the browser does not start here: {error}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Page:
    page = new_page(browser)
    page.goto(address)
    return page


def new_page(browser: Browser) -> Page:
    def script(route: Route) -> None:
        body = FIREBASE if route.request.url.endswith("app-compat.js") else ""
        route.fulfill(content_type="text/javascript", body=body)

    page = browser.new_page()
    page.route("**/__/firebase/**", script)
    return page


def log_in(page: Page, password: str) -> None:
    page.fill("[name=email]", "anna@example.org")
    page.fill("[name=password]", password)
    page.click("#login button")


def asked(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate("window.asked")
    return found


def test_the_first_reading_on_the_phone(page: Page) -> None:
    log_in(page, "wrong")
    page.wait_for_function("document.getElementById('status').textContent === 'wrong password'")
    log_in(page, "right")
    page.wait_for_selector("#house:not([hidden])")
    assert page.inner_text("#status") == "no reading has arrived yet"
    page.evaluate("""
      store.latest = [{ meter: "kitchen", label: "Kitchen", at: at(Date.now() - 4000),
                        channels: { grid: { p: -1842.4 }, oven: { p: 12.6 } } }];
      tell("latest")""")
    said = page.inner_text("#meters")
    assert said.splitlines() == ["Kitchen", "grid: -1.84 kW", "oven: 13 W", "4 s ago"]
    assert page.inner_text("#status") == ""
    assert ["lease", "sites/home/leases/u1_kitchen", {"meter": "kitchen", "ttl_s": 60}] in asked(
        page
    )


def test_a_meter_that_was_removed_is_neither_shown_nor_asked_for(page: Page) -> None:
    page.evaluate("""
      store.latest.push({ meter: "gone", label: "", at: at(Date.now()), channels: {},
                          removed: true });
      tell("latest")""")
    assert "gone" not in page.inner_text("#meters")
    assert page.locator("#meters li").count() == 1
    assert not [one for one in asked(page) if one[0] == "lease" and one[2]["meter"] == "gone"]


def test_an_alert_is_acknowledged_and_nothing_becomes_html(page: Page) -> None:
    page.evaluate("""
      window.answer = { state: "done", result: { ok: true } };
      store.alerts = [{ id: "a1", state: "open", severity: "critical", title: "<b>High</b>",
                        detail: "276.2 V <img src=x onerror=asked.push('hit')>", opened: at(0) }];
      tell("alerts")""")
    assert "<b>High</b>" in page.inner_text("#alerts")
    assert page.locator("#alerts img").count() == 0
    page.click("#alerts button")
    page.wait_for_function("document.getElementById('status').textContent === 'done'")
    region, name, data = asked(page)[-1]
    assert (region, name) == ("europe-west1", "command")
    assert (data["site"], data["kind"], data["args"]) == ("home", "acknowledge", {"alert": "a1"})
    assert len(data["id"]) == 36
    assert "hit" not in asked(page)


def test_a_refusal_is_told(page: Page) -> None:
    page.evaluate(
        """window.answer = { state: "refused", result: { ok: false, error: "no, sir" } }"""
    )
    page.click("#alerts button")
    page.wait_for_function("document.getElementById('status').textContent === 'no, sir'")
    page.evaluate("""window.refuse({ code: "permission-denied", message: "?" })""")
    assert page.inner_text("#status") == "you are no member of home"


def test_this_device_is_registered_for_pushes(page: Page) -> None:
    page.evaluate("""Notification.requestPermission = async () => "granted";
                     window.answer = { state: "done", result: { ok: true } }""")
    page.click("#push")
    page.wait_for_function("window.asked[window.asked.length - 1][2].kind === 'device'")
    args = asked(page)[-1][2]["args"]
    assert (args["token"], args["platform"]) == ("fcm-token-of-browser", "web")
    assert args["language"] in ("en", "de", "es", "fr", "pt")


def test_after_logging_out_nothing_is_shown(page: Page) -> None:
    page.click("#logout")
    page.wait_for_selector("#login:not([hidden])")
    assert page.is_hidden("#house")
    assert page.evaluate("Object.keys(window.listeners)") == ["auth"]


@pytest.fixture
def watched(browser: Browser, address: str) -> Iterator[Page]:
    """Give a page of somebody who looks on, whose time the test moves."""
    page = new_page(browser)
    page.clock.install()
    page.goto(address)
    log_in(page, "right")
    page.wait_for_selector("#house:not([hidden])")
    yield page
    page.close()


def reading_comes(page: Page, *meters: str) -> list[str]:
    """Have a reading of each meter come; return the leases written since the last time."""
    page.evaluate(
        """(meters) => { asked.length = 0;
          store.latest = meters.map((meter) => ({ meter, at: at(Date.now()), channels: {} }));
          for (const _ of meters) tell("latest"); }""",
        meters,
    )
    return leases(page)


def leases(page: Page) -> list[str]:
    return [path.rpartition("_")[2] for what, path, _ in asked(page) if what == "lease"]


def test_readings_that_come_cost_no_leases(watched: Page) -> None:
    assert reading_comes(watched, "kitchen", "workshop") == ["kitchen", "workshop"]
    for _ in range(12):
        assert reading_comes(watched, "kitchen", "workshop") == []
    assert reading_comes(watched, "kitchen", "workshop", "garage") == ["garage"]


def test_leases_are_renewed_before_they_end_and_only_while_somebody_looks(watched: Page) -> None:
    reading_comes(watched, "kitchen")
    watched.clock.run_for(59_000)
    assert leases(watched)[1:] == ["kitchen"], "once within the lease's minute"
    watched.evaluate("""Object.defineProperty(document, "visibilityState",
                                              { configurable: true, get: () => "hidden" })""")
    assert reading_comes(watched, "kitchen") == []
    watched.clock.run_for(600_000)
    assert reading_comes(watched, "kitchen", "workshop") == []
    watched.evaluate("""delete document.visibilityState;
                        document.dispatchEvent(new Event("visibilitychange"))""")
    assert leases(watched) == ["kitchen", "workshop"], "looked at again, at once"

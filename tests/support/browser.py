"""A real Chromium for tests of the app: pages that log in, and what axe-core finds on them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from gateway.web.static import app_directory
from tests.support.api import PASSWORD

DESKTOP = {"width": 1440, "height": 900}
TABLET = {"width": 820, "height": 1180}
PHONE = {"width": 390, "height": 844}
ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = ROOT / "docs" / "pictures"
# Set it to have the pictures of the documentation taken anew.
ASKED_FOR = "WATTWARDEN_PICTURES"
PATIENCE_MS = 15_000
LOADING_MS = 60_000  # of a page, while others keep the machine busy


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """Run Debian's Chromium without a screen; skip where it or the built app is missing."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    if app_directory() is None:
        pytest.skip("the app has not been built (make dashboard)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary, args=["--no-sandbox", "--disable-gpu", *arguments]
        )
        yield browser
        browser.close()


def viewer(browser: Browser, url: str, **options: Any) -> BrowserContext:  # noqa: ANN401 - Playwright's own
    """Return a fresh browser profile at the gateway; `options` are Playwright's."""
    chosen = {"viewport": DESKTOP, "locale": "en-GB", "timezone_id": "Europe/Lisbon", **options}
    context = browser.new_context(base_url=url, **chosen)
    context.set_default_timeout(PATIENCE_MS)
    context.set_default_navigation_timeout(LOADING_MS)
    return context


def log_in(context: BrowserContext, name: str = "ada", path: str = "/") -> Page:
    """Open the app and log in by its form."""
    page = context.new_page()
    page.goto(path)
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("navigation", name="Pages").first.wait_for(state="attached")
    return page


def violations(page: Page) -> list[str]:
    """Return what axe-core finds of serious or critical impact (WCAG 2.2 AA), one line each."""
    # By evaluation: the page's own policy would refuse a script element.
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        """async () => (await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a',
        'wcag21aa', 'wcag22aa', 'best-practice']})).violations
        .filter(one => ['serious', 'critical'].includes(one.impact))
        .map(one => `${one.id}: ${one.nodes.map(node => node.html.slice(0, 160)).join(' | ')}`)"""
    )
    return [str(line) for line in found]


def picture(page: Page, name: str) -> None:
    """Save a picture for the documentation where one is asked for, small enough for a page."""
    if not os.environ.get(ASKED_FOR):
        return
    page.wait_for_timeout(700)
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"app-{name}.png", animations="disabled")

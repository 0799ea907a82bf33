"""The app's quieter parts in a real Chromium: set-up, people, settings, alerts' care, meters."""

import gzip
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect

from calibration.fit import Reference, fit
from calibration.nominal import A_PER_CODE, V_PER_CODE
from calibration.points import Pair, merged
from calibration.sums import ChannelSums, RawSums
from calibration.uncertainty import Instrument
from gateway.services.calibration_forms import Load, Made
from tests.support.answering import Answering
from tests.support.api import PASSWORD, Api, add_user
from tests.support.browser import chromium, log_in, picture, viewer, violations
from tests.support.daemon import Daemon
from tests.support.mosquitto import Mosquitto
from tests.support.solar_home import LiveHome

LONG_MS = 30_000
VOLTAGE = "Voltage dangerously high"
WRONG_ROWS = 60_000  # more than any machine takes in while somebody aims at a button
JANUARY_S = 1_767_225_600
DAY_LIMIT = "Tell when a day uses more than (kWh)"


class Site:
    """A gateway with one home, in which somebody may make the supply bad."""

    def __init__(self, daemon: Daemon, home: LiveHome, answering: Answering) -> None:
        self.daemon = daemon
        self.home = home
        self.answering = answering


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # The name that homes use leads here: over plain HTTP it is no secure origin, as at home.
    with chromium("--host-resolver-rules=MAP wattwarden.local 127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def site(broker: Mosquitto) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="ww-care-", dir="/var/tmp"))
    with Daemon(directory / "d", mqtt_port=broker.port) as daemon:
        add_user(daemon)
        with (
            LiveHome(broker.port, "cellar", days=0.02) as home,
            Answering(broker.port, "cellar", {"rssi": -61, "uptime": 5}) as answering,
        ):
            yield Site(daemon, home, answering)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    contexts = []

    def make(path: str = "/", name: str = "ada") -> Page:
        contexts.append(viewer(browser, site.daemon.url, accept_downloads=True))
        return log_in(contexts[-1], name, path)

    yield make
    for context in contexts:
        context.close()


def test_the_first_administrator_is_made_with_the_one_time_code(
    browser: Browser, broker: Mosquitto, tmp_path: Path
) -> None:
    with Daemon(tmp_path / "new", mqtt_port=broker.port) as daemon:
        context = viewer(browser, daemon.url)
        page = context.new_page()
        page.goto("/")
        expect(page.get_by_role("heading", name="First set-up")).to_be_visible()
        assert violations(page) == []
        picture(page, "setup")
        code = daemon.cli_ok("users", "setup-code").split()[0]
        page.get_by_label("One-time code").fill("0000-0000-0000")
        page.get_by_label("User name").fill("grace")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("Password again").fill(PASSWORD + "?")
        page.get_by_role("button", name="Create and log in").click()
        expect(page.get_by_role("alert")).to_have_text("The two passwords differ.")
        page.get_by_label("Password again").fill(PASSWORD)
        page.get_by_role("button", name="Create and log in").click()
        expect(page.get_by_role("alert")).to_contain_text("code")
        page.get_by_label("One-time code").fill(code)
        page.get_by_role("button", name="Create and log in").click()
        expect(page.get_by_text("No meter has sent anything yet")).to_be_visible()
        page.goto("/system/people")
        expect(page.get_by_text("grace")).not_to_have_count(0)
        context.close()


def test_an_alert_is_kept_quiet_and_its_kind_muted_and_heard_again(
    open_page: Callable[..., Page], site: Site
) -> None:
    page = open_page("/alerts")
    expect(page.get_by_text("All is well. Nothing needs you.")).to_be_visible()
    site.home.volts = 268.0
    try:
        page.get_by_role("link", name=VOLTAGE).click(timeout=LONG_MS)
        page.get_by_role("button", name="Keep quiet").click()
        page.get_by_role("dialog").get_by_role("button", name="8 hours").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("button", name="Mute this kind").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("of cellar will still be recorded")).to_be_visible()
        dialog.get_by_role("button", name="Until I take it back").click()
        expect(page.get_by_text("Muted", exact=True).first).to_be_visible()
        page.get_by_role("link", name="All alerts").click()
        card = page.get_by_role("article", name=VOLTAGE)
        expect(card.get_by_text(re.compile("^quiet until"))).to_be_visible()
        expect(card.get_by_text("Muted", exact=True)).to_be_visible()
        mutes = page.get_by_role("region", name="Muted")
        expect(mutes.get_by_text("until taken back")).to_be_visible()
        mutes.get_by_role("button", name="Hear it again").click()
        expect(card.get_by_text("Muted", exact=True)).to_have_count(0)
        page.goto("/alerts?state=all&meter=cellar")  # where an import's alerts are shown
        card.get_by_role("link", name=VOLTAGE).click()
        page.get_by_role("button", name="Resolve").click()
        expect(page.get_by_text("Resolved", exact=True)).to_be_visible()
    finally:
        site.home.volts = None
    with Api.logged_in(site.daemon) as api:
        (alert,) = [one for one in api.items("alerts", state="all") if one["title"] == VOLTAGE]
    did = [entry["what"].split(":")[0] for entry in alert["history"] if entry["who"] == "ada"]
    assert {"snoozed", "resolved"} <= {what.split()[0] for what in did}


def test_a_wrong_import_is_stopped_while_it_comes_in(
    open_page: Callable[..., Page], site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.csv"
    rows = (f"{JANUARY_S + 60 * n},{0.3 + n % 50 / 100:.2f}" for n in range(WRONG_ROWS))
    file.write_text("\n".join(["time,p_kw", *rows]) + "\n")
    page = open_page("/import")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("textbox", name="Into meter").fill("wrong", timeout=LONG_MS)
    page.get_by_role("button", name="Import", exact=True).click()
    job = page.get_by_role("article", name="wrong.csv")
    job.get_by_role("button", name="Stop and undo").click()
    page.get_by_role("dialog").get_by_role("button", name="undo").click()
    expect(job.get_by_text("undone", exact=True)).to_be_visible(timeout=LONG_MS)
    with Api.logged_in(site.daemon) as api:
        assert "wrong" not in [meter["id"] for meter in api.items("meters")]


def test_a_meter_blinks_answers_and_shows_how_it_is_and_its_calibration(
    open_page: Callable[..., Page], site: Site
) -> None:
    _calibrate(site.daemon, "cellar")
    page = open_page("/meters/cellar")
    how = page.get_by_role("region", name="Diagnostics")
    for fact in ("61 dBm · good", "81 kB", "once", "1.2.0"):
        expect(how.get_by_text(fact)).to_be_visible()
    page.get_by_role("button", name="Make it blink").click()
    expect(page.get_by_text("It blinks for 10 seconds.")).to_be_visible()
    how.get_by_role("button", name="Ask it now").click()
    expect(page.get_by_role("region", name="Everything the meter reports")).to_be_visible()
    asked = [(one["kind"], one["args"]) for one in site.answering.commands]
    assert asked == [("identify", {"seconds": 10}), ("report", {})]
    made = page.get_by_role("region", name="Calibration")
    expect(made.get_by_text("PM-231, class 0.2")).to_be_visible()
    expect(made.get_by_text(re.compile(r"^± \d\.\d\d %$"))).to_be_visible()
    with page.context.expect_page() as opened:
        made.get_by_role("link", name="Calibration certificate").click()
    expect(opened.value.get_by_text("PM-231").first).to_be_visible()
    expect(opened.value.locator("body")).to_have_css("font-size", "14px")  # its styles may apply
    assert violations(page) == []
    picture(page, "meter")


def test_settings_hold_at_once_and_go_back_to_the_file(
    open_page: Callable[..., Page], site: Site
) -> None:
    page = open_page("/system/settings")
    page.get_by_label(DAY_LIMIT).fill("18.5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("changed here")).to_be_visible()
    with Api.logged_in(site.daemon) as api:
        assert api.get("system/settings")["values"]["detect.daily_limit_kwh"] == 18.5
        page.get_by_label(DAY_LIMIT).fill("-3")
        page.get_by_role("button", name="Save").click()
        assert api.get("system/settings")["values"]["detect.daily_limit_kwh"] == 18.5
        page.get_by_role("button", name="As in the file").click()
        expect(page.get_by_text("changed here")).to_have_count(0)
        assert api.get("system/settings")["values"]["detect.daily_limit_kwh"] is None


def test_people_and_tokens_come_change_and_go(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("/system/people")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Add a person").click()
    dialog.get_by_label("User name").fill("maria")
    dialog.get_by_label("May").select_option(value="operator")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Add").click()
    people = page.get_by_role("region", name="People")
    row = people.get_by_role("listitem").filter(has_text="maria")
    expect(row.get_by_text("Operator")).to_be_visible()
    with Api(site.daemon.url) as api:
        api.login("maria")
        row.get_by_role("button", name="Set password").click()
        dialog.get_by_label("New password").fill(PASSWORD + "!")
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Their sessions have ended.")).to_be_visible()
        assert api.http.get("/api/v1/auth/me").status_code == 401
        api.login("maria", PASSWORD + "!")
    row.get_by_role("button", name="Remove").click()
    dialog.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Make a token").click()
    dialog.get_by_label("Name of the script").fill("grafana")
    dialog.get_by_role("button", name="Add").click()
    token = dialog.locator("code").text_content() or ""
    dialog.get_by_role("button", name="Close").last.click()
    with Api(site.daemon.url) as script:
        script.http.headers["Authorization"] = f"Bearer {token}"
        assert script.get("auth/me")["role"] == "viewer"
    assert token not in (page.text_content("body") or "")


def test_people_change_their_own_password(open_page: Callable[..., Page], site: Site) -> None:
    add_user(site.daemon, "eve", "viewer")
    page = open_page("/system", "eve")
    page.get_by_role("button", name="Change your password").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Old password").fill("not the old one")
    dialog.get_by_label("New password").fill(PASSWORD + "!")
    dialog.get_by_label("Password again").fill(PASSWORD + "?")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("differ")
    dialog.get_by_label("Password again").fill(PASSWORD + "!")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).not_to_contain_text("differ")
    expect(dialog.get_by_role("alert")).not_to_be_empty()
    assert violations(page) == []
    dialog.get_by_label("Old password").fill(PASSWORD)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Your password is changed.")).to_be_visible()
    with Api(site.daemon.url) as api:
        with pytest.raises(httpx.HTTPStatusError):
            api.login("eve")
        api.login("eve", PASSWORD + "!")


def test_a_backup_is_a_whole_database_and_the_log_and_audit_are_there(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page("/system")
    expect(page.get_by_text("Everything runs.")).to_be_visible(timeout=LONG_MS)
    picture(page, "system")
    with page.expect_download() as told:
        page.get_by_role("link", name="Download a backup").click()
    copy = tmp_path / "copy.db"
    copy.write_bytes(gzip.decompress(Path(told.value.path()).read_bytes()))
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT id FROM meters").fetchall() == [("cellar",)]
    page.goto("/system/audit")
    expect(page.get_by_text("system.backup").first).to_be_visible()
    page.goto("/system/log")
    expect(page.get_by_text("web listening").first).to_be_visible()


def test_the_keyboard_alone_is_enough(open_page: Callable[..., Page]) -> None:
    page = open_page("/system/people")
    expect(page.get_by_role("button", name="Add a person")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    page.get_by_role("button", name="Add a person").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    inside = "document.activeElement.closest('dialog') !== null"
    for _ in range(12):  # round and round: the focus stays in what is asked
        page.keyboard.press("Tab")
        assert page.evaluate(f"{inside} || document.activeElement === document.body")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("radio", name="As the device").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.keyboard.press("ArrowRight")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_where_alerts_go_is_told_and_why_not_to_this_browser(
    open_page: Callable[..., Page], browser: Browser, site: Site
) -> None:
    page = open_page("/alerts")
    roads = page.get_by_role("region", name="How alerts find people")
    expect(roads.get_by_text("none of them needs Firebase")).to_be_visible()
    here = page.get_by_role("region", name="Notifications on this device")
    expect(here.get_by_text("which this gateway has not been given")).to_be_visible()
    context = viewer(browser, f"http://wattwarden.local:{site.daemon.web_port}")
    plain = log_in(context, path="/alerts")
    assert plain.evaluate("isSecureContext") is False
    expect(plain.get_by_text("Browsers allow notifications only over HTTPS.")).to_be_visible()
    plain.goto("/")
    expect(plain.get_by_text("This page came over plain HTTP")).to_be_visible()
    context.close()


def _calibrate(daemon: Daemon, meter: str) -> None:
    """Leave a calibration as the installer's session does."""

    def stretch(amps: float) -> RawSums:
        v, i = 230 / V_PER_CODE, amps / A_PER_CODE
        rows = {"grid": ChannelSums(i + 3.3, 2048.0, v * i, 0.01 * v * i, 0)}
        return RawSums(5, 50.0, v, 2048.0, rows)

    pairs = [Pair(stretch(5.0), Reference(230.0, 5.0, 1150.0 + k)) for k in range(4)]
    record = fit(stretch(0.0), [merged("grid", pairs)], version=1, made="2026-01-01")
    made = Made(
        meter, 1, 1_767_225_600_000, "ada", record, Instrument("PM-231", 0.2, 0.1, 0.1),
        stretch(0.0), [Load("grid", pairs)],
    )  # fmt: skip
    with closing(sqlite3.connect(daemon.database, timeout=30)) as db, db:
        row = (meter, made.version, made.made_ms, msgspec.json.encode(made).decode())
        db.execute("INSERT OR REPLACE INTO calibrations VALUES (?,?,?,?)", row)

"""Real recordings come in through the page: mapped, charted, judged, and taken out again."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.api import Api, add_user
from tests.support.browser import chromium, log_in, viewer
from tests.support.daemon import Daemon
from tests.support.household import as_published

pytestmark = [pytest.mark.shared, pytest.mark.soak, pytest.mark.timeout(1200)]  # a busy machine
DONE_MS = 540_000
LONG_MS = 60_000


@pytest.fixture
def page(daemon: Daemon) -> Iterator[Page]:
    add_user(daemon)
    with chromium() as browser:
        context = viewer(browser, daemon.url)
        yield log_in(context, path="/import")
        context.close()


def bring_in(page: Page, file: Path, meter: str) -> Locator:
    """Upload a file and name its meter; the columns are still to be looked at."""
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_role("heading", name="What the columns mean")).to_be_visible(timeout=LONG_MS)
    page.get_by_label("Into meter").fill(meter)
    page.get_by_label("Time zone of the file").fill("UTC")
    return page.get_by_role("article", name=file.name)


def run(page: Page, job: Locator) -> None:
    page.get_by_role("button", name="Import", exact=True).click()
    expect(job.get_by_text("done", exact=True)).to_be_visible(timeout=DONE_MS)


def charted(page: Page, job: Locator) -> None:
    job.get_by_role("link", name="Show in History").click()
    expect(page.locator(".chart canvas").first).to_be_visible(timeout=LONG_MS)
    page.goto("/import")


def test_a_transformer_s_lost_phases_are_found(page: Page, shared: Path, daemon: Daemon) -> None:
    job = bring_in(page, shared / "04_transformer/dtm_current_voltage.csv.gz", "dtm")
    run(page, job)
    expect(job.get_by_text("4 lines could not be read")).to_be_visible()
    charted(page, job)
    job.get_by_role("link", name="Show its alerts").click()
    told = page.get_by_role("link", name=re.compile("outage|no power|low", re.IGNORECASE))
    expect(told.first).to_be_visible()
    expect(page.get_by_role("button", name="Show all meters")).to_be_visible()
    page.goto("/import")
    job.get_by_role("button", name="Undo").click()
    page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    expect(job.get_by_text("undone", exact=True)).to_be_visible(timeout=DONE_MS)
    with Api.logged_in(daemon) as api:
        assert api.items("meters") == []
        assert api.items("alerts", state="all") == []


def test_an_oil_sensor_that_is_stuck_is_found(page: Page, shared: Path) -> None:
    job = bring_in(page, shared / "04_transformer/dtm_overview.csv.gz", "oil")
    page.get_by_label("oti: Means").select_option("temp")
    run(page, job)
    job.get_by_role("link", name="Show its alerts").click()
    told = page.get_by_role("link", name=re.compile("sensor", re.IGNORECASE))
    told.first.click()
    expect(page.get_by_text("oti_temp").first).to_be_visible()


def test_a_factory_s_year_says_which_rows_are_beyond_a_channel(page: Page, shared: Path) -> None:
    job = bring_in(page, shared / "04_transformer/steel_industry_15min.csv.gz", "steel")
    page.get_by_label("Time is in").select_option("ts_file_order")
    page.get_by_label("kwh: Means").select_option("p")
    page.get_by_label("kwh: Unit").select_option("kWh")
    run(page, job)
    # 221 quarter hours of over 500 kW: the range that one channel of a reading has.
    expect(job.get_by_text("221 lines could not be read")).to_be_visible()
    charted(page, job)


def test_a_household_comes_in_as_it_is_published(page: Page, shared: Path, tmp_path: Path) -> None:
    file = tmp_path / "household_power.txt.gz"
    file.write_bytes(gzip.compress(as_published(shared)))
    job = bring_in(page, file, "uci")
    expect(page.get_by_label("Global_active_power: Unit")).to_have_value("kW")
    run(page, job)
    expect(job.get_by_text("could not be read")).to_have_count(0)
    charted(page, job)

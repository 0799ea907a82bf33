"""`wattwarden alerts`: without a daemon, and through a running one."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.alerts import AlertKind, Severity
from tests.gateway.cli.rig import NOW_MS, Site, fill, finding, make_site
from tests.support.daemon import Daemon
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house
from tinymodels.train.labels import read_labels

KEYS = [
    "id", "meter", "channel", "kind", "severity", "state", "opened", "updated", "resolved",
    "count", "title", "detail", "evidence", "snoozed_until", "muted", "history",
]  # fmt: skip


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path)
    await fill(
        made,
        finding("kitchen"),
        finding("cellar", AlertKind.OUTAGE, at_ms=NOW_MS + 1000, severity=Severity.CRITICAL),
        finding("", AlertKind.STORAGE, at_ms=NOW_MS + 2000),
    )
    return made


def listed(site: Site, *options: str) -> list[dict[str, Any]]:
    page = json.loads(site.ok("alerts", "list", "--json", *options))
    assert list(page) == ["items", "next"]
    items: list[dict[str, Any]] = page["items"]
    return items


def test_json_is_the_contract_s(site: Site) -> None:
    gateway, cellar, kitchen = listed(site)
    assert [list(one) for one in (gateway, cellar, kitchen)] == [KEYS] * 3
    assert (gateway["meter"], cellar["meter"], kitchen["meter"]) == (None, "cellar", "kitchen")
    assert kitchen["evidence"] == {"v": 251.2}
    assert kitchen["opened"] == NOW_MS
    assert kitchen["history"] == [{"at": NOW_MS, "who": "system", "what": "opened"}]


def test_lists_are_narrowed(site: Site) -> None:
    assert [one["meter"] for one in listed(site, "--severity", "critical")] == ["cellar"]
    assert [one["meter"] for one in listed(site, "--meter", "kitchen")] == ["kitchen"]
    assert [one["kind"] for one in listed(site, "--meter", "")] == ["storage"]
    assert listed(site, "--state", "resolved") == []
    assert [one["kind"] for one in listed(site, "--limit", "1")] == ["storage"]
    assert json.loads(site.ok("alerts", "list", "--json", "--limit", "1"))["next"] is not None


def test_people_get_aligned_lines_in_the_site_s_time(site: Site) -> None:
    lines = site.ok("alerts", "list").splitlines()
    assert lines[0].split()[:4] == ["opened", "severity", "state", "meter"]
    opened = lines[-1].split()[0]
    assert opened == "2025-11-21T21:20:00+00:00"
    assert datetime.fromisoformat(opened).timestamp() * 1000 == NOW_MS
    assert "251.2 V at [kitchen]." in lines[-1]
    at = lines[0].index("detail")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines)
    assert "\x1b" not in "".join(lines)


def test_answers_are_kept_in_the_history(site: Site) -> None:
    kitchen = listed(site, "--meter", "kitchen")[0]["id"]
    assert isinstance(kitchen, str)
    assert "acknowledged" in site.ok("alerts", "acknowledge", kitchen)
    site.ok("alerts", "snooze", kitchen, "--minutes", "30")
    site.ok("alerts", "verdict", kitchen, "--wrong", "--note", "guests")
    done = json.loads(site.ok("alerts", "resolve", kitchen, "--note", "gone", "--json"))
    assert done == {"id": kitchen, "state": "resolved"}
    (after,) = listed(site, "--state", "resolved")
    history = after["history"]
    assert isinstance(history, list)
    said = [entry["what"] for entry in history]
    assert said == [
        "opened", "acknowledged", "snoozed for 30 minutes", "verdict: wrong: guests",
        "resolved: gone",
    ]  # fmt: skip
    assert site.run("alerts", "acknowledge", kitchen).status == 2


def test_verdicts_become_labels_without_names(site: Site, tmp_path: Path) -> None:
    """The newest verdict on each alert, as training reads it; the gateway's own alerts are none."""
    by_meter = {one["meter"]: str(one["id"]) for one in listed(site)}
    site.ok("alerts", "verdict", by_meter["kitchen"], "--right")
    site.ok("alerts", "verdict", by_meter["kitchen"], "--wrong", "--note", "guests")
    site.ok("alerts", "verdict", by_meter["cellar"], "--right")
    site.ok("alerts", "verdict", by_meter[None], "--right")
    path = tmp_path / "labels.jsonl"
    path.write_text(site.ok("alerts", "labels"))
    assert '"who"' not in path.read_text()
    labels = read_labels(path)
    assert labels.keys() == {("kitchen", ""), ("cellar", "")}
    (kitchen,) = labels["kitchen", ""]
    assert (kitchen.right, kitchen.note, kitchen.from_ms) == (False, "guests", NOW_MS)
    assert labels["cellar", ""][0].right


def test_wrong_use_is_told_in_one_line(site: Site, tmp_path: Path) -> None:
    unknown = site.run("alerts", "acknowledge", "nope")
    assert (unknown.status, unknown.err.count("\n")) == (1, 1)
    assert "nope" in unknown.err
    undecided = site.run("alerts", "verdict", "nope")
    assert undecided.status == 2
    assert "--right" in undecided.err
    assert site.run("alerts", "list", "--state", "gone").status == 2
    (tmp_path / "empty").mkdir()
    missing = make_site(tmp_path / "empty").run("alerts", "list")
    assert (missing.status, missing.out) == (2, "")
    assert "w.db does not exist" in missing.err
    assert missing.err.count("\n") == 1


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.database.write_bytes(b"")
    assert "not a wattwarden database" in site.run("alerts", "list").err
    site.database.write_bytes(b"no database at all" * 100)
    said = site.run("alerts", "list")
    assert said.status == 1
    assert "w.db" in said.err


def test_through_a_running_daemon(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon]
) -> None:
    daemon = make_daemon(settings={"meters": {"auto_register": False}})
    daemon.start()
    with MeterClient("stranger", own_broker.port, boot=1) as meter:
        meter.send(recent_house(windows=5, boot=1).take(5))
        for _ in range(100):
            page = json.loads(daemon.cli_ok("alerts", "list", "--json"))
            if page["items"]:
                break
    (alert,) = page["items"]
    assert alert["kind"] == "security"
    assert "acknowledged" in daemon.cli_ok("alerts", "acknowledge", alert["id"])
    (after,) = json.loads(daemon.cli_ok("alerts", "list", "--json"))["items"]
    assert after["state"] == "acknowledged"
    gone = daemon.cli("alerts", "resolve", "0000")
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)

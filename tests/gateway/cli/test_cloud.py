"""`wattwarden cloud status`, `cost` and `drain`, as a person types them."""

import json
import time
from pathlib import Path

import pytest

from gateway.adapters.store import cloud_due, rollups
from gateway.adapters.store.cloud import SqlCloudFeed
from gateway.adapters.store.database import opened
from gateway.pipeline.rollups import Bucket
from gateway.services.cloud_feed import DAY_MS, DeadDocument, DueKind, Usage
from gateway.services.effects import RollupPart
from tests.support.cloud import UTC
from tests.support.daemon import Sections, run_cli, to_toml
from tests.support.firestore_rig import FirestoreRig


@pytest.fixture
def config(short_path: Path) -> Path:
    """Give the settings of a gateway with two quarters that the cloud lacks."""
    database = short_path / "w.db"
    now_ms = time.time_ns() // 1_000_000  # now: midnight may lie between import and test
    today = now_ms // DAY_MS
    start_ms = (today - 1) * DAY_MS
    with opened(database) as store:
        SqlCloudFeed(store, UTC).arm_now([DueKind.QUARTER, DueKind.DAY, DueKind.GAPS], 0)
        for statement in (
            "INSERT INTO meters (no, id, registered_ms) VALUES (1, 'kitchen', 0)",
            "INSERT INTO channels VALUES (1, 1, 'grid', 'grid', NULL)",
        ):
            store.write_now(lambda db, text=statement: db.execute(text).rowcount)  # type: ignore[misc]
        parts = [RollupPart(1, "1m", Bucket(start_ms + k * 60_000, 60, 60_000)) for k in range(30)]
        store.write_now(lambda db: rollups.add_parts(db, parts))
        used = [Usage(today - k, "minutes", 96, 96_000) for k in range(1, 10)]
        store.write_now(lambda db: cloud_due.count(db, [*used, Usage(today, "latest", 4, 2_000)]))
        dead = DeadDocument(0, now_ms, "sites/home/days/x", "too large", 2_000_000)
        store.write_now(lambda db: cloud_due.bury(db, dead))
    sections: Sections = {
        "storage": {"path": str(database)},
        "cloud": {"enabled": True, "project": "demo-cli", "development": True},
    }
    path = short_path / "c.toml"
    path.write_text(to_toml(sections))
    return path


def run(config: Path, *arguments: str) -> str:
    done = run_cli(["cloud", *arguments, "--config", str(config)], config.parent, 100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_status_tells_what_waits_and_what_was_refused(config: Path) -> None:
    text = run(config, "status")
    assert "the daemon does not run" in text
    assert "2 quarter" in text
    assert "sites/home/days/x" in text
    told = json.loads(run(config, "status", "--json"))
    assert told["waiting"]["quarter"] == 2
    assert told["today"] == {"writes": 4, "limit": 18_000}


def test_cost_judges_a_month_by_the_days_before(config: Path) -> None:
    told = json.loads(run(config, "cost", "--json"))
    assert 2_500 < told["writes_month"] < 3_200
    assert 0.004 < told["usd_month"] < 0.01
    text = run(config, "cost", "--days", "5")
    assert "2,592,000 writes" in text
    assert told["prices"]["as_of"] in text


def test_drain_sends_all_without_a_daemon(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FirestoreRig() as rig:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", rig.host)
        assert run(config, "drain", "--seconds", "60").startswith("2 documents sent")
        assert len([name for name in rig.store.documents if "/minutes/kitchen_" in name]) == 2
        assert run(config, "drain", "--seconds", "60").startswith("0 documents sent")


def test_drain_says_when_the_cloud_is_not_there(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    done = run_cli(["cloud", "drain", "--config", str(config)], config.parent, 100)
    assert done.returncode == 1
    assert "no answer" in done.stderr
    assert "Traceback" not in done.stderr

"""SIGKILL at each step of a commit, the intake's and the judging's: every alert, once."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import MakeFaulty
from tests.gateway.services.site_rig import Site, windows
from tests.support.faulty import FaultyDaemon
from tests.support.feeding import assert_all_once, query
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import now_ms
from tests.support.seeds import SEED

QUERY = "SELECT kind, state, opened_ms, resolved_ms, count FROM alerts ORDER BY opened_ms, kind"
OUTBOX = "SELECT kind, count(*), count(DISTINCT key) FROM outbox GROUP BY kind"
HISTORY = "SELECT what, at_ms FROM alert_history ORDER BY at_ms, what"
# Kills its own process at a step of the n-th commit behind the start.
PROGRAM = """
import os, signal, sys
step, left = sys.argv.pop(1), [int(sys.argv.pop(1))]
def die_at(this):
    if this == step and left[0] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
from gateway.adapters.store import database
from gateway.services.alert_desk import AlertDesk
from gateway.services.intake import Intake
commit, attempt = database.Database._commit, database._attempt
def _commit(self, jobs):
    left[0] -= 1
    die_at("before")
    commit(self, jobs)
    die_at("after")
def _attempt(db, job):
    outcome = attempt(db, job)
    die_at("within")
    return outcome
answer, tell = Intake._answer, AlertDesk.tell
def _answer(self, pending):
    die_at("unacknowledged")
    answer(self, pending)
    die_at("acknowledged")
def _tell(self, changes):
    die_at("untold")
    tell(self, changes)
database.Database._commit, database._attempt = _commit, _attempt
Intake._answer, AlertDesk.tell = _answer, _tell
from gateway.cli import main
main()
"""
ROUNDS = 8
STEPS = ("before", "within", "after", "unacknowledged", "acknowledged", "untold")


def story(start_ms: int) -> list[dict[str, Any]]:
    """Return ten minutes with outages of ten seconds in them."""
    readings: list[dict[str, Any]] = []
    for first in range(0, 600, 60):
        readings += windows(first, first + 49, boot_ms=start_ms)
        readings += windows(
            first + 50, first + 59, boot_ms=start_ms, v=0.0, i=0.0, p=0.0, q=0.0, f=None
        )
    return readings


async def calm(path: Path, readings: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    with Site(path) as site:
        site.live(readings)
        await site.derive()
        return site.query(QUERY), site.query(HISTORY)


def run_to_death(daemon: FaultyDaemon, step: str, commits: int, *, within_s: float) -> bool:
    """Start with a step to die at; tell whether it was reached in time."""
    daemon.program = ["-c", PROGRAM, step, str(commits)]
    daemon.launch()
    deadline = time.monotonic() + within_s
    while daemon.running and time.monotonic() < deadline:
        time.sleep(0.05)
    reached = not daemon.running
    if not reached:
        daemon.kill()
    return reached


def wait_told(daemon: FaultyDaemon, alerts: int) -> None:
    """Block until so many alerts are resolved."""
    deadline = time.monotonic() + 30
    sql = "SELECT count(*) FROM alerts WHERE state = 'resolved'"
    while query(daemon.database, sql) != [(alerts,)] and time.monotonic() < deadline:
        time.sleep(0.2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_every_alert_once_whatever_step_it_died_at(
    own_broker: Mosquitto, make_faulty: MakeFaulty, tmp_path: Path
) -> None:
    dice = random.Random(SEED)
    steps = STEPS * ROUNDS
    readings = story(now_ms() - 700_000)
    expected = await calm(tmp_path / "calm.db", readings)
    assert len(expected[0]) == 10
    daemon = make_faulty(settings={"web": {"enabled": False}})
    part = len(readings) // len(steps) + 1
    deaths = 0
    with MeterClient("home", own_broker.port, boot=1, resend_after_s=2) as meter:
        for number, step in enumerate(steps):
            meter.send(readings[number * part : (number + 1) * part])
            deaths += run_to_death(daemon, step, dice.randrange(0, 4), within_s=20)
        daemon.program = []
        daemon.launch()
        meter.wait_covered(within_s=120)
    await asyncio.to_thread(wait_told, daemon, len(expected[0]))
    daemon.terminate(within_s=15)
    assert query(daemon.database, QUERY) == expected[0]
    assert query(daemon.database, HISTORY) == expected[1]
    assert query(daemon.database, OUTBOX) == [("alert", 10, 10)]
    assert_all_once(daemon.database, "home", readings)
    assert deaths >= len(steps) // 2

"""Operations: one door for every change, with plain words for what is wrong."""

import asyncio
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from gateway.adapters.memory_accounts import MemoryAccounts
from gateway.adapters.store.intake_store import SqlIntakeStore
from gateway.adapters.store.meters import SqlMeterStore
from gateway.domain.alerts import AlertKind, Finding
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.pipeline.judge import MeterJudge
from gateway.services.accounts import Accounts
from gateway.services.events import EventDesk
from gateway.services.intake import Hooks, Intake
from gateway.services.operations import Operations
from gateway.services.watching import Watching
from tests.gateway.services.site_rig import Site, window, windows
from tinymodels.detect.pace import Pace


async def moment() -> None:
    await asyncio.sleep(0.01)


class PlainPasswords:
    """Hashes that a test can read."""

    async def hash(self, password: str) -> str:
        return f"plain:{password}"

    async def verify(self, password: str, hashed: str | None) -> bool:
        return hashed == f"plain:{password}"

    def outdated(self, hashed: str) -> bool:
        return not hashed


class Office:
    """Operations over a site's database; the site's planner is the intake's own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        hooks = Hooks(lambda _: None, lambda _: None, lambda *_: None, lambda _: None)
        self.intake = Intake(
            SqlIntakeStore(site.database),
            lambda _: None,  # type: ignore[arg-type,return-value] # no broker here
            site.rules,
            site.now,
            hooks,
        )
        self.people = MemoryAccounts()
        self.operations = Operations(
            Accounts(self.people, PlainPasswords()),
            self.intake,
            site.deriver,
            SqlMeterStore(site.database),
            site.now,
        )

    async def load(self) -> None:
        await self.intake.load()
        await self.site.deriver.load()

    async def call(self, name: str, **args: object) -> dict[str, object]:
        return await self.operations.call(name, args, "ann")


@pytest.fixture
async def office(site: Site) -> Office:
    made = Office(site)
    await made.load()
    return made


async def test_an_operator_may_give_gaps_up(site: Site, office: Office) -> None:
    site.send([*windows(0, 2), *windows(7, 9)])
    await office.load()
    assert await office.call("meters.finalise_gaps", id="home") == {"id": "home", "windows": 4}
    found = site.query("SELECT first, last, state, reason FROM gaps")
    assert found == [(3, 6, "final", "given up by ann")]
    assert site.reload().meters["home"].boots[1].upto == 9


async def test_adding_a_meter_twice_changes_nothing(site: Site, office: Office) -> None:
    assert (await office.call("meters.add", id="tape", recorded=True))["added"] is True
    assert (await office.call("meters.add", id="tape", recorded=True))["added"] is False
    assert site.query("SELECT id, recorded FROM meters") == [("tape", 1)]
    assert (await office.call("meters.add", id="tape"))["recorded"] is False
    assert site.query("SELECT recorded FROM meters") == [(0,)]


async def test_a_meter_with_readings_stays_live_or_recorded(site: Site, office: Office) -> None:
    site.send(window(0))
    await office.load()
    with pytest.raises(BadInputError, match="readings as a live meter"):
        await office.call("meters.add", id="home", recorded=True)


async def test_a_removed_meter_can_be_added_again(site: Site, office: Office) -> None:
    site.send(window(0))
    await office.load()
    await office.call("meters.remove", id="home")
    assert site.reload().meters["home"].removed
    with pytest.raises(NotFoundError, match="home"):
        await office.call("meters.remove", id="home")
    assert (await office.call("meters.add", id="home"))["added"] is True
    assert not site.reload().meters["home"].removed
    assert site.seqs() == [0]


async def test_label_role_and_rating_are_kept(site: Site, office: Office) -> None:
    site.send(window(0))
    await office.load()
    channels = {"grid": {"role": "load", "rating_a": 16}}
    await office.call("meters.update", id="home", label="Kitchen", channels=channels)
    info = site.reload().meters["home"].info
    assert info.label == "Kitchen"
    assert (info.channels["grid"].role, info.channels["grid"].rating_a) == ("load", 16.0)
    await office.call("meters.update", id="home", channels={"grid": {"rating_a": None}})
    assert site.reload().meters["home"].info.channels["grid"].rating_a is None


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("meters.add", {}, "id: must be given, as text"),
        ("meters.add", {"id": "Kitchen"}, "id: 'Kitchen' must be"),
        ("meters.add", {"id": "kitchen", "recorded": 1}, "recorded:"),
        ("meters.update", {"id": "home", "label": "x" * 101}, "label:"),
        ("meters.update", {"id": "home", "label": 5}, "label:"),
        ("meters.update", {"id": "home", "channels": []}, "channels:"),
        ("meters.update", {"id": "home", "channels": {"x": {}}}, "channels.x: no such channel"),
        ("meters.update", {"id": "home", "channels": {"grid": 5}}, "channels.grid:"),
        ("meters.update", {"id": "home", "channels": {"grid": {"role": "x"}}}, "role"),
        ("meters.update", {"id": "home", "channels": {"grid": {"rating_a": 0}}}, "rating_a"),
        ("meters.update", {"id": "home", "channels": {"grid": {"rating_a": True}}}, "rating_a"),
        ("meters.update", {"id": "home", "channels": {"grid": {"rating_a": 1e9}}}, "rating_a"),
        ("alerts.snooze", {"id": "x", "minutes": "5"}, "minutes:"),
        ("alerts.verdict", {"id": "x", "right": "yes"}, "right:"),
    ],
)
async def test_bad_input_is_named_and_changes_nothing(
    site: Site, office: Office, name: str, args: dict[str, object], said: str
) -> None:
    site.send(window(0))
    await office.load()
    before = site.query("SELECT * FROM meters, channels")
    with pytest.raises(BadInputError) as caught:
        await office.operations.call(name, args, "ann")
    assert said in str(caught.value)
    assert site.query("SELECT * FROM meters, channels") == before


@pytest.mark.parametrize(
    "name", ["alerts.acknowledge", "alerts.resolve", "meters.update", "meters.remove", "no.such"]
)
async def test_what_does_not_exist_is_not_found(office: Office, name: str) -> None:
    with pytest.raises(NotFoundError):
        await office.call(name, id="nothing")


async def open_alert(site: Site) -> str:
    key = ("home", "", AlertKind.OUTAGE)
    await site.deriver.report([Finding(key, active=True, at_ms=site.now.wall, title="Dark")])
    return next(one.id for one in site.deriver.desk.book.open_alerts if one.key == key)


async def test_what_people_do_to_alerts_is_kept_in_their_history(
    site: Site, office: Office
) -> None:
    alert = await open_alert(site)
    for name, args in (
        ("acknowledge", {}), ("snooze", {"minutes": 5}),
        ("verdict", {"right": True, "note": "it was dark"}), ("resolve", {"note": "fuse"}),
        ("verdict", {"right": False}),
    ):  # fmt: skip
        site.now.pass_s(1)
        done = await office.call(f"alerts.{name}", id=alert, **args)
        assert done["id"] == alert
    history = site.query("SELECT who, what FROM alert_history ORDER BY no")
    assert history == [
        ("system", "opened"),
        ("ann", "acknowledged"),
        ("ann", "snoozed for 5 minutes"),
        ("ann", "verdict: right: it was dark"),
        ("ann", "resolved: fuse"),
        ("ann", "verdict: wrong"),
    ]
    assert site.query("SELECT right, note FROM verdicts ORDER BY no") == [
        (1, "it was dark"),
        (0, ""),
    ]
    assert site.query("SELECT state FROM alerts") == [("resolved",)]


async def test_a_verdict_on_an_alert_that_only_the_disk_remembers(
    site: Site, office: Office
) -> None:
    alert = await open_alert(site)
    await office.call("alerts.resolve", id=alert)
    site.database.write_now(lambda db: db.execute("DELETE FROM alert_history").rowcount)
    await site.restart_deriving()
    later = Office(site)
    await later.load()
    assert (await later.call("alerts.verdict", id=alert, right=True))["state"] == "resolved"
    assert site.query("SELECT right FROM verdicts") == [(1,)]


async def test_a_verdict_on_an_anomaly_is_heeded_and_outlives_a_restart(
    site: Site, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.send(windows(0, 9))
    await site.derive()
    heeded: list[tuple[str, int, bool]] = []

    def heed(judge: MeterJudge, channel: str, opened_ms: int, *, right: bool) -> bool:
        heeded.append((channel, opened_ms, right))
        judge._channels[channel].pattern.state.pace = Pace({"power": 0.3})  # noqa: SLF001
        return True

    monkeypatch.setattr(MeterJudge, "heed", heed)
    key = ("home", "grid", AlertKind.ANOMALY)
    await site.deriver.report([Finding(key, active=True, at_ms=site.now.wall, title="Unusual")])
    (alert,) = site.deriver.desk.book.open_alerts
    await office.call("alerts.verdict", id=alert.id, right=True)
    assert heeded == [("grid", alert.opened_ms, True)]
    await office.call("alerts.verdict", id=await open_alert(site), right=True)
    assert len(heeded) == 1  # no model raised that one
    await site.restart_deriving()
    (track,) = site.deriver.tracks.values()
    assert track.judge.pace("grid") == Pace({"power": 0.3})


async def test_watching_tells_of_silence_strangers_and_the_clock(site: Site) -> None:
    site.send(window(0))
    site.add_meter("tape", recorded=True)
    watching = Watching(site.deriver, site.now, lambda: site.ledger)
    assert watching.look() == []
    site.now.pass_s(121)
    (silent,) = watching.look()
    assert silent.key == ("home", "", AlertKind.METER_SILENT)
    watching.heard("home")
    (again,) = watching.look()
    assert not again.active
    watching.refused({"kitchen"})
    (stranger,) = watching.look()
    assert stranger.key[2] is AlertKind.SECURITY
    assert "kitchen" in stranger.detail
    watching.refused({"kitchen"})
    assert watching.look() == []
    site.now.trust = False
    assert watching.look() == []
    for _ in range(10):
        watching.heard("home")
        site.now.pass_s(61)
        found = watching.look()
    assert [finding.key[2] for finding in found] == [AlertKind.CLOCK]
    site.now.trust = True
    watching.heard("home")
    (trusted,) = watching.look()
    assert (trusted.key[2], trusted.active) == (AlertKind.CLOCK, False)


async def test_an_anomaly_of_a_meter_s_own_becomes_an_alert(site: Site) -> None:
    await site.deriver.load()
    desk = EventDesk(site.deriver)
    event: dict[str, object] = {"kind": "anomaly", "channel": "grid", "z": 7.5, "deep": {"a": 1}}
    desk.take("home", event | {"kind": "boot"}, site.now.wall)
    desk.take("home", event, site.now.wall)
    desk.take("home", event, site.now.wall + 1000)
    async with asyncio.timeout(5):
        while len(site.query("SELECT 1 FROM alerts WHERE count = 2")) == 0:
            await moment()
    (alert,) = site.deriver.desk.book.open_alerts
    assert alert.key == ("home", "grid", AlertKind.DEVICE_ANOMALY)
    assert alert.evidence == {"kind": "anomaly", "channel": "grid", "z": 7.5}
    desk._end("home", "grid", site.now.wall + 901_000)  # noqa: SLF001 - after a quarter of an hour
    async with asyncio.timeout(5):
        while site.deriver.desk.book.open_alerts:
            await moment()


@pytest.mark.parametrize(
    ("told", "title", "part"),
    [
        ({"what": "reversed_clamp"}, "A clamp seems to be on backwards", "turned round"),
        ({"what": "open_clamp"}, "A clamp has stopped measuring", "closed around its wire"),
        ({"what": "frozen_adc"}, "The meter reads the same values again and again", "supply away"),
        ({"what": "flash", "refused": 3}, "The meter cannot save to its flash", "worn out"),
        ({"what": "unusual", "feature": "step"}, "The meter finds its", "The change of power at"),
        ({"what": ["no", "word"]}, "The meter finds its readings unusual", "home, grid reports"),
    ],
)
async def test_what_a_meter_found_is_said_in_words(
    site: Site, told: dict[str, object], title: str, part: str
) -> None:
    await site.deriver.load()
    desk = EventDesk(site.deriver)
    desk.take("home", {"kind": "anomaly", "channel": "grid"} | told, site.now.wall)
    async with asyncio.timeout(30):
        while not site.deriver.desk.book.open_alerts:
            await moment()
    (alert,) = site.deriver.desk.book.open_alerts
    assert alert.title.startswith(title)
    assert part in alert.detail
    assert "home, grid" in alert.detail
    desk._end("home", "grid", site.now.wall + 901_000)  # noqa: SLF001 - no timer stays behind


def test_a_meter_s_defect_is_logged(site: Site) -> None:
    event: dict[str, object] = {"kind": "defect", "part": "cmd", "detail": "x" * 999}
    with capture_logs() as said:
        EventDesk(site.deriver).take("home", event, site.now.wall)
    [line] = said
    assert (line["event"], line["meter"], line["part"]) == ("meter_defect", "home", "cmd")
    assert line["detail"] == "x" * 120


async def test_every_change_is_audited_once_and_refused_ones_are_not(office: Office) -> None:
    await office.call("meters.add", id="attic", label="Dach")
    bo: dict[str, object] = {"name": "bo", "role": "viewer", "password": "a secret word"}
    await office.operations.call("users.add", bo, "ann")
    await office.call("users.list")
    with pytest.raises(BadInputError):
        await office.call("meters.update", id="attic", label="x" * 100)
    entries = [(entry.who, entry.what, entry.detail) for entry in await office.people.audit(9)]
    assert entries == [
        ("ann", "user_added", "bo viewer"),
        ("ann", "meters.add", "id=attic label=Dach"),
    ]


async def test_operations_of_others_are_offered_and_audit_themselves(office: Office) -> None:
    async def hello(args: Mapping[str, object], who: str) -> dict[str, object]:
        return {"who": who, **args}

    office.operations.offer({"greet": hello})
    assert await office.call("greet", to="you") == {"who": "ann", "to": "you"}
    assert await office.people.audit(9) == []

"""A model that is made does not hold up the judging: live readings go on, history waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from gateway.adapters import fit_process
from gateway.adapters.fit_process import FitFailedError, fit_in_process
from gateway.domain.alerts import AlertKind
from gateway.services.fitting import Fitted, History
from gateway.services.refits import fit_in_thread
from tests.gateway.services.site_rig import START_MS, Site, windows
from tests.support.model_rig import bucket_of, champion
from tests.support.small_home import small_home
from tinymodels.detect.combined import CombinedModel
from tinymodels.detect.contract import Options
from tinymodels.detect.minutes import DAY_MS, Minutes

OPTIONS = Options(ZoneInfo("UTC"), 4.0)


class SlowFit:
    """Gives a model, or an error, once it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[tuple[CombinedModel | None, int]] = []
        self.error: Exception | None = None

    async def __call__(
        self, _: History, __: Options, old: CombinedModel | None, before_ms: int
    ) -> Fitted | None:
        self.asked.append((old, before_ms))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        model = champion().without_rule()
        return Fitted(model, model.dump_state(model.new_state()), "first fit", 80.0)


@pytest.fixture
async def fit() -> SlowFit:
    champion()  # made once, before anybody waits
    return SlowFit()


@pytest.fixture
async def site(tmp_path: Path, fit: SlowFit) -> AsyncIterator[Site]:
    with Site(tmp_path / "s.db") as made:
        made.deriver._refits._fit = fit  # noqa: SLF001 - in place of a thread
        yield made


async def due(site: Site, meter: str = "home") -> None:
    """Have a meter's first minutes judged, after which its model is due, once."""
    await site.derive()
    (track,) = [one for one in site.deriver.tracks.values() if one.info.id == meter]
    asked = iter([["grid"]])
    track.judge.wants_fit = lambda: next(asked, [])  # type: ignore[method-assign]


async def stepped(site: Site, until: Callable[[], object]) -> None:
    """Judge until something is so."""
    async with asyncio.timeout(90):
        while not until():
            await site.deriver.step()
            await asyncio.sleep(0.001)


async def test_live_readings_are_judged_while_a_model_is_made(site: Site, fit: SlowFit) -> None:
    site.live(windows(0, 70))
    await due(site)
    site.live(windows(71, 400))
    await stepped(site, lambda: site.deriver.row == 401 and fit.asked)
    (track,) = site.deriver.tracks.values()
    assert (track.row, site.deriver.judged_row) == (401, 401)
    assert "grid" not in track.judge.models
    fit.go.set()
    await stepped(site, lambda: "grid" in track.judge.models)
    # It has been told of the minutes that came meanwhile.
    memory = track.judge.models["grid"].load_state(track.judge.memory("grid"))
    assert memory.signals.rows[-1].start_ms == START_MS + 5 * 60_000
    assert site.query("SELECT channel, kind FROM models") == [("grid", "combined")]


async def test_history_waits_for_its_model_and_others_go_on(site: Site, fit: SlowFit) -> None:
    site.add_meter("old", recorded=True)
    site.send(windows(0, 70), "old")
    site.live(windows(0, 70))
    await due(site, "old")
    site.live(windows(71, 130))
    site.send(windows(71, 130), "old")
    site.live(windows(131, 140))
    await stepped(site, lambda: fit.asked and site.deriver.row == 272)
    old, live = site.deriver.tracks.values()
    assert (old.info.id, live.row) == ("old", 272)
    assert site.deriver.judged_row == old.row < 262
    settling = asyncio.ensure_future(site.deriver.settle())
    await asyncio.sleep(0.05)
    assert not settling.done()
    fit.go.set()
    await settling
    assert (old.row, site.deriver.judged_row) == (262, 272)
    assert "grid" in old.judge.models


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_fit_that_a_crash_or_a_stop_cut_off_is_asked_for_again(
    site: Site,
    fit: SlowFit,
    recorded: bool,  # noqa: FBT001 - what pytest hands over
) -> None:
    site.add_meter("home", recorded=recorded)
    (site.send if recorded else site.live)(windows(0, 70))
    await due(site)
    (site.send if recorded else site.live)(windows(71, 130))
    await stepped(site, lambda: fit.asked and site.deriver.row == 131)
    (before,) = site.deriver.tracks.values()
    if not recorded:  # a crash takes it back to where its model became due
        await site.deriver.drain()
    await site.restart_deriving()
    again = SlowFit()
    site.deriver._refits._fit = again  # noqa: SLF001 - in place of a thread
    await stepped(site, lambda: again.asked)
    (track,) = site.deriver.tracks.values()
    assert again.asked == fit.asked  # as of the same minute
    assert track.row == before.row
    assert track.awaits == ({"grid"} if recorded else set())
    again.go.set()
    await stepped(site, lambda: "grid" in track.judge.models)
    await site.deriver.settle()
    assert (track.row, track.asked) == (131, {})
    await site.restart_deriving()
    assert not site.deriver._refits._queue  # noqa: SLF001 - nothing is asked for twice


async def test_a_fit_that_fails_is_told_and_holds_nothing_up(site: Site, fit: SlowFit) -> None:
    site.add_meter("home", recorded=True)
    site.send(windows(0, 70))
    await due(site)
    fit.error = FitFailedError("the process that fits ended with -9")
    fit.go.set()
    site.send(windows(71, 130))
    await site.derive()
    assert site.deriver.judged_row == 131
    (alert,) = site.deriver.desk.book.open_alerts
    assert alert.key == ("home", "grid", AlertKind.DETECTOR_FAILED)
    assert "ended with -9" in alert.detail


def history(minutes: Minutes) -> History:
    return History([bucket_of(row) for row in minutes.rows()], {})


@pytest.mark.timeout(120)
async def test_a_process_makes_the_same_model_as_a_thread() -> None:
    minutes = small_home(15, seed=3)
    before_ms = int(minutes.start_ms[-1]) - DAY_MS // 2
    old = champion()
    in_process = await fit_in_process(history(minutes), OPTIONS, old, before_ms)
    in_thread = await fit_in_thread(history(minutes), OPTIONS, old, before_ms)
    assert in_process is not None
    assert in_thread is not None
    assert in_process.model.to_bytes() == in_thread.model.to_bytes()
    assert in_process[1:3] == in_thread[1:3]
    assert in_process.peak_mb is not None
    assert 20 < in_process.peak_mb < 150
    assert await fit_in_process(history(small_home(3)), OPTIONS, None, 2**62) is None


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (msgspec.msgpack.encode(([], "UTC", 4.0, True, 1, b"none", 0)), "no combined"),
        (b"\xc1", "DecodeError"),
    ],
)
async def test_what_becomes_of_a_process_that_fails(
    monkeypatch: pytest.MonkeyPatch, order: bytes, why: str
) -> None:
    monkeypatch.setattr(
        fit_process, "order_of", lambda *_: (len(order).to_bytes(4, "big") + order, b"")
    )
    with pytest.raises(FitFailedError, match=why):
        await fit_in_process(history(small_home(1)), OPTIONS, None, 2**62)

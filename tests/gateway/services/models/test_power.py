"""The power goes at each write of a model's way: the old or the new one judges afterwards."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.store.database import Database
from tests.support.bad_models import CHANNEL, METER, good_package
from tests.support.model_rig import ModelSite, champion

KILLED, DONE = 9, 0
MOST_WRITES = 60


class Fuse:
    """Ends the process at a write: before it, or after it is on the disk."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._number = number
        self._after = after
        self.count = 0

    def put_into(self, patch: pytest.MonkeyPatch) -> None:
        """Count every write from now on."""
        real: Any = Database.write

        async def write(database: Database, work: Any) -> Any:  # noqa: ANN401
            self.count += 1
            if self.count == self._number and not self._after:
                os._exit(KILLED)
            done = await real(database, work)
            if self.count == self._number:
                os._exit(KILLED)
            return done

        patch.setattr(Database, "write", write)


async def whole_way(path: Path, fuse: Fuse | None = None) -> None:
    """Two models come, judge one after the other, and the second is taken back."""
    site = ModelSite(path)
    await site.load()
    with pytest.MonkeyPatch.context() as patch:
        if fuse is not None:
            fuse.put_into(patch)
        for version in (1, 2):
            pulled = await site.add(good_package(version))
            await site.care.look()
            await site.care.activate_by_hand(pulled.path, METER, who="ada", force=False)
        await site.care.roll_back_by_hand("", "", who="ada")
        await site.care.close()
    site.stop()


def killed(path: Path, fuse: Fuse) -> bool:
    """Go the whole way in a process of its own; tell whether the fuse ended it."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(whole_way(path, fuse))
        except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
            os._exit(1)
        os._exit(DONE)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (KILLED, DONE)
    return code == KILLED


async def check(path: Path) -> str:
    """Start anew: one model judges, it is the one the disk says, and the way can be gone on."""
    site = ModelSite(path)
    await site.load()
    rows = site.site.query("SELECT pulled_no, state FROM model_trials")
    active = [no for no, state in rows if state == "active"]
    assert len(active) <= 1
    judging = site.track.judge.models[CHANNEL]
    if active:
        assert judging is site.care.chosen(METER)[CHANNEL]
        assert judging.kind == "charts"
    else:
        assert site.champion_judges
    events = [what for what, _ in await site.told()]
    assert events.count("activated") >= len(active)
    await site.care.look()
    for pulled in site.care.pulled.values():
        assert site.state(pulled)  # whatever was stored is on its way again
    pulled = await site.add(good_package(3))
    await site.care.look()
    await site.care.activate_by_hand(pulled.path, METER, who="ada", force=False)
    assert site.state(pulled) == "active"
    site.stop()
    return f"{active} {[state for _, state in rows]}"


@pytest.mark.soak  # minutes: a process and a site for each write
@pytest.mark.parametrize("after", [False, True])
def test_no_write_can_be_cut_so_that_nothing_judges(tmp_path: Path, *, after: bool) -> None:
    champion()  # fitted once, before the processes part
    seen = set()
    for number in range(1, MOST_WRITES):
        path = tmp_path / f"{number}.db"
        if not killed(path, Fuse(number, after=after)):
            break
        seen.add(asyncio.run(check(path)))
    else:
        pytest.fail("the way has no end")
    assert number > 6  # writes of the whole way
    assert any("active" in one for one in seen)
    assert any("rolled_back" in one for one in seen)
    assert any("active" not in one for one in seen)

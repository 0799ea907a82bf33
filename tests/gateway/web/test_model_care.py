"""Models over HTTP: everybody sees them, administrators have one judge, or the one before."""

from collections.abc import Mapping

import pytest

from gateway.domain.errors import BadInputError
from tests.gateway.web.rig import Rig, assert_problem

PATH = "stable/charts-pooled-grid-7.wwm"
SHADOW = {
    "meter": "kitchen", "channel": "grid", "kind": "charts", "slot": "shadow", "version": "7",
    "fitted_ms": None, "where": "gateway", "path": PATH, "state": "shadow", "since_ms": 5,
    "why": "", "minutes": 1440, "alarms": 1, "champion_alarms": 2, "step_us": 9.5, "healthy": None,
}  # fmt: skip


@pytest.fixture
def asked(rig: Rig) -> list[tuple[str, dict[str, object], str]]:
    """Offer the operations; give what was asked of them."""
    calls: list[tuple[str, dict[str, object], str]] = []

    async def show(_: Mapping[str, object], __: str) -> dict[str, object]:
        return {"items": [SHADOW], "next": None}

    async def activate(args: Mapping[str, object], who: str) -> dict[str, object]:
        calls.append(("activate", dict(args), who))
        if args["path"] != PATH:
            msg = f"{args['path']} was rejected on kitchen; add --force"
            raise BadInputError(msg)
        return {"activated": [{"meter": "kitchen", "channel": "grid"}]}

    async def roll_back(args: Mapping[str, object], who: str) -> dict[str, object]:
        calls.append(("rollback", dict(args), who))
        return {"now": ["kitchen grid: gaussian, fitted here"]}

    rig.operations.others |= {
        "models.list": show, "models.activate": activate, "models.rollback": roll_back,
    }  # fmt: skip
    return calls


async def test_a_trial_is_shown_with_what_it_has_seen(rig: Rig, asked: list[object]) -> None:
    async with rig.login("vera") as client:
        (shown,) = (await client.get("/api/v1/models")).json()["items"]
    assert shown == SHADOW
    assert asked == []


async def test_an_administrator_has_a_model_judge_and_goes_back(
    rig: Rig, asked: list[object]
) -> None:
    async with rig.login("ada") as client:
        done = await client.post("/api/v1/models/activate", json={"path": PATH})
        assert done.json() == {"activated": [{"meter": "kitchen", "channel": "grid"}]}
        back = await client.post("/api/v1/models/rollback", json={"meter": "kitchen"})
        assert back.json() == {"now": ["kitchen grid: gaussian, fitted here"]}
        bad = await client.post("/api/v1/models/activate", json={"path": "canary/bad.wwm"})
        assert_problem(bad, 422)
        assert "was rejected" in bad.json()["detail"]
    assert asked[:2] == [
        ("activate", {"path": PATH, "meter": "", "force": False}, "ada"),
        ("rollback", {"meter": "kitchen", "channel": ""}, "ada"),
    ]


@pytest.mark.parametrize("name", ["otto", "vera"])
async def test_nobody_else_changes_what_judges(rig: Rig, asked: list[object], name: str) -> None:
    async with rig.login(name) as client:
        for path, body in (("activate", {"path": PATH}), ("rollback", {})):
            assert_problem(await client.post(f"/api/v1/models/{path}", json=body), 403)
    assert asked == []

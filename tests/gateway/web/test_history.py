"""Series and energy over HTTP: shape, parameters, ETags, compression."""

import gzip

import pytest

from gateway.services.energy import EnergyQuery
from gateway.services.series import SeriesQuery
from tests.gateway.web.rig import NOW_MS, FakeHistory, Rig, assert_problem

SERIES = "/api/v1/meters/kitchen/series"
ENERGY = "/api/v1/meters/kitchen/energy"


def asked(rig: Rig) -> SeriesQuery | EnergyQuery:
    assert isinstance(rig.history, FakeHistory)
    return rig.history.asked[-1]


async def test_a_series_has_one_column_a_field(rig: Rig) -> None:
    async with rig.login("vera") as client:
        found = (await client.get(SERIES, params={"fields": "p,v,p"})).json()
    assert list(found) == ["resolution", "t", "p", "v", "gaps"]
    assert len(found["t"]) == len(found["p"]) == len(found["v"]) == 60
    assert found["p"][-1] is None
    assert found["gaps"] == [{"from": NOW_MS, "to": NOW_MS + 1, "state": "final"}]
    wanted = SeriesQuery("kitchen", "grid", ("p", "v"), NOW_MS - 86_400_000, NOW_MS)
    assert asked(rig) == wanted


async def test_times_are_iso_or_unix_ms(rig: Rig) -> None:
    async with rig.login("vera") as client:
        params = {"start": "2025-11-01", "end": "1763760000000", "resolution": "1h"}
        assert (await client.get(SERIES, params=params)).status_code == 200
    query = asked(rig)
    assert isinstance(query, SeriesQuery)
    assert (query.start_ms, query.end_ms, query.resolution) == (
        1_761_955_200_000, 1_763_760_000_000, "1h",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("fields=p,x", "fields"),
        ("fields=", "fields"),
        ("resolution=2m", "resolution"),
        ("channel=Grid", "channel"),
        ("start=yesterday", "start"),
        ("start=--5", "start"),
        ("start=" + "9" * 40, "start"),
        ("start=5&end=5", "end"),
        ("points=1", "points"),
    ],
)
async def test_nonsense_is_named(rig: Rig, query: str, named: str) -> None:
    async with rig.login("vera") as client:
        answer = await client.get(f"{SERIES}?{query}")
    assert_problem(answer, 422)
    assert named in answer.json()["detail"]


async def test_energy_is_a_list_of_intervals_without_a_price(rig: Rig) -> None:
    async with rig.login("vera") as client:
        params = {"start": "2025-11-01", "end": "2025-11-03", "by": "day"}
        found = (await client.get(ENERGY, params=params)).json()
        assert_problem(await client.get(ENERGY, params={"by": "week"}), 422)
    assert (found["by"], found["timezone"], found["next"]) == ("day", "UTC", None)
    assert found["items"][0] == {
        "from": 1_761_955_200_000,
        "to": 1_762_041_600_000,
        "channels": {"grid": {"kwh_in": 1.5, "kwh_out": 0.0, "estimated": False}},
        "solar": None,
        "cost": None,
        "partial": False,
    }


@pytest.mark.parametrize("path", [SERIES, ENERGY])
async def test_what_did_not_change_is_not_sent_again(rig: Rig, path: str) -> None:
    async with rig.login("vera") as client:
        first = await client.get(path)
        etag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, no-cache"
        for held in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
            again = await client.get(path, headers={"If-None-Match": held})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == etag
        assert (await client.get(path, headers={"If-None-Match": '"x"'})).status_code == 200
    async with rig.client() as stranger:
        assert_problem(await stranger.get(path, headers={"If-None-Match": etag}), 401)


async def test_answers_are_compressed_for_those_who_can(rig: Rig) -> None:
    fields = {"fields": "p,v,q,i"}
    async with rig.login("vera") as client:
        plain = await client.get(SERIES, params=fields, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        request = client.build_request("GET", SERIES, params=fields)
        packed = await client.send(request, stream=True)
        raw = b"".join([chunk async for chunk in packed.aiter_raw()])
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 2


async def test_an_unknown_meter_is_not_found(rig: Rig) -> None:
    async with rig.login("vera") as client:
        for name in ("series", "energy"):
            assert_problem(await client.get(f"/api/v1/meters/none/{name}"), 404)

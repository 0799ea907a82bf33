"""What the API shows, and what it passes on: status, meters, alerts, probes."""

import pytest

from tests.gateway.web.rig import NOW_MS, Rig, alert_view, assert_problem, meter_view

API = "/api/v1"


async def test_an_alert_has_the_contract_s_keys_and_muted(rig: Rig) -> None:
    async with rig.login("vera") as client:
        page = (await client.get(f"{API}/alerts")).json()
        one = (await client.get(f"{API}/alerts/a1")).json()
    assert page == {"items": [one], "next": None}
    assert one == {
        "id": "a1",
        "meter": "kitchen",
        "channel": None,
        "kind": "over_voltage",
        "severity": "critical",
        "state": "open",
        "opened": NOW_MS,
        "updated": NOW_MS + 1000,
        "resolved": None,
        "count": 3,
        "title": "Voltage too high",
        "detail": "268.1 V for 3 s, above 264.5 V.",
        "evidence": {"voltage_v": 268.1, "limit_v": 264.5},
        "snoozed_until": None,
        "muted": False,
        "history": [{"at": NOW_MS, "who": "system", "what": "opened"}],
    }


async def test_alerts_are_paged_newest_first(rig: Rig) -> None:
    for number in range(25):
        rig.views.alerts[f"b{number:02}"] = alert_view(f"b{number:02}", opened_ms=number // 2)
    found: list[tuple[int, str]] = []
    cursor: dict[str, str] = {}
    async with rig.login() as client:
        while True:
            page = (await client.get(f"{API}/alerts", params={"limit": "7", **cursor})).json()
            found += [(item["opened"], item["id"]) for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
    assert len(found) == 26
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("state=open", 1),
        ("state=all&severity=critical&meter=kitchen", 1),
        ("state=resolved", 0),
        ("severity=warning", 0),
        ("meter=attic", 0),
    ],
)
async def test_alerts_are_filtered(rig: Rig, query: str, count: int) -> None:
    async with rig.login() as client:
        assert len((await client.get(f"{API}/alerts?{query}")).json()["items"]) == count


@pytest.mark.parametrize(
    "query",
    [
        "state=odd",
        "severity=bad",
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=%00",
        "cursor=AAAA",
        "cursor=" + "A" * 300,
        "cursor=ä",
    ],
)
async def test_nonsense_in_a_query_is_named(rig: Rig, query: str) -> None:
    async with rig.login() as client:
        answer = await client.get(f"{API}/alerts?{query}")
    assert_problem(answer, 422)
    assert query.partition("=")[0] in answer.json()["detail"]


async def test_operations_are_called_with_checked_arguments(rig: Rig) -> None:
    patch = {"label": "Küche", "channels": {"grid": {"rating_a": None}, "load1": {"role": "load"}}}
    async with rig.login() as client:
        answer = await client.post(f"{API}/alerts/a1/acknowledge")
        assert answer.json()["state"] == "acknowledged"
        assert answer.json()["history"][-1]["who"] == "ada"
        await client.post(f"{API}/alerts/a1/snooze", json={"minutes": 30})
        await client.post(f"{API}/alerts/a1/verdict", json={"right": False})
        assert (await client.patch(f"{API}/meters/kitchen", json=patch)).json()["label"] == "Küche"
    assert rig.operations.calls == [
        ("alerts.acknowledge", {"id": "a1"}, "ada"),
        ("alerts.snooze", {"id": "a1", "minutes": 30}, "ada"),
        ("alerts.verdict", {"id": "a1", "right": False, "note": ""}, "ada"),
        ("meters.update", {"id": "kitchen", **patch}, "ada"),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("alerts/a1/snooze", '{"minutes":0}'),
        ("alerts/a1/snooze", '{"minutes":"5"}'),
        ("alerts/a1/snooze", '{"minutes":1e400}'),
        ("alerts/a1/verdict", '{"right":"yes"}'),
        ("alerts/a1/verdict", '{"right":true,"note":"\\u0000"}'),
        ("alerts/a1/verdict", '{"right":true,"note":"\\ud800"}'),
        ("meters/kitchen", "{}"),
        ("meters/kitchen", '{"label":null}'),
        ("meters/kitchen", '{"channels":{"grid":{"rating_a":-1}}}'),
        ("meters/kitchen", '{"channels":{"grid":{"rating_a":NaN}}}'),
        ("meters/kitchen", '{"channels":{"grid":{"role":null}}}'),
        ("meters/kitchen", '{"channels":{"Grid":{"role":"grid"}}}'),
        ("meters/kitchen", '{"channels":{"grid":{"role":"boiler"}}}'),
        ("meters/kitchen", '{"id":"other"}'),
    ],
)
async def test_nonsense_in_a_body_changes_nothing(rig: Rig, path: str, body: str) -> None:
    method = "PATCH" if path.startswith("meters") else "POST"
    async with rig.login() as client:
        answer = await client.request(
            method, f"{API}/{path}", content=body, headers={"content-type": "application/json"}
        )
    assert_problem(answer, 422)
    assert rig.operations.calls == []


async def test_meters_show_their_last_reading_and_versions(rig: Rig) -> None:
    rig.views.meters["attic"] = meter_view("attic")
    async with rig.login("vera") as client:
        first = (await client.get(f"{API}/meters?limit=1")).json()
        second = (await client.get(f"{API}/meters?limit=1&cursor={first['next']}")).json()
        one = (await client.get(f"{API}/meters/kitchen")).json()
    assert [item["id"] for item in first["items"]] == ["attic"]
    assert second == {"items": [one], "next": None}
    assert one["versions"] == {"fw": "1.2.0", "model": 7, "cal": 3}
    assert one["channels"] == {"grid": {"role": "grid", "rating_a": 30.0}}
    assert one["online"] is True
    assert one["last"]["t"] == NOW_MS
    assert one["last"]["ch"]["grid"]["p"] == 871.2
    assert one["last"]["flags"] == ["clip"]
    assert one["diagnostics"] == {
        "rssi_dbm": -61, "heap_bytes": 81_234, "backlog": 0, "up_ms": 3_600_000, "starts": 17,
    }  # fmt: skip


async def test_status_joins_store_and_process(rig: Rig) -> None:
    async with rig.login("vera") as client:
        status = (await client.get(f"{API}/status")).json()
    assert status["version"] == "1.0"
    assert status["uptime"] == 12_500
    assert status["services"] == {"mqtt": {"state": "running", "error": "", "retries": 0}}
    assert status["backlog"] == {"ingest": 4, "judge": 0, "cloud": 0}
    assert status["dead_letters"] == {"json": 2}
    assert status["alerts"] == {"warning": 0, "critical": 1}
    assert status["clock"] == {"trusted": True}
    assert status["offline_days_left"] is None


async def test_readiness_names_what_is_missing(rig: Rig) -> None:
    async with rig.client(address="192.168.1.7") as client:
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        rig.unready = {"mqtt": "retrying: connection refused"}
        answer = await client.get("/readyz")
        assert_problem(answer, 503)
        assert "mqtt: retrying: connection refused" in answer.json()["detail"]
        assert (await client.get("/healthz")).json() == {"status": "ok"}

"""Users, tokens, the first account and the audit over HTTP: for administrators alone."""

import pytest

from gateway.services.accounts import DAY_MS
from gateway.services.first_run import VALID_MS
from tests.gateway.web.rig import PASSWORD, Rig, assert_problem

API = "/api/v1"
ADMINS_ONLY = [
    ("GET", "users"),
    ("POST", "users"),
    ("POST", "users/otto/password"),
    ("DELETE", "users/otto"),
    ("GET", "tokens"),
    ("POST", "tokens"),
    ("DELETE", "tokens/grafana"),
    ("GET", "audit"),
]


async def make_token(rig: Rig, role: str = "viewer", days: int = 30) -> str:
    async with rig.login() as admin:
        body = {"name": "grafana", "role": role, "days": days}
        answer = await admin.post(f"{API}/tokens", json=body)
    assert answer.status_code == 201
    return str(answer.json()["token"])


@pytest.mark.parametrize(("method", "path"), ADMINS_ONLY)
@pytest.mark.parametrize("name", ["otto", "vera"])
async def test_only_administrators_manage_people(
    rig: Rig, name: str, method: str, path: str
) -> None:
    body = {"name": "x", "role": "admin", "days": 5, "password": PASSWORD}
    keys = {"tokens": ("name", "role", "days"), "users": ("name", "role", "password")}.get(path)
    sent = {key: body[key] for key in keys or ("password",)} if method == "POST" else None
    async with rig.login(name) as client:
        assert_problem(await client.request(method, f"{API}/{path}", json=sent), 403)
    assert len(await rig.accounts.users()) == 3


async def test_people_come_change_and_go(rig: Rig) -> None:
    async with rig.login() as admin:
        new = {"name": "nina", "role": "viewer", "password": PASSWORD}
        assert (await admin.post(f"{API}/users", json=new)).status_code == 201
        assert_problem(await admin.post(f"{API}/users", json=new), 422)
        found = (await admin.get(f"{API}/users")).json()
        assert [user["name"] for user in found["items"]] == ["ada", "nina", "otto", "vera"]
        assert "password" not in str(found)
        async with rig.login("nina") as nina:
            body = {"password": "another pass phrase"}
            changed = await admin.post(f"{API}/users/nina/password", json=body)
            assert changed.status_code == 204
            assert_problem(await nina.get(f"{API}/auth/me"), 401)
        assert (await admin.delete(f"{API}/users/nina")).status_code == 204
        assert_problem(await admin.delete(f"{API}/users/nina"), 404)


async def test_the_last_administrator_cannot_be_removed(rig: Rig) -> None:
    async with rig.login() as admin:
        refused = await admin.delete(f"{API}/users/ada")
        assert_problem(refused, 409)
        assert "last administrator" in refused.json()["detail"]
        assert (await admin.get(f"{API}/auth/me")).status_code == 200
        new = {"name": "eve", "role": "admin", "password": PASSWORD}
        assert (await admin.post(f"{API}/users", json=new)).status_code == 201
        assert (await admin.delete(f"{API}/users/ada")).status_code == 204


async def test_a_token_logs_a_script_in_with_its_role(rig: Rig) -> None:
    token = await make_token(rig)
    bearer = {"Authorization": f"Bearer {token}"}
    async with rig.client(address="192.168.1.7") as script:
        assert (await script.get(f"{API}/meters", headers=bearer)).status_code == 200
        me = (await script.get(f"{API}/auth/me", headers=bearer)).json()
        assert me == {"username": "token:grafana", "role": "viewer"}
        url = f"{API}/alerts/a1/acknowledge"
        assert_problem(await script.post(url, headers=bearer), 403)
    async with rig.login() as admin:
        (kept,) = (await admin.get(f"{API}/tokens")).json()["items"]
        assert kept["seen"] == rig.now_ms
        assert token not in str(kept)
        assert (await admin.delete(f"{API}/tokens/grafana")).status_code == 204
        assert_problem(await admin.delete(f"{API}/tokens/grafana"), 404)
    async with rig.client() as script:
        assert_problem(await script.get(f"{API}/meters", headers=bearer), 401)


async def test_a_token_of_an_operator_acts_under_its_own_name(rig: Rig) -> None:
    bearer = {"Authorization": f"Bearer {await make_token(rig, 'operator')}"}
    async with rig.client() as script:
        url = f"{API}/alerts/a1/acknowledge"
        assert (await script.post(url, headers=bearer)).status_code == 200
    assert rig.operations.calls[-1][2] == "token:grafana"


async def test_a_token_ends(rig: Rig) -> None:
    bearer = {"Authorization": f"Bearer {await make_token(rig, days=3)}"}
    async with rig.client() as script:
        rig.now_ms += 3 * DAY_MS - 1
        assert (await script.get(f"{API}/meters", headers=bearer)).status_code == 200
        rig.now_ms += 1
        assert_problem(await script.get(f"{API}/meters", headers=bearer), 401)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer x", "Basic YWRhOmFkYQ==", "", "ä"])
async def test_odd_authorizations_are_refused_even_beside_a_cookie(rig: Rig, header: str) -> None:
    async with rig.login() as client:
        headers = {"Authorization": header.encode()}
        answer = await client.get(f"{API}/meters", headers=headers)  # type: ignore[arg-type]
        assert_problem(answer, 401)
        assert "Bearer" in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b", "role": "viewer"},
        {"name": "x", "role": "root"},
        {"name": "x", "role": "viewer", "days": 0},
        {"name": "x", "role": "viewer", "days": 3651},
        {"name": "x", "role": "viewer", "days": "5"},
        {"name": "x", "role": "viewer", "token": "mine"},
    ],
)
async def test_nonsense_makes_no_token(rig: Rig, body: dict[str, object]) -> None:
    async with rig.login() as admin:
        assert_problem(await admin.post(f"{API}/tokens", json=body), 422)
    assert await rig.tokens.tokens() == []


async def test_the_audit_is_paged_newest_first(rig: Rig) -> None:
    for number in range(7):
        await rig.accounts.note("root", "did", str(number))
    found: list[str] = []
    cursor: dict[str, str] = {}
    async with rig.login() as admin:
        while True:
            page = (await admin.get(f"{API}/audit", params={"limit": "3", **cursor})).json()
            found += [item["detail"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert_problem(await admin.get(f"{API}/audit?cursor=x"), 422)
    assert found[:8] == ["127.0.0.1", *(str(k) for k in reversed(range(7)))]
    assert len(found) == len(await rig.store.audit(100))


async def test_the_first_account_is_made_with_a_code_once() -> None:
    rig = Rig()
    first = {"username": "ada", "password": PASSWORD}
    async with rig.client(address="192.168.1.7") as client:
        assert (await client.get(f"{API}/setup")).json() == {"needed": True}
        assert_problem(await client.post(f"{API}/setup", json={"code": "AAAA", **first}), 401)
        code, _ = await rig.first_run.new_code("root")
        old, code = code, (await rig.first_run.new_code("root"))[0]
        assert_problem(await client.post(f"{API}/setup", json={"code": old, **first}), 401)
        body = {"code": code.lower().replace("-", " "), **first}
        made = await client.post(f"{API}/setup", json=body)
        assert (made.status_code, made.json()) == (201, {"username": "ada", "role": "admin"})
        assert (await client.get(f"{API}/setup")).json() == {"needed": False}
        assert_problem(await client.post(f"{API}/setup", json=body), 422)
        assert (await client.post(f"{API}/auth/login", json=first)).status_code == 200
    assert code not in str(await rig.store.audit(10))
    rig.passwords.close()


async def test_an_old_code_and_guesses_do_not_help() -> None:
    rig = Rig()
    first = {"username": "ada", "password": PASSWORD}
    code, _ = await rig.first_run.new_code("root")
    async with rig.client() as client:
        for _ in range(5):
            guess = {"code": "2222-2222-2222", **first}
            assert_problem(await client.post(f"{API}/setup", json=guess), 401)
        locked = await client.post(f"{API}/setup", json={"code": code, **first})
        assert_problem(locked, 429)
        assert locked.headers["retry-after"] == "1"
        rig.now_s += 1000
        rig.now_ms += VALID_MS
        late = await client.post(f"{API}/setup", json={"code": code, **first})
        assert_problem(late, 401)
    assert await rig.accounts.users() == []
    rig.passwords.close()


async def test_setup_from_another_site_is_refused() -> None:
    rig = Rig()
    code, _ = await rig.first_run.new_code("root")
    body = {"code": code, "username": "eve", "password": PASSWORD}
    async with rig.client() as client:
        headers = {"Origin": "http://evil.example"}
        assert_problem(await client.post(f"{API}/setup", json=body, headers=headers), 403)
    assert await rig.first_run.needed()
    rig.passwords.close()

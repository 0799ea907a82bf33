"""People change their own passwords: with the old one, in any role, and no token can."""

import pytest

from tests.gateway.web.rig import PASSWORD, Rig, assert_problem

API = "/api/v1"
OWN = f"{API}/auth/password"
NEW = "another pass phrase"


@pytest.mark.parametrize("name", ["ada", "otto", "vera"])
async def test_everybody_changes_the_own_password_and_stays_logged_in(rig: Rig, name: str) -> None:
    async with rig.login(name) as here, rig.login(name) as elsewhere, rig.login("ada") as admin:
        answer = await here.post(OWN, json={"old": PASSWORD, "new": NEW})
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await here.get(f"{API}/auth/me")).json()["username"] == name
        assert_problem(await elsewhere.get(f"{API}/auth/me"), 401)
        assert (await admin.get(f"{API}/auth/me")).status_code == (401 if name == "ada" else 200)
        for word, status in ((PASSWORD, 401), (NEW, 200)):
            body = {"username": name, "password": word}
            assert (await here.post(f"{API}/auth/login", json=body)).status_code == status
    told = [(entry.who, entry.what) for entry in await rig.store.audit(10)]
    assert (name, "own_password_changed") in told


async def test_wrong_old_passwords_change_nothing_and_lock_out_as_logins_do(rig: Rig) -> None:
    async with rig.login("vera") as client:
        for _ in range(5):
            answer = await client.post(OWN, json={"old": "wrong wrong", "new": NEW})
            assert_problem(answer, 422)
            assert answer.json()["detail"] == "old: is not your password"
        locked = await client.post(OWN, json={"old": PASSWORD, "new": NEW})
        assert_problem(locked, 429)
        assert int(locked.headers["retry-after"]) >= 1
        body = {"username": "vera", "password": PASSWORD}
        assert_problem(await client.post(f"{API}/auth/login", json=body), 429)
        rig.now_s += 60
        assert (await client.post(OWN, json={"old": PASSWORD, "new": NEW})).status_code == 204
    told = [(entry.who, entry.what) for entry in await rig.store.audit(20)]
    assert told.count(("vera", "password_refused")) == 5


@pytest.mark.parametrize("new", ["short", "x" * 1025, None])
async def test_a_new_password_has_the_length_of_any_other(rig: Rig, new: str | None) -> None:
    async with rig.login("vera") as client:
        answer = await client.post(OWN, json={"old": PASSWORD, "new": new})
        assert_problem(answer, 422)
        assert "x" * 9 not in answer.text
        assert_problem(await client.post(OWN, json={"new": NEW}), 422)


async def test_a_token_has_no_password_to_change(rig: Rig) -> None:
    text, _ = await rig.tokens.add("ada", "admin", 30, "ada")
    async with rig.client() as script:
        headers = {"Authorization": f"Bearer {text}"}
        body = {"old": PASSWORD, "new": NEW}
        assert_problem(await script.post(OWN, json=body, headers=headers), 403)

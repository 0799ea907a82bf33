"""Logging in: cookies, fixation, expiry, lock-out, and nothing told to guessers."""

import asyncio

import httpx
import pytest

from gateway.adapters.passwords import MEMORY_KIB, PASSES
from gateway.services.accounts import IDLE_LIMIT_MS, SESSION_LIMIT_MS
from gateway.web.deps import COOKIE
from tests.gateway.web.rig import PASSWORD, Rig, assert_problem

LOGIN = "/api/v1/auth/login"
ME = "/api/v1/auth/me"


async def try_login(
    client: httpx.AsyncClient, name: str = "ada", password: str = PASSWORD
) -> httpx.Response:
    return await client.post(LOGIN, json={"username": name, "password": password})


async def test_login_sets_a_strict_cookie_and_logout_ends_the_session(rig: Rig) -> None:
    async with rig.client() as client:
        answer = await try_login(client)
        assert answer.json() == {"username": "ada", "role": "admin"}
        cookie = answer.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=2592000"):
            assert part in cookie
        assert "Secure" not in cookie
        assert (await client.get(ME)).json() == {"username": "ada", "role": "admin"}
        token = client.cookies[COOKIE]
        assert (await client.post("/api/v1/auth/logout")).status_code == 204
        assert COOKIE not in client.cookies
        client.cookies.set(COOKIE, token)
        assert_problem(await client.get(ME), 401)


async def test_cookie_is_secure_over_https(rig: Rig) -> None:
    async with rig.client(scheme="https") as client:
        assert "Secure" in (await try_login(client)).headers["set-cookie"]


async def test_a_planted_or_older_token_is_never_taken_over(rig: Rig) -> None:
    async with rig.client() as client:
        client.cookies.set(COOKIE, "planted", domain="127.0.0.1", path="/")
        await try_login(client)
        first = client.cookies[COOKIE]
        assert first != "planted"
        await try_login(client)
        assert client.cookies[COOKIE] != first
    async with rig.client() as thief:
        for token in ("planted", first):
            thief.cookies.set(COOKIE, token)
            assert_problem(await thief.get(ME), 401)


@pytest.mark.parametrize("step_ms", [IDLE_LIMIT_MS, -1])
async def test_an_idle_session_ends(rig: Rig, step_ms: int) -> None:
    async with rig.login() as client:
        rig.now_ms += step_ms
        assert (await client.get(ME)).status_code == (401 if step_ms > 0 else 200)


async def test_a_used_session_ends_after_its_absolute_limit(rig: Rig) -> None:
    async with rig.login() as client:
        used_ms = 0
        while used_ms + IDLE_LIMIT_MS < SESSION_LIMIT_MS:
            used_ms += IDLE_LIMIT_MS - 1
            rig.now_ms += IDLE_LIMIT_MS - 1
            assert (await client.get(ME)).status_code == 200
        rig.now_ms += SESSION_LIMIT_MS - used_ms
        assert_problem(await client.get(ME), 401)


async def test_a_new_password_ends_sessions(rig: Rig) -> None:
    async with rig.login() as client:
        await rig.accounts.passwd("ada", "another password", "test")
        assert_problem(await client.get(ME), 401)


async def test_a_removed_person_is_out_at_once(rig: Rig) -> None:
    async with rig.login() as client:
        await rig.accounts.add("eve", "admin", PASSWORD, "test")
        await rig.accounts.remove("ada", "test")
        assert_problem(await client.get(ME), 401)


@pytest.mark.parametrize("name", ["nobody", "no such name!", "", "ädå", "x" * 200])
async def test_refusals_tell_nothing(rig: Rig, name: str) -> None:
    async with rig.client() as client:
        wrong = await try_login(client, password="wrong wrong")
        other = await try_login(client, name)
    for answer in (wrong, other):
        assert_problem(answer, 401)
        assert "set-cookie" not in answer.headers
        assert "www-authenticate" in answer.headers
    assert wrong.json() == other.json()


async def test_a_text_that_is_none_is_refused(rig: Rig) -> None:
    body = rb'{"username":"ada\ud800","password":"\udfff"}'
    async with rig.client() as client:
        headers = {"content-type": "application/json"}
        assert_problem(await client.post(LOGIN, content=body, headers=headers), 422)


async def test_lockout_waits_longer_and_longer_and_says_how_long(rig: Rig) -> None:
    async with rig.client() as client:
        for _ in range(5):
            assert_problem(await try_login(client, password="wrong wrong"), 401)
        for wait_s in (1, 2, 4, 8):
            locked = await try_login(client)
            assert_problem(locked, 429)
            assert locked.headers["retry-after"] == str(wait_s)
            rig.now_s += wait_s
            assert_problem(await try_login(client, password="wrong wrong"), 401)
        rig.now_s += 16
        assert (await try_login(client)).status_code == 200
        assert_problem(await try_login(client, password="wrong wrong"), 401)


async def test_lockout_of_one_address_leaves_others_alone(rig: Rig) -> None:
    async with rig.client(address="2001:db8::1") as attacker:
        for _ in range(6):
            await try_login(attacker, password="wrong wrong")
    async with rig.client(address="2001:db8::ffff") as neighbour:  # the same line
        assert_problem(await try_login(neighbour), 429)
    async with rig.client(address="192.168.1.7") as owner:
        assert (await try_login(owner)).status_code == 200


async def test_parallel_guesses_count_too(rig: Rig) -> None:
    async with rig.client() as client:
        guesses = [try_login(client, password=f"wrong {n}") for n in range(30)]
        answers = [answer.status_code for answer in await asyncio.gather(*guesses)]
    assert answers.count(401) == 5
    assert answers.count(429) == 25


async def test_a_flood_of_logins_is_refused_not_queued() -> None:
    rig = Rig(hash_kib=MEMORY_KIB, passes=PASSES)
    async with rig.client() as client:
        tries = [try_login(client, name=f"n{n}") for n in range(25)]
        answers = await asyncio.gather(*tries)
    busy = [answer for answer in answers if answer.status_code == 503]
    rig.passwords.close()
    assert busy
    assert {answer.status_code for answer in answers} == {401, 503}
    for answer in busy:
        assert_problem(answer, 503)
        assert answer.headers["retry-after"] == "5"


async def test_logins_are_audited_without_secrets(rig: Rig) -> None:
    async with rig.login("vera", address="192.168.1.9") as client:
        await try_login(client, password="wrong wrong")
        await client.post("/api/v1/auth/logout")
    entries = await rig.store.audit(10)
    told = [(entry.who, entry.what, entry.detail) for entry in entries]
    assert ("vera", "login", "192.168.1.9") in told
    assert ("ada", "login_refused", "192.168.1.9") in told
    assert ("vera", "logout", "") in told
    assert "wrong wrong" not in str(entries)
    assert PASSWORD not in str(entries)

"""Accounts as operations see them: checked arguments, clear refusals, safe storage."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.memory_accounts import MemoryAccounts
from gateway.adapters.passwords import Argon2Passwords
from gateway.domain.errors import BadInputError, ConflictError, NotFoundError
from gateway.services.accounts import (
    Accounts,
    LoginRefusedError,
    token_hash,
)
from gateway.services.user_operations import USER_OPERATIONS

NOW_MS = 1_763_760_000_000
WORD = "correct horse"


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    made = Argon2Passwords(memory_kib=8, passes=1)
    yield made
    made.close()


@pytest.fixture
def store() -> MemoryAccounts:
    return MemoryAccounts()


@pytest.fixture
def accounts(store: MemoryAccounts, passwords: Argon2Passwords) -> Accounts:
    return Accounts(store, passwords, now_ms=lambda: NOW_MS)


async def call(accounts: Accounts, operation: str, /, **args: object) -> dict[str, object]:
    return await USER_OPERATIONS[f"users.{operation}"](accounts, args, "root")


async def test_a_life_of_an_account(accounts: Accounts, store: MemoryAccounts) -> None:
    added = await call(accounts, "add", name="ada", role="admin", password=WORD)
    assert added == {"name": "ada", "role": "admin"}
    listed = await call(accounts, "list")
    assert listed == {
        "items": [{"name": "ada", "role": "admin", "created": NOW_MS, "changed": NOW_MS}],
        "next": None,
    }
    token, _ = await accounts.login("ada", WORD, "::1")
    assert await call(accounts, "passwd", name="ada", password="new password") == {"name": "ada"}
    assert await accounts.caller(token) is None
    with pytest.raises(LoginRefusedError):
        await accounts.login("ada", WORD, "::1")
    await accounts.login("ada", "new password", "::1")
    with pytest.raises(ConflictError, match="ada is the last administrator"):
        await call(accounts, "remove", name="ada")
    await call(accounts, "add", name="eve", role="admin", password=WORD)
    assert await call(accounts, "remove", name="ada") == {"name": "ada"}
    assert [user.name for user in await accounts.users()] == ["eve"]
    whats = [(entry.who, entry.what) for entry in await store.audit(20)][::-1]
    assert whats == [
        ("root", "user_added"),
        ("ada", "login"),
        ("root", "password_changed"),
        ("ada", "login_refused"),
        ("ada", "login"),
        ("root", "user_added"),
        ("root", "user_removed"),
    ]


@pytest.mark.parametrize(
    ("operation", "args", "named"),
    [
        ("add", {"name": "ada", "role": "admin"}, "password"),
        ("add", {"name": "ada", "role": "root", "password": WORD}, "role"),
        ("add", {"name": "a b", "role": "admin", "password": WORD}, "name"),
        ("add", {"name": "ada\n", "role": "admin", "password": WORD}, "name"),
        ("add", {"name": "", "role": "admin", "password": WORD}, "name"),
        ("add", {"name": "x" * 65, "role": "admin", "password": WORD}, "name"),
        ("add", {"name": 7, "role": "admin", "password": WORD}, "name"),
        ("add", {"name": "ada", "role": "admin", "password": "seven77"}, "8"),
        ("add", {"name": "ada", "role": "admin", "password": "x" * 1025}, "1024"),
        ("add", {"name": "ada", "role": "admin", "password": "\ud800" * 9}, "password"),
        ("add", {"name": "ada", "role": "admin", "password": WORD, "x": 1}, "x: unknown"),
        ("add", {"name": "otto", "role": "viewer", "password": WORD}, "exists"),
        ("passwd", {"name": "otto", "password": "short"}, "password"),
        ("list", {"all": True}, "all"),
        ("remove", {}, "name"),
    ],
)
async def test_nonsense_is_named_and_changes_nothing(
    accounts: Accounts, operation: str, args: dict[str, object], named: str
) -> None:
    await accounts.add("otto", "viewer", WORD, "root")
    with pytest.raises(BadInputError, match=named):
        await call(accounts, operation, **args)
    assert [user.name for user in await accounts.users()] == ["otto"]


async def test_unknown_people_are_not_found(accounts: Accounts) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        await call(accounts, "passwd", name="nobody", password=WORD)
    with pytest.raises(NotFoundError, match="nobody"):
        await call(accounts, "remove", name="nobody")


async def test_only_the_hash_of_a_token_is_stored(
    accounts: Accounts, store: MemoryAccounts
) -> None:
    await accounts.add("ada", "admin", WORD, "root")
    token, _ = await accounts.login("ada", WORD, "::1")
    assert len(token) >= 43  # 256 bits in base64
    found = await store.find_session(token_hash(token))
    assert found is not None
    assert token not in str(found)
    assert await store.find_session(token.encode()) is None
    user = await store.get_user("ada")
    assert user is not None
    assert user.password_hash.startswith("$argon2id$")
    assert user.password_hash not in repr(user)


async def test_an_old_hash_is_renewed_at_login(accounts: Accounts, store: MemoryAccounts) -> None:
    await accounts.add("ada", "admin", WORD, "root")
    stronger = Argon2Passwords(memory_kib=16, passes=2)
    renewed = Accounts(store, stronger, now_ms=lambda: NOW_MS)
    token, _ = await renewed.login("ada", WORD, "::1")
    assert await renewed.caller(token) is not None
    user = await store.get_user("ada")
    assert user is not None
    assert "m=16,t=2" in user.password_hash
    await renewed.login("ada", WORD, "::1")
    stronger.close()


async def test_a_password_changed_during_a_login_wins(
    store: MemoryAccounts, passwords: Argon2Passwords
) -> None:
    accounts = Accounts(store, passwords, now_ms=lambda: NOW_MS)
    await accounts.add("ada", "admin", WORD, "root")

    class Slow(Argon2Passwords):
        async def verify(self, password: str, hashed: str | None) -> bool:
            right = await super().verify(password, hashed)
            await accounts.passwd("ada", "changed meanwhile", "root")
            return right

    slow = Slow(memory_kib=8, passes=1)
    with pytest.raises(LoginRefusedError):
        await Accounts(store, slow, now_ms=lambda: NOW_MS).login("ada", WORD, "::1")
    slow.close()


async def test_sessions_per_person_are_bounded(accounts: Accounts) -> None:
    await accounts.add("ada", "admin", WORD, "root")
    tokens = [(await accounts.login("ada", WORD, "::1"))[0] for _ in range(22)]
    valid = [await accounts.caller(token) is not None for token in tokens]
    assert valid == [False] * 2 + [True] * 20


@given(name=st.text(max_size=80), password=st.text(max_size=40))
def test_no_login_text_breaks_anything(name: str, password: str) -> None:
    async def attempt() -> None:
        passwords = Argon2Passwords(memory_kib=8, passes=1)
        accounts = Accounts(MemoryAccounts(), passwords)
        with pytest.raises(LoginRefusedError):
            await accounts.login(name, password, name)
        passwords.close()

    asyncio.run(attempt())

"""The contract of account stores, held by SQLite on disk and by its in-memory twin."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.memory_accounts import MemoryAccounts
from gateway.adapters.store import accounts as sql
from gateway.adapters.store.accounts import SqlAccounts
from gateway.adapters.store.database import Database
from gateway.services.accounts import AccountStore, AuditEntry, Session, User, UserRole

ADA = User("ada", UserRole.ADMIN, "hash-1", 1000, 1000)
DONE = AuditEntry(1000, "root", "did", "it")


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AccountStore]:
    if request.param == "memory":
        yield MemoryAccounts()
        return
    database = Database(tmp_path / "w.db")
    yield SqlAccounts(database)
    database.close()


def session(number: int, *, user: str = "ada", created_ms: int = 1000) -> Session:
    return Session(bytes([number]) * 32, user, created_ms, created_ms, created_ms + 100)


async def test_users_are_kept_by_name(store: AccountStore) -> None:
    assert await store.get_user("ada") is None
    assert await store.add_user(ADA, DONE)
    assert not await store.add_user(replace(ADA, password_hash="other"), DONE)
    assert await store.add_user(replace(ADA, name="Zoe", role=UserRole.VIEWER), DONE)
    assert await store.get_user("ada") == ADA
    assert [user.name for user in await store.list_users()] == ["Zoe", "ada"]
    assert len(await store.audit(10)) == 2  # what was refused did not happen


async def test_a_new_password_ends_sessions(store: AccountStore) -> None:
    await store.add_user(ADA, DONE)
    assert await store.add_session(session(1), "hash-1", 5, DONE)
    assert await store.set_password("ada", "hash-2", 2000, DONE)
    assert await store.find_session(session(1).token_hash) is None
    assert await store.get_user("ada") == replace(ADA, password_hash="hash-2", changed_ms=2000)
    assert not await store.set_password("nobody", "hash", 2000, DONE)


async def test_a_rehash_never_undoes_a_new_password(store: AccountStore) -> None:
    await store.add_user(ADA, DONE)
    await store.rehash("ada", "hash-1", "hash-1b")
    await store.rehash("ada", "hash-1", "stale")
    assert await store.get_user("ada") == replace(ADA, password_hash="hash-1b")


async def test_sessions_need_a_user_with_that_hash(store: AccountStore) -> None:
    assert not await store.add_session(session(1), "hash-1", 5, DONE)
    await store.add_user(ADA, DONE)
    assert not await store.add_session(session(1), "older", 5, DONE)
    assert await store.add_session(session(1), "hash-1", 5, DONE)
    assert await store.find_session(session(1).token_hash) == (session(1), UserRole.ADMIN)
    assert await store.find_session(session(2).token_hash) is None
    await store.touch_session(session(1).token_hash, 1050)
    found = await store.find_session(session(1).token_hash)
    assert found is not None
    assert found[0].seen_ms == 1050
    await store.remove_session(session(1).token_hash, DONE)
    await store.remove_session(session(1).token_hash, DONE)
    assert await store.find_session(session(1).token_hash) is None


async def test_surplus_and_expired_sessions_go(store: AccountStore) -> None:
    await store.add_user(ADA, DONE)
    await store.add_user(replace(ADA, name="otto"), DONE)
    await store.add_session(session(9, user="otto"), "hash-1", 2, DONE)
    for number in range(3):
        await store.add_session(session(number), "hash-1", 2, DONE)
    left = [n for n in (0, 1, 2, 9) if await store.find_session(session(n).token_hash)]
    assert left == [1, 2, 9]
    await store.add_session(session(4, created_ms=1100), "hash-1", 2, DONE)
    left = [n for n in (1, 2, 4, 9) if await store.find_session(session(n).token_hash)]
    assert left == [4]


async def test_removing_a_user_ends_the_sessions(store: AccountStore) -> None:
    await store.add_user(ADA, DONE)
    await store.add_user(replace(ADA, name="eve"), DONE)
    await store.add_session(session(1), "hash-1", 5, DONE)
    assert await store.remove_user("ada", DONE)
    assert not await store.remove_user("ada", DONE)
    assert await store.find_session(session(1).token_hash) is None
    await store.add_user(ADA, DONE)  # the same name again finds no old session
    assert await store.find_session(session(1).token_hash) is None


async def test_the_last_administrator_stays(store: AccountStore) -> None:
    await store.add_user(ADA, DONE)
    await store.add_user(replace(ADA, name="vera", role=UserRole.VIEWER), DONE)
    await store.add_session(session(1), "hash-1", 5, DONE)
    assert not await store.remove_user("ada", DONE)
    assert await store.find_session(session(1).token_hash) is not None
    assert len(await store.audit(10)) == 3  # what was refused did not happen
    await store.add_user(replace(ADA, name="eve"), DONE)
    assert await store.remove_user("ada", DONE)
    assert await store.remove_user("vera", DONE)
    assert not await store.remove_user("eve", DONE)


async def test_an_own_password_keeps_the_session_it_was_changed_in(store: AccountStore) -> None:
    await store.add_user(ADA, DONE)
    await store.add_user(replace(ADA, name="otto"), DONE)
    for number, user in ((1, "ada"), (2, "ada"), (3, "otto")):
        await store.add_session(session(number, user=user), "hash-1", 5, DONE)
    kept, entry = session(1).token_hash, replace(DONE, at_ms=2000)
    stale = replace(ADA, password_hash="hash-0")
    assert not await store.change_password(stale, "hash-2", kept, entry)
    assert not await store.change_password(replace(ADA, name="nobody"), "hash-2", kept, entry)
    assert await store.change_password(ADA, "hash-2", kept, entry)
    assert await store.get_user("ada") == replace(ADA, password_hash="hash-2", changed_ms=2000)
    left = [n for n in (1, 2, 3) if await store.find_session(session(n).token_hash)]
    assert left == [1, 3]
    assert (await store.audit(10))[0] == entry


async def test_the_audit_is_newest_first_and_bounded(
    store: AccountStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "LONGEST_AUDIT", 5)
    monkeypatch.setattr("gateway.adapters.memory_accounts.LONGEST_AUDIT", 5)
    for number in range(8):
        await store.record(AuditEntry(number, "root", "did", ""))
    assert [entry.at_ms for entry in await store.audit(3)] == [7, 6, 5]
    assert [entry.at_ms for entry in await store.audit(100)] == [7, 6, 5, 4, 3]

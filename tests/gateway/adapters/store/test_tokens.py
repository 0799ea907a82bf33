"""The contract of tokens and of the first run's code, held by SQL and by the in-memory twins."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.adapters.memory_accounts import MemoryAccounts
from gateway.adapters.memory_tokens import MemorySetup, MemoryTokens
from gateway.adapters.store.accounts import SqlAccounts
from gateway.adapters.store.database import opened
from gateway.adapters.store.tokens import SqlSetup, SqlTokens
from gateway.services.accounts import AccountStore, AuditEntry, User, UserRole
from gateway.services.first_run import SetupStore
from gateway.services.tokens import ApiToken, TokenStore

DONE = AuditEntry(1000, "root", "did", "it")
ADA = User("ada", UserRole.ADMIN, "$argon2id$x", 1, 1)


class Stores(NamedTuple):
    """The three ports over one store."""

    accounts: AccountStore
    tokens: TokenStore
    setup: SetupStore


@pytest.fixture(params=["sql", "memory"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    if request.param == "sql":
        with opened(tmp_path / "t.db") as database:
            yield Stores(SqlAccounts(database), SqlTokens(database), SqlSetup(database))
    else:
        accounts = MemoryAccounts()
        yield Stores(accounts, MemoryTokens(accounts), MemorySetup(accounts))


def token(name: str = "grafana") -> ApiToken:
    return ApiToken(name, name.encode(), UserRole.VIEWER, 1, "ada", 9000)


async def test_tokens_are_kept_found_touched_and_removed(stores: Stores) -> None:
    assert await stores.tokens.add_token(token(), 2, DONE)
    assert not await stores.tokens.add_token(token(), 2, DONE)  # the name is taken
    assert await stores.tokens.add_token(token("a"), 2, DONE)
    assert not await stores.tokens.add_token(token("b"), 2, DONE)  # as many as may be
    assert [t.name for t in await stores.tokens.list_tokens()] == ["a", "grafana"]
    assert await stores.tokens.find_token(b"grafana") == token()
    assert await stores.tokens.find_token(b"b") is None
    await stores.tokens.touch_token("grafana", 77)
    found = await stores.tokens.find_token(b"grafana")
    assert found is not None
    assert found.seen_ms == 77
    assert await stores.tokens.remove_token("grafana", DONE)
    assert not await stores.tokens.remove_token("grafana", DONE)
    assert await stores.tokens.find_token(b"grafana") is None
    assert len(await stores.accounts.audit(10)) == 3


async def test_a_code_is_for_the_first_user_and_once(stores: Stores) -> None:
    assert not await stores.setup.has_users()
    assert await stores.setup.code() is None
    await stores.setup.keep_code(b"one", 5, DONE)
    await stores.setup.keep_code(b"two", 6, DONE)
    assert await stores.setup.code() == (b"two", 6)
    assert not await stores.setup.claim(ADA, b"one", DONE)
    assert await stores.setup.claim(ADA, b"two", DONE)
    assert await stores.setup.code() is None
    assert await stores.setup.has_users()
    await stores.setup.keep_code(b"three", 7, DONE)
    eve = User("eve", UserRole.ADMIN, "x", 1, 1)
    assert not await stores.setup.claim(eve, b"three", DONE)


async def test_the_audit_is_paged_by_numbers(stores: Stores) -> None:
    for number in range(5):
        await stores.accounts.record(AuditEntry(number, "root", "did", str(number)))
    first = await stores.accounts.audit_page(None, 2)
    assert [entry.detail for _, entry in first] == ["4", "3"]
    rest = await stores.accounts.audit_page(first[-1][0], 10)
    assert [entry.detail for _, entry in rest] == ["2", "1", "0"]

"""argon2id hashes: right parameters, right answers, one at a time."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.adapters.passwords import LONGEST_QUEUE, MEMORY_KIB, PASSES, Argon2Passwords
from gateway.domain.errors import StorageError
from gateway.services.accounts import BusyError


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    made = Argon2Passwords()
    yield made
    made.close()


async def test_hashes_tell_right_from_wrong(passwords: Argon2Passwords) -> None:
    hashed = await passwords.hash("pässwörd 🔑")
    assert hashed.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$")
    assert hashed != await passwords.hash("pässwörd 🔑")
    assert await passwords.verify("pässwörd 🔑", hashed)
    assert not await passwords.verify("passwort", hashed)
    assert not passwords.outdated(hashed)
    assert Argon2Passwords(passes=PASSES + 1).outdated(hashed)


async def test_nobody_takes_as_long_and_never_matches(passwords: Argon2Passwords) -> None:
    for _ in range(3):
        assert not await passwords.verify("anything", None)


async def test_a_damaged_hash_is_told(passwords: Argon2Passwords) -> None:
    with pytest.raises(StorageError, match="damaged"):
        await passwords.verify("anything", "not a hash")


async def test_too_many_at_once_are_refused_and_later_ones_served(
    passwords: Argon2Passwords,
) -> None:
    work = [passwords.hash(f"word {n}") for n in range(LONGEST_QUEUE + 3)]
    answers = await asyncio.gather(*work, return_exceptions=True)
    assert sum(isinstance(answer, BusyError) for answer in answers) == 3
    assert await passwords.hash("later")


async def test_callers_who_left_still_count(passwords: Argon2Passwords) -> None:
    tasks = [asyncio.create_task(passwords.hash(f"word {n}")) for n in range(LONGEST_QUEUE)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await passwords.hash("next")  # cancelled work that had not begun frees its place

"""The control socket: who may use it, what it answers, and how errors come back."""

import asyncio
import getpass
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.adapters.control import ControlServer, call_daemon, socket_path
from gateway.domain.errors import (
    BadInputError,
    ConfigError,
    GatewayError,
    NotFoundError,
    StorageError,
    TransientError,
)
from tests.support.ordinary_user import ordinary_user

ERRORS: dict[str, Exception] = {
    "not_found": NotFoundError("no meter 'x'"),
    "bad": BadInputError("id: must be given, as text"),
    "storage": StorageError("commit failed"),
    "later": TransientError("meter kitchen did not answer"),
}


async def answer(name: str, args: dict[str, object], who: str) -> dict[str, object]:
    """Do what the name says."""
    if name in ERRORS:
        raise ERRORS[name]
    return {"name": name, "args": args, "who": who}


async def moment() -> None:
    await asyncio.sleep(0.005)


@pytest.fixture
async def database(short_path: Path) -> AsyncIterator[Path]:
    """Run a server beside a database's path."""
    path = short_path / "w.db"
    task = asyncio.ensure_future(ControlServer(path, answer).run())
    while not socket_path(path).exists():
        await moment()
    yield path
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def call(path: Path, name: str, **args: object) -> dict[str, object] | None:
    return await asyncio.to_thread(call_daemon, path, name, args)


async def test_it_answers_and_knows_the_caller(database: Path) -> None:
    done = await call(database, "greet", text="Grüße", number=1.5)
    who = getpass.getuser()
    assert done == {"name": "greet", "args": {"text": "Grüße", "number": 1.5}, "who": who}


async def test_only_its_owner_may_use_it(database: Path) -> None:
    socket = socket_path(database)
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    database.parent.chmod(0o755)
    if os.geteuid() != 0:
        socket.chmod(0)
    with ordinary_user(), pytest.raises(ConfigError, match="run the command with sudo"):
        call_daemon(database, "greet", {})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("not_found", NotFoundError),
        ("bad", BadInputError),
        ("storage", GatewayError),
        ("later", TransientError),
    ],
)
async def test_errors_come_back_as_they_were(
    database: Path, name: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        await call(database, name)
    assert type(caught.value) is kind
    assert str(caught.value) == str(ERRORS[name])


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b"\xff\n", b'{"name":"a","args":5}\n'])
async def test_what_is_no_request_is_told_so(database: Path, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket_path(database)))
    writer.write(line)
    told = json.loads(await reader.readline())
    assert (told["ok"], told["kind"]) == (False, "bad_input")
    writer.close()
    assert await call(database, "still there")


async def test_a_caller_that_hangs_up_or_sends_without_end_harms_nobody(database: Path) -> None:
    for junk in (b"", b"half a line", b"x" * 600_000):
        _, writer = await asyncio.open_unix_connection(str(socket_path(database)))
        writer.write(junk)
        writer.close()
    assert await call(database, "still there")


async def test_who_calls_before_it_serves_waits(short_path: Path) -> None:
    server = ControlServer(short_path / "w.db", answer)
    server.listen()
    asked = asyncio.ensure_future(call(short_path / "w.db", "greet", text="early"))
    await asyncio.sleep(0.05)
    assert not asked.done()
    task = asyncio.ensure_future(server.run())
    done = await asked
    assert done is not None
    assert done["name"] == "greet"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_no_daemon_is_none(short_path: Path) -> None:
    assert await call(short_path / "none.db", "greet") is None


async def test_a_socket_left_by_a_crash_is_no_daemon_and_is_replaced(short_path: Path) -> None:
    path = short_path / "w.db"
    server = ControlServer(path, answer)
    server._bind().close()  # noqa: SLF001 - as a crash leaves it
    assert socket_path(path).exists()
    assert await call(path, "greet") is None
    task = asyncio.ensure_future(server.run())
    async with asyncio.timeout(5):
        while await call(path, "greet") is None:
            await moment()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not socket_path(path).exists()


async def test_a_deep_folder_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    task = asyncio.ensure_future(ControlServer(folder / "w.db", answer).run())
    async with asyncio.timeout(5):
        while not await call(folder / "w.db", "greet"):
            await moment()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_daemon_that_ends_meanwhile_is_told_so(short_path: Path) -> None:
    path = short_path / "w.db"

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_unix_server(hang_up, str(socket_path(path)))
    async with server:
        with pytest.raises(TransientError, match="try again"):
            await call(path, "greet")


def test_a_folder_that_is_none_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    unusable: Callable[[], object] = ControlServer(tmp_path / "file" / "w.db", answer)._bind  # noqa: SLF001
    with pytest.raises((ConfigError, OSError)):
        unusable()

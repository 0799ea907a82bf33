"""The control socket beside the database: commands that write, while the daemon runs."""

import asyncio
import contextlib
import json
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import structlog

from gateway.adapters.store.database import DISK_ERRORS
from gateway.domain.errors import (
    BadInputError,
    ConfigError,
    GatewayError,
    NotFoundError,
    StorageError,
    TransientError,
)

log = structlog.get_logger()
MAX_REQUEST = 512 * 1024  # a firmware of 300 kB in base64
ANSWER_S = 60.0
Call = Callable[[str, dict[str, object], str], Awaitable[dict[str, object]]]
KINDS: dict[str, type[GatewayError]] = {  # of errors, what is more special first
    "not_found": NotFoundError,
    "bad_input": BadInputError,
    "later": TransientError,
    "failed": GatewayError,
}


def socket_path(database: Path) -> Path:
    """Return where the control socket of a database lies."""
    return database.with_name(database.name + ".sock")


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name of a path that fits sun_path's 108 bytes, however deep the folder is."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class ControlServer:
    """Serves one JSON object a line: {"name", "args"} → {"ok", "result" or "kind", "error"}."""

    def __init__(self, database: Path, call: Call) -> None:
        self._path = socket_path(database)
        self._call = call
        self._listening: socket.socket | None = None

    def listen(self) -> None:
        """Have whoever calls from now on wait for `run`, in place of being refused.

        ConfigError where no socket can be made, StorageError where the disk fails.
        """
        self._listening = self._bind()
        self._listening.listen()

    async def run(self) -> None:
        """Serve until cancelled."""
        sock, self._listening = self._listening or self._bind(), None
        server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_REQUEST)
        try:
            async with server:
                await server.serve_forever()
        finally:
            with contextlib.suppress(OSError):  # a dying disk must not hide why we end
                self._path.unlink(missing_ok=True)

    def _bind(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)  # left by a crash; the database's lock is ours
            with _short(self._path) as name:
                sock.bind(name)
        except OSError as error:
            sock.close()
            msg = f"storage.path: no control socket can be made at {self._path}: {error}"
            if error.errno in DISK_ERRORS:
                raise StorageError(msg) from error
            raise ConfigError(msg) from error
        finally:
            os.umask(before)
        return sock

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                line = await reader.readuntil(b"\n")
                answer = await self._answer(line, _caller(writer))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            TimeoutError,
            OSError,
        ) as error:
            log.debug("control_call_broken", error=str(error))
        finally:
            writer.close()

    async def _answer(self, line: bytes, who: str) -> dict[str, object]:
        try:
            request = json.loads(line)
            name, args = str(request["name"]), dict(request["args"])
        except (ValueError, KeyError, TypeError) as error:
            return {"ok": False, "kind": "bad_input", "error": f"not a request: {error}"}
        try:
            return {"ok": True, "result": await self._call(name, args, who)}
        except GatewayError as error:
            kind = next(name for name, known in KINDS.items() if isinstance(error, known))
            return {"ok": False, "kind": kind, "error": str(error)}


def _caller(writer: asyncio.StreamWriter) -> str:
    """Return the name of the person behind the socket (SO_PEERCRED, unix(7))."""
    sock = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"


def call_daemon(database: Path, name: str, args: dict[str, object]) -> dict[str, object] | None:
    """Have the running daemon do `name`; None when no daemon listens.

    Raises what the operation raised, and TransientError when the daemon ended meanwhile.
    """
    path = socket_path(database)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_S)
        try:
            with _short(path) as name_of_path:
                sock.connect(name_of_path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError as error:
            msg = (
                f"storage.path: this user may not use the control socket {path}; run the command"
                " with sudo"
            )
            raise ConfigError(msg) from error
        except OSError as error:
            msg = f"storage.path: the control socket {path} cannot be used: {error.strerror}"
            raise ConfigError(msg) from error
        try:
            sock.sendall(json.dumps({"name": name, "args": args}).encode() + b"\n")
            with sock.makefile("rb") as stream:
                line = stream.readline()
            answer = json.loads(line)
        except (OSError, ValueError) as error:
            msg = f"the daemon ended before it answered: {error}; try again"
            raise TransientError(msg) from error
    if answer["ok"]:
        result: dict[str, object] = answer["result"]
        return result
    raise KINDS.get(answer["kind"], GatewayError)(answer["error"])

"""A repository of models for tests: its publisher, a web server that lies, a gateway's client."""

import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from securesystemslib.signer import CryptoSigner

from cloud_sync.objects import DirectoryStore
from tinymodels.registry.client import Client
from tinymodels.registry.items import Item
from tinymodels.registry.keys import Keyring
from tinymodels.registry.ports import RepositoryStore, Source
from tinymodels.registry.publisher import Publisher
from tinymodels.registry.repository import ROLES
from tinymodels.registry.sources import DirectorySource

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Serve = Callable[[str, bytes], bytes]


def model_item(version: int = 1, body: bytes | None = None, **custom: Any) -> Item:  # noqa: ANN401
    """Return a target that says it is a model; nothing looks into it here."""
    told = {"what": "model", "kind": "charts", "meter": "*", "channel": "grid", "version": version}
    content = body if body is not None else f"model {version} ".encode() * 100
    return Item(f"charts-pooled-grid-{version}.wwm", content, told | custom)


class RegistryRig:
    """A repository in a directory, with all its keys at hand; `now` is what its publisher sees."""

    def __init__(self, root: Path, store: RepositoryStore | None = None) -> None:
        self.root = root
        self.store = store or DirectoryStore(root)
        self.now = NOW
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        self.publisher = self.with_keys(*self.signers.values())
        self.pinned = self.publisher.init(
            {role: [signer.public_key] for role, signer in self.signers.items()}
        )

    def with_keys(self, *signers: CryptoSigner) -> Publisher:
        """Return a publisher who has these keys only."""
        return Publisher(self.store, Keyring(signers), now=lambda: self.now)

    def publish(self, *items: Item, channel: str = "stable") -> list[str]:
        """Publish with all keys."""
        return self.publisher.publish(channel, list(items))

    def pass_days(self, days: float) -> None:
        """Let the publisher's clock run."""
        self.now += timedelta(days=days)

    @property
    def now_ms(self) -> int:
        """The publisher's time."""
        return int(self.now.timestamp() * 1000)

    def client(self, folder: Path, source: Source | None = None, **options: Any) -> Client:  # noqa: ANN401
        """Return a gateway's client with the first root pinned."""
        return Client(
            source or DirectorySource(self.root), self.pinned, folder, "stable", **options
        )

    def saved(self) -> dict[str, bytes]:
        """Return every file as it is now."""
        return {name: self.store.get(name).body for name in self.store.names()}

    def restore(self, files: dict[str, bytes]) -> None:
        """Put files back as they were: what who holds the server can do."""
        for name in self.store.names():
            (self.root / name).unlink()
        for name, body in files.items():
            (self.root / name).write_bytes(body)


class LyingServer:
    """Serves a directory over HTTP on loopback; `serve` may change each answer's body.

    `endless` names have no end, `cut` ones break off in the middle, `dripping` ones come a byte
    at a time. A context manager.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.endless = self.cut = self.dripping = "no name has this"
        self.status: int | None = None
        self.asked: list[str] = []
        self.serve: Serve = lambda _, body: body
        self._stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        lying = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lying.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        name = handler.path.lstrip("/")
        self.asked.append(name)
        path = self.root / name
        if self.status is not None or not path.is_file():
            handler.send_response(self.status or 404)
            handler.end_headers()
            return
        body = self.serve(name, path.read_bytes())
        handler.send_response(200)
        if self.endless not in name:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with contextlib.suppress(OSError):  # the client has had enough
            self._send(handler, name, body)

    def _send(self, handler: BaseHTTPRequestHandler, name: str, body: bytes) -> None:
        if self.endless in name:
            while not self._stop.is_set():
                handler.wfile.write(bytes(65_536))
        elif self.cut in name:
            handler.wfile.write(body[: len(body) // 2])
        elif self.dripping in name:
            for byte in body:
                if self._stop.wait(0.05):
                    return
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
        else:
            handler.wfile.write(body)

"""Google's metadata server, as far as a function asks it: whose project it runs in."""

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

PROJECT_ID = "/computeMetadata/v1/project/project-id"


class MetadataStub:
    """A server on a loopback port; a context manager."""

    def __init__(self, project: str) -> None:
        handler = type("Handler", (_Handler,), {"texts": {"/": "", PROJECT_ID: project}})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which Google's libraries find it instead of their own."""
        host = f"127.0.0.1:{self._server.server_port}"
        return {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    """One request; the class is made anew for each stub."""

    texts: Mapping[str, str]

    def do_GET(self) -> None:
        """Answer what is known."""
        text = self.texts.get(self.path.partition("?")[0])
        self.send_response(404 if text is None else 200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/text")
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

"""The app's files: built by `make dashboard`, packed into the wheel, served before any login."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

log = structlog.get_logger()
PAGE = "index.html"
HASHED = "assets/"  # names under it carry a hash of the content
IMMUTABLE = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"  # kept, but asked about each time
LEAST_TO_COMPRESS = 512
PACKED = frozenset({".css", ".html", ".js", ".json", ".svg", ".webmanifest"})
# What the gateway answers itself, or what a script asks for: never the page instead.
RESERVED = ("/api", "/trust/", "/healthz", "/readyz", "/metrics", "/openapi.json", f"/{HASHED}")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src {}; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Where a browser registers for pushes (@firebase/installations, @firebase/messaging).
PUSH_ORIGINS = (
    "https://firebaseinstallations.googleapis.com", "https://fcmregistrations.googleapis.com",
)  # fmt: skip
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Accept-Encoding",
}
NOT_BUILT = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Wattwarden</title>"
    "<h1>Wattwarden</h1><p>The gateway runs, but its app has not been built here. In the project's "
    "folder run <code>make dashboard</code> (it needs Node.js 20 or newer) and start the gateway "
    "again; a wheel of a release has the app in it.</p>"
    "<p>The API answers all the same: <a href=/openapi.json>/openapi.json</a>.</p></html>"
)


@dataclass(frozen=True, slots=True)
class File:
    """One file ready to be sent: `packed` is its gzip, None where that saves nothing."""

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str
    cache: str


def app_directory() -> Path | None:
    """Return where the built app lies: in the package, else in the checkout; None if nowhere."""
    here = Path(__file__).resolve()
    for place in (here.parent / "static" / "app", here.parents[2] / "dashboard" / "dist"):
        if (place / PAGE).is_file():
            return place
    return None


def load_files(directory: Path | None) -> Mapping[str, File]:
    """Read and compress the app's files, by path (`assets/…`); empty where it is not built."""
    if directory is None:
        log.warning("app_not_built", todo="make dashboard")
        return {}
    return {
        path.relative_to(directory).as_posix(): _file(path, path.relative_to(directory).as_posix())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def _file(path: Path, name: str) -> File:
    body = path.read_bytes()
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if name.endswith(".webmanifest"):
        media_type = "application/manifest+json"
    elif media_type == "application/javascript":  # Python before 3.12
        media_type = "text/javascript"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    worth = path.suffix in PACKED and len(body) >= LEAST_TO_COMPRESS
    etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    cache = IMMUTABLE if name.startswith(HASHED) else ASKED_AGAIN
    packed = gzip.compress(body, 9, mtime=0) if worth else None
    return File(body, packed, media_type, etag, cache)


class AppFiles:
    """Serves the app's files and, for addresses of its pages, the page; all else passes on."""

    def __init__(self, app: ASGIApp, files: Mapping[str, File], also: tuple[str, ...] = ()) -> None:
        """Let pages call the origins `also`, beside this one."""
        self._app = app
        self._files = files
        policy = POLICY.format(" ".join(("'self'", *also)))
        self._headers = {**HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        response = self._answer(scope)
        await (self._app if response is None else response)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            return None
        headers = Headers(scope=scope)
        file = self._files.get(path.removeprefix("/"))
        if file is None and (path == "/" or _is_page(path, headers)):
            file = self._files.get(PAGE)
            if file is None:
                return self._not_built()
        return None if file is None else self._send(file, headers, head=scope["method"] == "HEAD")

    def _send(self, file: File, asked: Headers, *, head: bool) -> Response:
        # The app learns from Date how far the viewer's clock is off.
        headers = {
            **self._headers,
            "ETag": file.etag,
            "Cache-Control": file.cache,
            "Date": formatdate(usegmt=True),
        }
        held = {tag.strip() for tag in asked.get("if-none-match", "").split(",")}
        if file.etag in held or file.etag.removeprefix("W/") in held:
            return Response(status_code=304, headers=headers)
        body = file.body
        if file.packed is not None and "gzip" in asked.get("accept-encoding", ""):
            body = file.packed
            headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
        return Response(b"" if head else body, headers=headers, media_type=file.media_type)

    def _not_built(self) -> Response:
        headers = {**self._headers, "Cache-Control": "no-store"}
        return Response(NOT_BUILT, status_code=503, headers=headers, media_type="text/html")


def _is_page(path: str, headers: Headers) -> bool:
    """Tell whether a browser opens an address that only the app itself knows."""
    if path.startswith(RESERVED) or "." in path.rpartition("/")[2]:
        return False
    return "text/html" in headers.get("accept", "")

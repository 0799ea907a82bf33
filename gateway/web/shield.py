"""Outermost: security headers, known hosts, no cross-site writes, and every crash as a problem."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.hosts import KnownHosts
from gateway.web.problems import problem, problem_of

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

# RFC 6797; only where the page came over TLS, or nobody could open it any more.
HSTS = "max-age=31536000"


class Shield:
    """Wraps the whole app; what passes is called by a known name and not from another site."""

    def __init__(self, app: ASGIApp, hosts: KnownHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP is refused."""
        if scope["type"] != "http":
            msg = f"only HTTP is served, not {scope['type']}"
            raise RuntimeError(msg)
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", HSTS)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await problem(*refusal)(scope, receive, guarded)
            return
        try:
            await self._app(scope, receive, guarded)
        except Exception as error:
            if started:  # too late for a problem: the server closes the connection
                raise
            await problem_of(error)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._hosts.accept(hosts[0]):
            return 421, "this gateway does not know itself by that host name"
        if scope["method"] not in SAFE_METHODS and _is_cross_site(headers, hosts[0]):
            return 403, "changes from another site's pages are refused"
        return None


def _is_cross_site(headers: Headers, host: str) -> bool:
    """Tell whether a browser says that another origin's page sent this.

    Browsers send Sec-Fetch-Site, old ones Origin, with every unsafe request; programs send
    neither and hold no cookie of somebody else's.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != host.strip().lower()

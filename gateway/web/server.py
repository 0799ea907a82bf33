"""uvicorn inside the daemon's event loop: started, stopped and limited like any service."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Generator
from ipaddress import IPv6Address, ip_address

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from gateway.domain.errors import ConfigError, TransientError

log = structlog.get_logger()
LONGEST_HEADER_S = 10.0  # from a connection's start, or a request's first byte
LARGEST_HEADER = 16 * 1024
MOST_CONNECTIONS = 100
KEEP_ALIVE_S = 15
GRACE_S = 1
LAST_WAIT_S = 3.0
STUCK_MS = 30_000
# The address may come with the network, and the port be freed: worth another try.
PASSING = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EMFILE)


class WebLostError(TransientError):
    """The web server cannot listen right now."""


class _Protocol(H11Protocol):
    """HTTP/1.1 that does not wait forever for a request's header (uvicorn's own does)."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._forget_deadline()
        else:
            self._expect_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _expect_header(self) -> None:
        if self._deadline is None:  # not set anew by every byte
            self._deadline = self.loop.call_later(LONGEST_HEADER_S, self._give_up)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            with contextlib.suppress(h11.LocalProtocolError):
                self.conn.send(h11.ConnectionClosed())
            self.transport.close()


class _Server(uvicorn.Server):
    """Leaves signals to the daemon and sleeps when nothing happens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._wake = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)  # sets the default headers; ticking ten times a second is for dates
        await self._wake.wait()

    def end(self) -> None:
        self.should_exit = True
        self._wake.set()


class WebServer:
    """Serves an app on one address until cancelled; a service for `supervise`."""

    def __init__(
        self, app: ASGIApp, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> None:
        """Port 0 takes a free one, see `port` after `bind`; `tls` None serves plain HTTP."""
        self._app = app
        self._tls = tls
        self._host = host
        self._wanted_port = port
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._stopping = False
        self._ended = asyncio.Event()

    @property
    def port(self) -> int:
        """Return the port bound, or the one asked for before `bind`."""
        if self._socket is None:
            return self._wanted_port
        return int(self._socket.getsockname()[1])

    def bind(self) -> int:
        """Listen and return the port. WebLostError when in use, ConfigError when hopeless."""
        if self._socket is None:
            self._socket = _listen(self._host, self._wanted_port)
            log.info("web_listening", host=self._host, port=self.port)
        return self.port

    async def run(self) -> None:
        """Serve until cancelled; after `stop` only wait for that. Raises as `bind` does."""
        if self._stopping:
            await asyncio.Event().wait()
        self.bind()
        server = _Server(self._config())
        self._server = server
        self._ended.clear()
        listening = [self._socket] if self._socket is not None else []
        serving = asyncio.create_task(server.serve(sockets=listening), name="uvicorn")
        try:
            await asyncio.shield(serving)
        finally:
            server.end()
            await asyncio.wait([serving], timeout=LAST_WAIT_S)
            for sock in listening:
                sock.close()
            self._socket = self._server = None
            self._ended.set()
        if not self._stopping:
            msg = "web: the server ended by itself"
            raise WebLostError(msg)
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Take no more connections, let running requests end for a second, and return."""
        self._stopping = True
        if self._server is not None:
            self._server.end()
            await self._ended.wait()
        elif self._socket is not None:  # bound, but never run
            self._socket.close()
            self._socket = None

    def _config(self) -> uvicorn.Config:
        tls = self._tls
        return uvicorn.Config(
            self._app,
            interface="asgi3",
            http=_Protocol,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # bad requests of the network's scanners are no news
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # else any local program chooses the address it comes from
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            h11_max_incomplete_event_size=LARGEST_HEADER,
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server(
            (host, port), family=family, backlog=128, dualstack_ipv6=_is_any_ipv6(host)
        )
    except OSError as error:
        if error.errno in PASSING or error.errno == socket.EAI_AGAIN:
            msg = f"web.host, web.port: cannot listen on {host} port {port}: {error.strerror}"
            raise WebLostError(msg) from error
        msg = f"web.host, web.port: cannot listen on {host} port {port}: {error}"
        raise ConfigError(msg) from error
    # Connections inherit it; asyncio sets it only on sockets made with an explicit protocol.
    # Without it every answer waits some 40 ms for the client's delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A peer that takes nothing is dropped by the kernel (tcp(7)); a stream may write for days.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MS)
    return listening


def _is_any_ipv6(host: str) -> bool:
    try:
        return ip_address(host) == IPv6Address("::") and socket.has_dualstack_ipv6()
    except ValueError:
        return False

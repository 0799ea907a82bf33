"""An app over in-memory ports, with one person per role and clocks that tests turn."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TypeVar

import httpx
from prometheus_client import CollectorRegistry, Counter

from gateway.adapters.memory_accounts import MemoryAccounts
from gateway.adapters.memory_tokens import MemorySetup, MemoryTokens
from gateway.adapters.memory_views import MemoryViews
from gateway.adapters.passwords import Argon2Passwords
from gateway.domain.alerts import Alert, AlertKind, AlertState, HistoryEntry, Severity
from gateway.domain.errors import NotFoundError
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Channel, GapSpan, Stored
from gateway.services.accounts import Accounts
from gateway.services.energy import Energy, EnergyQuery, Interval, Used, boundaries
from gateway.services.first_run import FirstRun
from gateway.services.lockout import Lockout
from gateway.services.series import Column, Series, SeriesQuery, check
from gateway.services.stream import Hub
from gateway.services.stream_feed import StreamFeed
from gateway.services.tokens import Operation, Tokens, token_operations
from gateway.services.user_operations import USER_OPERATIONS
from gateway.services.views import AlertView, Diagnostics, MeterView, RuntimeView
from gateway.supervise import Health
from gateway.web.app import create_app
from gateway.web.deps import UTC, History, WebDeps
from gateway.web.stream import JsonShapes

T = TypeVar("T")
PASSWORD = "correct horse battery staple"
NOW_MS = 1_763_760_000_000


def alert_view(
    alert_id: str = "a1", *, opened_ms: int = NOW_MS, meter: str = "kitchen"
) -> AlertView:
    alert = Alert(
        id=alert_id,
        key=(meter, "", AlertKind.OVER_VOLTAGE),
        severity=Severity.CRITICAL,
        state=AlertState.OPEN,
        opened_ms=opened_ms,
        updated_ms=opened_ms + 1000,
        resolved_ms=None,
        count=3,
        title="Voltage too high",
        detail="268.1 V for 3 s, above 264.5 V.",
        evidence={"voltage_v": 268.1, "limit_v": 264.5},
    )
    return AlertView(alert, [HistoryEntry(opened_ms, "system", "opened")])


def meter_view(meter: str = "kitchen") -> MeterView:
    grid = Channel(i=4.3, p=871.2, wh_in=120.5, wh_out=0.0, q=-120.4)
    last = Stored(
        row=9, meter=meter, boot=1, seq=8, n=1, up_ms=9000, t_ms=NOW_MS, at_ms=NOW_MS,
        received_ms=NOW_MS, dt_ms=1000, marks=0, v=230.4, f=49.98, ch={"grid": grid},
        flags=("clip",),
    )  # fmt: skip
    channels = {"grid": ChannelInfo("grid", Role.GRID, 30.0)}
    info = MeterInfo(meter, label="Kitchen", registered_ms=NOW_MS, channels=channels)
    told = Diagnostics(-61, 81_234, 0, 3_600_000, 17)
    return MeterView(
        info, online=True, state_ms=NOW_MS, fw="1.2.0", model=7, cal=3, last=last, diagnostics=told
    )


@dataclass
class FakeHistory:
    """Knows one hour of the kitchen's grid; keeps what was asked."""

    asked: list[SeriesQuery | EnergyQuery] = field(default_factory=list)

    async def series(self, query: SeriesQuery, render: Callable[[Series], T]) -> T:
        check(query)
        self._note(query)
        t = [NOW_MS + 60_000 * k for k in range(60)]
        columns: dict[str, Column] = {key: [*range(59), None] for key in query.fields}
        return render(Series("1m", t, columns, [GapSpan(NOW_MS, NOW_MS + 1, "final")]))

    async def energy(self, query: EnergyQuery, render: Callable[[Energy], T]) -> T:
        edges = boundaries(query, UTC)
        self._note(query)
        used = {"grid": Used(1.5, 0.0, estimated=False)}
        items = [Interval(*pair, used, None, partial=False) for pair in pairwise(edges)]
        return render(Energy(items))

    def _note(self, query: SeriesQuery | EnergyQuery) -> None:
        if query.meter != "kitchen":
            msg = f"no meter {query.meter}"
            raise NotFoundError(msg)
        self.asked.append(query)


@dataclass
class FakeOperations:
    """Keeps what was called; acknowledging and labelling take effect in the views."""

    views: MemoryViews
    calls: list[tuple[str, dict[str, object], str]] = field(default_factory=list)
    error: Exception | None = None
    others: dict[str, Operation] = field(default_factory=dict)

    async def call(self, name: str, args: dict[str, object], who: str) -> dict[str, object]:
        if self.error is not None:
            raise self.error
        if name in self.others:
            return await self.others[name](args, who)
        key = str(args["id"])
        if key not in self.views.alerts and key not in self.views.meters:
            msg = f"no {key}"
            raise NotFoundError(msg)
        self.calls.append((name, args, who))
        if name == "alerts.acknowledge":
            view = self.views.alerts[key]
            alert = replace(view.alert, state=AlertState.ACKNOWLEDGED)
            history = [*view.history, HistoryEntry(NOW_MS, who, "acknowledged")]
            self.views.alerts[key] = AlertView(alert, history)
        if name == "meters.update":
            meter = self.views.meters[key]
            info = replace(meter.info, label=str(args.get("label", meter.info.label)))
            self.views.meters[key] = replace(meter, info=info)
        return {}


class Rig:
    """One app; `now_ms` and `now_s` are its clocks, `unready` its readiness."""

    def __init__(self, *, hash_kib: int = 8, passes: int = 1) -> None:
        self.now_ms = NOW_MS
        self.now_s = 0.0
        self.unready: dict[str, str] = {}
        self.store = MemoryAccounts()
        self.passwords = Argon2Passwords(memory_kib=hash_kib, passes=passes)
        self.accounts = Accounts(
            self.store,
            self.passwords,
            now_ms=lambda: self.now_ms,
            lockout=Lockout(lambda: self.now_s),
        )
        self.tokens = Tokens(MemoryTokens(self.store), now_ms=lambda: self.now_ms)
        self.first_run = FirstRun(
            MemorySetup(self.store),
            self.passwords,
            now_ms=lambda: self.now_ms,
            lockout=Lockout(lambda: self.now_s),
        )
        self.views = MemoryViews(
            meters={"kitchen": meter_view()}, alerts={"a1": alert_view()}, dead_letters={"json": 2}
        )
        self.history: History = FakeHistory()
        self.latest: dict[str, Stored] = {}
        self.hub = Hub()
        self.feed = StreamFeed(self.hub, self.views, self.latest, JsonShapes())
        self.operations = FakeOperations(self.views)
        self.operations.others |= token_operations(self.tokens)
        for name, operation in USER_OPERATIONS.items():
            self.operations.others[name] = partial(operation, self.accounts)
        self.registry = CollectorRegistry()
        Counter("wattwarden_readings", "Readings.", registry=self.registry).inc(3)
        self.app = create_app(self.deps())

    def deps(self) -> WebDeps:
        health = {"mqtt": Health("running")}
        return WebDeps(
            accounts=self.accounts,
            tokens=self.tokens,
            first_run=self.first_run,
            views=self.views,
            history=self.history,
            hub=self.hub,
            feed=self.feed,
            operations=self.operations,
            runtime=lambda: RuntimeView("1.0", 12.5, health, 4, clock_trusted=True),
            unready=lambda: self.unready,
            registry=self.registry,
            allowed_hosts=("gateway.example", "*.home.arpa"),
            now_ms=lambda: self.now_ms,
        )

    async def add_people(self) -> None:
        for name, role in (("ada", "admin"), ("otto", "operator"), ("vera", "viewer")):
            await self.accounts.add(name, role, PASSWORD, "test")

    def client(self, *, address: str = "127.0.0.1", scheme: str = "http") -> httpx.AsyncClient:
        """Give a client that calls the app from an address, without a network."""
        transport = httpx.ASGITransport(
            app=self.app, client=(address, 50_000), raise_app_exceptions=False
        )
        return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://127.0.0.1:8080")

    @asynccontextmanager
    async def login(self, name: str = "ada", **where: str) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client with a session of its own."""
        async with self.client(**where) as client:
            body = {"username": name, "password": PASSWORD}
            (await client.post("/api/v1/auth/login", json=body)).raise_for_status()
            yield client


def assert_problem(answer: httpx.Response, status: int) -> None:
    """Fail unless this is an RFC 9457 problem that nobody may cache."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]

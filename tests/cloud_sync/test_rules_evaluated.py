"""The security rules as Google's own emulator evaluates them: who may do what."""

import time
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from cloud_sync.command_box import FirestoreCommandBox
from cloud_sync.documents import Document
from cloud_sync.errors import ForbiddenError
from cloud_sync.firestore import FirestoreCloud
from cloud_sync.leases import FirestoreLeases, LeaseBook
from gateway.services.remote_forms import RemoteResult, State
from tests.cloud_sync.conftest import OUTSIDE, PROJECT
from tests.cloud_sync.test_rules import RULES
from tests.support.rules_rig import RuledStore, RulesEmulator, token_of

KINDS = ("minutes", "days", "alerts", "gaps", "latest", "status")
GOOD: dict[str, object] = {"schema": 1}
LEASE: dict[str, object] = {"meter": "kitchen", "ttl_s": 60}
DONE: dict[str, object] = {"state": "done", "result": {"ok": 1}, "answered": "now"}
WHO = {
    "nobody": "",
    "gateway": token_of(PROJECT, "gateway-home", gateway=True, site="home"),
    "neighbour": token_of(PROJECT, "gateway-castle", gateway=True, site="castle"),
    "impostor": token_of(PROJECT, "mallory", gateway=True, site="home"),
    "stray": token_of(PROJECT, "gateway-home", gateway=True, site="castle"),
    "ada": token_of(PROJECT, "ada"),  # a member of home
    "eve": token_of(PROJECT, "eve"),  # a member of castle
}
SEED: dict[str, dict[str, object]] = {
    "sites/home": {"founder": "ada"},
    "sites/home/members/ada": {"role": "admin"},
    "sites/home/members/otto": {"role": "viewer"},
    "sites/castle/members/eve": {"role": "admin"},
    "sites/home/commands/c-new": {"state": "new", "kind": "relay"},
    "sites/home/commands/c-done": {"state": "done", "kind": "relay"},
    "sites/home/leases/ada_kitchen": LEASE,
    "sites/home/leases/otto_kitchen": LEASE,
    **{f"sites/home/{kind}/one": GOOD for kind in KINDS},
}


class Case(NamedTuple):
    """Somebody's wish."""

    who: str
    verb: str
    path: str
    fields: Mapping[str, object] = {}


def home(verb: str, who: tuple[str, ...], *paths: str, **fields: object) -> list[Case]:
    """Return the same wish of several people, below the site."""
    return [Case(one, verb, f"sites/home/{path}", fields) for one, path in product(who, paths)]


ONES = [f"{kind}/one" for kind in KINDS]
NEWS = [f"{kind}/new" for kind in KINDS]
STRANGERS = ("nobody", "neighbour", "impostor", "stray", "eve")
ALLOWED = [
    *home("get", ("gateway", "ada"), *ONES, "commands/c-new", "leases/otto_kitchen", "members/ada"),
    *home("list", ("gateway", "ada"), *KINDS, "commands", "leases"),
    *home("set", ("gateway",), *ONES, *NEWS, **GOOD),
    *home("set", ("ada",), "leases/ada_kitchen", **LEASE),
    *home("set", ("ada",), "leases/ada_garage", meter="garage", ttl_s=120),
    *home("delete", ("ada",), "leases/ada_kitchen"),
    *home("update", ("gateway",), "commands/c-new", "commands/c-done", **DONE),
    *home("update", ("gateway",), "commands/c-new", **(DONE | {"state": "expired"})),
    *home("get", ("gateway",), "members/otto"),
    Case("ada", "get", "sites/home"),
    Case("gateway", "get", "sites/home"),
]
REFUSED = [
    *home("get", STRANGERS, *ONES, "commands/c-new", "leases/ada_kitchen", "members/ada"),
    *home("list", STRANGERS, *KINDS, "commands", "leases"),
    *home("list", ("gateway", "ada"), "members"),
    *home("set", ("ada", *STRANGERS), *NEWS, **GOOD),
    *home("set", ("ada", "neighbour"), *ONES, **GOOD),
    *home("set", ("gateway",), *NEWS, schema="1"),
    *home("set", ("gateway",), *NEWS, meter="kitchen"),
    *home("set", ("gateway",), "secrets/one", "leases/ada_kitchen", **GOOD),
    *home("delete", ("gateway", "ada"), *ONES, "commands/c-new", "members/ada"),
    *home("set", ("gateway", *STRANGERS), "leases/ada_kitchen", **LEASE),
    *home("set", ("eve",), "leases/eve_kitchen", **LEASE),
    *home("set", ("ada",), "leases/otto_kitchen", "leases/ada_garage", **LEASE),
    *home("set", ("ada",), "leases/ada_kitchen", meter="kitchen", ttl_s=121),
    *home("set", ("ada",), "leases/ada_kitchen", meter="kitchen", ttl_s=0),
    *home("set", ("ada",), "leases/ada_kitchen", meter="kitchen", ttl_s="60"),
    *home("set", ("ada",), "leases/ada_kitchen", **LEASE, more=1),
    *home("set", ("ada",), f"leases/ada_{33 * 'm'}", meter=33 * "m", ttl_s=60),
    *home("delete", ("ada",), "leases/otto_kitchen"),
    *home("set", tuple(WHO), "commands/c-more", state="new"),
    *home("update", ("ada", *STRANGERS), "commands/c-new", **DONE),
    *home("update", ("gateway",), "commands/c-new", **DONE, kind="settings"),
    *home("update", ("gateway",), "commands/c-new", **(DONE | {"state": "maybe"})),
    *home("update", ("gateway",), "commands/c-done", state="failed"),
    *home("update", ("gateway",), "commands/c-done", state="new"),
    *home("get", ("ada",), "members/otto"),
    *home("set", tuple(WHO), "members/ada", "members/mallory", role="admin"),
    *[Case(who, "get", "sites/home") for who in STRANGERS],
    *[Case(who, "set", "sites/home", {"founder": "mallory"}) for who in WHO],
    *[Case(who, "set", "elsewhere/one", GOOD) for who in WHO],
    Case("gateway", "set", "sites/castle/latest/one", GOOD),
    Case("gateway", "get", "sites/castle/members/eve"),
]


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    if OUTSIDE:
        yield OUTSIDE
        return
    if not RulesEmulator.installed():
        pytest.skip("needs Java and: apt install google-cloud-cli-firestore-emulator")
    with RulesEmulator() as emulator:
        yield emulator.host


@pytest.fixture(scope="module")
def store(host: str) -> Iterator[RuledStore]:
    made = RuledStore(host, PROJECT, RULES)
    yield made
    made.close()


@pytest.mark.parametrize(("cases", "expected"), [(ALLOWED, True), (REFUSED, False)])
def test_who_may_do_what(cases: list[Case], expected: bool, store: RuledStore) -> None:  # noqa: FBT001
    wrong = []
    store.seed(SEED)
    for case in cases:
        may = store.may(WHO[case.who], case.verb, case.path, case.fields)
        if may is not expected:
            wrong.append(case)
        if may and case.verb in {"update", "delete"}:  # what was set is as good as what was there
            store.seed(SEED)
    assert wrong == []


@pytest.fixture
def gateway(
    host: str, store: RuledStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[firestore.Client]:
    """Give a client that speaks as the gateway of `home`."""
    store.seed(SEED)
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
    client = firestore.Client(project=PROJECT, credentials=AnonymousCredentials())
    told = [pair for pair in client._rpc_metadata if pair[0] != "authorization"]  # noqa: SLF001
    client._rpc_metadata_internal = [*told, ("authorization", f"Bearer {WHO['gateway']}")]  # noqa: SLF001
    yield client
    client.close()  # type: ignore[no-untyped-call]


async def test_what_the_gateway_does_is_allowed(
    gateway: firestore.Client, store: RuledStore
) -> None:
    cloud = FirestoreCloud(lambda: gateway)
    await cloud.put([Document(kind, f"sites/home/{kind}/real", GOOD) for kind in KINDS], 20)
    with pytest.raises(ForbiddenError):
        await cloud.put([Document("latest", "sites/castle/latest/real", GOOD)], 20)
    box = FirestoreCommandBox(lambda: gateway, "home")
    assert [arrival.id for arrival in await box.pending(9)] == ["c-new"]
    assert await box.role_of("otto") == "viewer"
    await box.answer("c-new", RemoteResult(State.REFUSED, ok=False, error="no"))
    assert await box.pending(9) == []
    assert store.may(WHO["ada"], "get", "sites/home/commands/c-new", {})


def test_the_gateway_hears_of_leases(gateway: firestore.Client, store: RuledStore) -> None:
    book = LeaseBook()
    leases = FirestoreLeases(lambda: gateway, "home", book)
    leases.keep()
    assert store.may(
        WHO["ada"], "set", "sites/home/leases/ada_cellar", {"meter": "cellar", "ttl_s": 60}
    )
    deadline_s = time.monotonic() + 60
    while "cellar" not in book.active():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    leases.close()

"""Calls around the meters: uploads that stream, shapes that are checked, trust without a login."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

import pytest

from gateway.domain.errors import BadInputError, ConflictError
from gateway.logs import Line
from gateway.services.trust import Certificate
from gateway.web.app import create_app
from gateway.web.bodies import LARGEST_UPLOAD
from tests.gateway.web.rig import NOW_MS, Rig, assert_problem

API = "/api/v1"
PLAN = {
    "name": "Flat", "valid_from": "2026-01-01", "currency": "EUR", "feed_in_per_kwh": 0.05,
    "import": [{"days": [0], "from": "00:00", "to": "24:00", "price_per_kwh": 0.2}],
    "standing_per_day": 0.3,
}  # fmt: skip
IMPORT = {
    "id": "i1", "file": "a.csv", "size_bytes": 3, "created_ms": NOW_MS, "created_by": "otto",
    "state": "preview", "columns": ["t"], "preview": [["x"]], "rows": 1, "guess": None,
    "rows_done": 0, "rows_total": 1, "errors": [], "error_count": 0, "error": None,
    "meter": None, "channel": None, "timezone": None, "map": None, "from_ms": None,
    "to_ms": None, "alerts": 0, "started_ms": None, "finished_ms": None,
}  # fmt: skip
CA = Certificate(b"-----BEGIN CERTIFICATE-----\n", "Home CA", "AB:CD", 1, 2)


@dataclass
class FakeUpload:
    """Keeps in memory what is uploaded."""

    content: bytes = b""
    taken: list[str] = field(default_factory=list)
    ended: int = 0

    def begin(self) -> "FakeUpload":
        return self

    def write(self, piece: bytes) -> None:
        self.content += piece

    def finish(self) -> None:
        self.ended += 1

    async def take(self, name: str, who: str) -> dict[str, object]:
        self.taken.append(f"{who}:{name}")
        return dict(IMPORT)

    def discard(self) -> None:
        self.ended += 1


@dataclass
class FakeSystem:
    """A process with a short log."""

    ca: Certificate | None = CA

    def log_tail(self, lines: int, level: str | None) -> list[Line]:
        return [Line(NOW_MS, level or "info", "started", "port=1")][:lines]

    async def backup(self) -> AsyncIterator[bytes]:
        for piece in (b"one", b"two"):
            yield piece

    def certificate(self) -> Certificate | None:
        return self.ca


@pytest.fixture
def upload(rig: Rig) -> FakeUpload:
    upload = FakeUpload()
    rig.app = create_app(replace(rig.deps(), uploads=upload, system=FakeSystem()))
    return upload


def answers(rig: Rig, name: str, value: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Have an operation answer this; return the list of what it is asked."""
    asked: list[Mapping[str, object]] = []

    async def answer(args: Mapping[str, object], who: str) -> dict[str, object]:
        asked.append({"who": who, **args})
        return dict(value)

    rig.operations.others[name] = answer
    return asked


async def test_an_upload_streams_in_with_its_name(rig: Rig, upload: FakeUpload) -> None:
    content = bytes(range(256)) * 3000
    async with rig.login("otto") as client:
        files = [("note", ("n", b"x")), ("file", ("../C:\\my house.csv", content))]
        answer = await client.post(f"{API}/imports", files=files)
    assert answer.status_code == 201, answer.text
    assert answer.json() == IMPORT
    assert upload.content == content
    assert upload.taken == ["otto:my house.csv"]
    assert upload.ended == 2  # finished, and discarded whatever became of it


async def test_uploads_that_cannot_be_are_refused(rig: Rig, upload: FakeUpload) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    async with rig.login("otto") as client:
        path = f"{API}/imports"
        assert_problem(await client.post(path, json={}), 415)
        assert_problem(
            await client.post(path, headers={"Content-Type": "multipart/form-data"}), 415
        )
        assert_problem(await client.post(path, content=b"rubbish", headers=kind), 400)
        assert_problem(await client.post(path, files={"table": b"a"}), 422)
        cut = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc'
        assert_problem(await client.post(path, content=cut, headers=kind), 422)
        large = {**kind, "Content-Length": str(LARGEST_UPLOAD + 70_000)}
        assert_problem(await client.post(path, content=b"", headers=large), 413)
    assert upload.taken == []


async def test_an_upload_without_a_length_ends_at_the_limit(
    rig: Rig, upload: FakeUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.web.bodies.LARGEST_UPLOAD", 100_000)

    async def endless() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        while True:
            yield b"x" * 10_000

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    async with rig.login("otto") as client:
        assert_problem(await client.post(f"{API}/imports", content=endless(), headers=kind), 413)
    assert len(upload.content) < 200_000
    assert upload.taken == []


async def test_other_bodies_stay_small(rig: Rig) -> None:
    async with rig.login() as client:
        assert_problem(await client.post(f"{API}/tariffs", json={"name": "x" * 70_000}), 413)


async def test_tariffs_pass_as_they_are(rig: Rig) -> None:
    asked = answers(rig, "tariffs.add", {"id": "t1", **PLAN})
    async with rig.login("otto") as client:
        answer = await client.post(f"{API}/tariffs", json=PLAN)
        assert_problem(await client.post(f"{API}/tariffs", json={**PLAN, "colour": 1}), 422)
        wrong = {**PLAN, "import": [{**PLAN["import"][0], "from": "00:07"}]}  # type: ignore[index]
        assert_problem(await client.post(f"{API}/tariffs", json=wrong), 422)
    assert answer.json() == {"id": "t1", **PLAN}
    assert asked == [{"who": "otto", **PLAN}]


async def test_a_tree_that_changed_meanwhile_is_a_conflict(rig: Rig) -> None:
    async def refuse(args: Mapping[str, object], who: str) -> dict[str, object]:
        raise ConflictError(str(args["version"]) + who)

    rig.operations.others["site.draw"] = refuse
    async with rig.login("otto") as client:
        body = {"nodes": [], "version": 3}
        assert_problem(await client.put(f"{API}/site/tree", json=body), 409)
        assert_problem(await client.put(f"{API}/site/tree", json={"nodes": []}), 422)


async def test_the_system_is_for_administrators(rig: Rig, upload: FakeUpload) -> None:
    for path in ("log", "backup", "settings"):
        async with rig.login("otto") as client:
            assert_problem(await client.get(f"{API}/system/{path}"), 403)
    async with rig.login() as client:
        lines = (await client.get(f"{API}/system/log?lines=1&level=error")).json()
        backup = await client.get(f"{API}/system/backup")
    assert lines["items"][0] == {
        "at_ms": NOW_MS, "level": "error", "event": "started", "text": "port=1",
    }  # fmt: skip
    assert backup.content == b"onetwo"
    assert backup.headers["content-disposition"].endswith('.db.gz"')
    audit = await rig.accounts.audit_page(None, 5)
    assert "system.backup" in {entry.what for _, entry in audit}


async def test_a_phone_learns_whom_to_trust_without_a_login(rig: Rig, upload: FakeUpload) -> None:
    async with rig.client() as client:
        told = (await client.get(f"{API}/trust")).json()
        ca = await client.get("/trust/ca.crt")
        code = await client.get("/trust/qr.svg")
    assert (told["available"], told["name"], told["ca_url"]) == (True, "Home CA", "/trust/ca.crt")
    assert told["page_url"] == "http://wattwarden.local:8080/trust"  # never a loopback address
    assert told["fingerprint_sha256"] == "AB:CD"
    assert (ca.content, ca.headers["content-type"]) == (CA.pem, "application/x-x509-ca-cert")
    assert code.text.startswith("<svg")


async def test_a_site_without_a_ca_says_so(rig: Rig) -> None:
    async with rig.client() as client:
        assert (await client.get(f"{API}/trust")).json()["available"] is False
        assert_problem(await client.get("/trust/ca.crt"), 404)


@pytest.mark.parametrize("path", ["log", "backup"])
async def test_what_this_process_lacks_is_unavailable(rig: Rig, path: str) -> None:
    async with rig.login() as client:
        assert_problem(await client.get(f"{API}/system/{path}"), 503)


async def test_what_an_operation_refuses_is_told(rig: Rig) -> None:
    async def refuse(args: Mapping[str, object], who: str) -> dict[str, object]:
        msg = f"meter: {args['meter']} is live"
        raise BadInputError(msg)

    rig.operations.others["imports.start"] = refuse
    async with rig.login("otto") as client:
        body = {"meter": "kitchen", "time": "t", "map": {"p": "p"}}
        answer = await client.post(f"{API}/imports/i1/start", json=body)
        assert_problem(answer, 422)
        assert answer.json()["detail"] == "meter: kitchen is live"
        assert_problem(await client.post(f"{API}/imports/x1/start", json=body), 422)

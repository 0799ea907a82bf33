"""Models, calibrations and firmware on their way to meters: desired, handed out, confirmed."""

import asyncio
import base64
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Final

import msgspec
import structlog

from gateway.domain.errors import BadInputError, NotFoundError, StorageError, TransientError
from gateway.services.bundle_forms import (
    EVERY_METER,
    Announced,
    BundleStore,
    Progress,
    Wanted,
    announced,
    entry,
)
from gateway.services.ledger import Ledger
from gateway.services.placer import Now

log = structlog.get_logger()
MOST_LENGTH = 2048  # of a piece: contract, section 2
MOST_ASKED = 1024  # messages that wait to be looked at; a meter asks again
ASKED_PER_METER = 4  # ... of one meter: it asks for one piece at a time
PIECES_PER_S = 200.0  # of all meters; a Pi's broker takes ten times as many
KEPT_BODIES = 4
KEPT_VERSIONS: Final = {"calibration": 50, "model": 8, "firmware": 4}
TRIAL_OVER_MS = 360_000  # a meter gives ten good windows five minutes
REPEAT_S = 60.0  # what could not be stored or sent is tried again
FETCHING, RUNNING, REFUSED, ANNOUNCED = "fetching", "running", "refused", "announced"
Send = Callable[..., bool]


class Get(msgspec.Struct):
    """A meter's `bundle/get`."""

    kind: Annotated[str, msgspec.Meta(max_length=16)]
    version: int
    offset: int
    length: int


_get = msgspec.json.Decoder(Get)
Key = tuple[str, str]  # meter, kind


class Rollout:
    """The service. `told`, `event` and `linked` are called from the event loop, and are quick.

    What is wanted lies in storage; `desired` follows from it and is published, retained, with
    each connection, each change, and when a meter without one appears.
    """

    def __init__(
        self, store: BundleStore, send: Send, ledger: Callable[[], Ledger], now: Now
    ) -> None:
        self._store = store
        self._send = send
        self._ledger = ledger
        self._now = now
        self._bundles: dict[tuple[str, str, int], Announced] = {}
        self._wanted: dict[tuple[str, str], Wanted] = {}  # kind, meter
        self._staged: dict[str, tuple[Wanted, frozenset[str]]] = {}  # kind: for these meters only
        self._progress: dict[Key, Progress] = {}
        self._dirty: dict[Key, Progress] = {}
        self._published: dict[str, bytes] = {}
        self._asked: deque[tuple[str, Get]] = deque(maxlen=MOST_ASKED)
        self._bodies: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()
        self._wake = asyncio.Event()
        self._relinked = False
        self._loaded = False

    async def load(self) -> None:
        """Read what is wanted; does nothing the second time."""
        if self._loaded:
            return
        bundles, wanted, progress = await self._store.load()
        self._bundles = {(one.kind, one.meter, one.version): one for one in bundles}
        self._wanted = {(one.kind, one.meter): one for one in wanted}
        self._progress = {(one.meter, one.kind): one for one in progress}
        self._loaded = True

    async def run(self) -> None:
        """Announce and hand out, until cancelled."""
        try:
            await self.load()
            self._relinked = True
            while True:
                self._wake.clear()
                await self._turn()
                try:
                    async with asyncio.timeout(REPEAT_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        except StorageError as error:
            msg = f"bundles: {error}"
            raise TransientError(msg) from error

    async def _turn(self) -> None:
        if self._relinked:
            self._relinked = False
            self._published.clear()
            for meter in list(self._ledger().meters):
                self.announce(meter)
        while self._asked:
            meter, asked = self._asked.popleft()
            await self._hand_out(meter, asked)
            await asyncio.sleep(1 / PIECES_PER_S)
        for key, progress in list(self._dirty.items()):
            await self._store.note(progress)
            if self._dirty.get(key) is progress:
                del self._dirty[key]

    # -- what is wanted -------------------------------------------------------------------------

    async def publish(  # noqa: PLR0913 - what a bundle is made of
        self, kind: str, meter: str, version: int, body: bytes, sig: bytes, *, by: str,
        want: bool = True,
    ) -> Announced:  # fmt: skip
        """Store a bundle and want it on a meter, or on all ("*"); `want` False: only store it.

        BadInputError for what no meter would take, and for a version that does not rise (the
        same bundle again changes nothing); NotFoundError for an unknown meter.
        """
        await self.load()
        self._check_meter(meter)
        bundle = announced(kind, meter, version, body, sig, at_ms=self._now.wall_ms(), by=by)
        known = self._bundles.get((kind, meter, version))
        if known is not None and known.sha256 != bundle.sha256:
            msg = f"version: {kind} {version} for {meter} exists with another content; raise it"
            raise BadInputError(msg)
        highest = max((v for k, m, v in self._bundles if (k, m) == (kind, meter)), default=0)
        if known is None and version <= highest:
            msg = f"version: must be above {highest}, the highest {kind} there is for {meter}"
            raise BadInputError(msg)
        if known is not None:
            if want:
                await self.want(kind, meter, version)
            return known
        wanted = Wanted(kind, meter, version, bundle.published_ms) if want else None
        await self._store.put(bundle, body, wanted, KEPT_VERSIONS[kind])
        self._bundles[kind, meter, version] = bundle
        if wanted is not None:
            self._want(wanted)
        return bundle

    def stage(self, kind: str, version: int, meters: Iterable[str]) -> None:
        """Want a stored bundle for all ("*") on these meters only, for now; no meters: end it.

        It lives in memory: whoever stages says so again after a start.
        """
        before = self._staged.pop(kind, None)
        chosen = frozenset(meters)
        if chosen:
            wanted = Wanted(kind, EVERY_METER, version, self._now.wall_ms())
            if before is not None and before[0].version == version:
                wanted = before[0]
            self._staged[kind] = (wanted, chosen)
        for meter in chosen | (before[1] if before else frozenset()):
            shall = self.wanted_version(kind, meter)
            known = self._progress.get((meter, kind))
            if shall is not None and (known is None or known.version != shall):
                at_ms = self._now.wall_ms()
                self._note(Progress(meter, kind, shall, ANNOUNCED, updated_ms=at_ms))
            self.announce(meter)

    async def want(self, kind: str, meter: str, version: int) -> None:
        """Want a stored bundle again: the version before, say. NotFoundError when it is gone."""
        await self.load()
        if (kind, meter, version) not in self._bundles:
            msg = f"no {kind} {version} for {meter} is kept"
            raise NotFoundError(msg)
        wanted = Wanted(kind, meter, version, self._now.wall_ms())
        await self._store.want(wanted)
        self._want(wanted)

    def _want(self, wanted: Wanted) -> None:
        kind, meter = wanted.kind, wanted.meter
        self._wanted[kind, meter] = wanted
        for one in [meter] if meter != EVERY_METER else list(self._ledger().meters):
            known = self._progress.get((one, kind))
            runs = known is not None and known.state in (RUNNING, REFUSED)
            if known is None or not runs or known.version != wanted.version:  # else it says no more
                at_ms = wanted.since_ms
                self._note(Progress(one, kind, wanted.version, ANNOUNCED, updated_ms=at_ms))
            self.announce(one)

    def _check_meter(self, meter: str) -> None:
        known = self._ledger().meters.get(meter)
        if meter != EVERY_METER and (known is None or known.removed or known.info.recorded):
            msg = f"no meter {meter[:60]!r} that could take it; see: wattwarden meters list"
            raise NotFoundError(msg)

    def desired(self, meter: str) -> list[Announced]:
        """Return what a meter shall run: of each kind what was wanted last, for it or for all."""
        out = []
        for kind in KEPT_VERSIONS:
            found = [self._wanted.get((kind, one)) for one in (meter, EVERY_METER)]
            staged = self._staged.get(kind)
            if staged is not None and meter in staged[1]:
                found.append(staged[0])
            newest = max((one for one in found if one), key=lambda w: w.since_ms, default=None)
            if newest is not None:
                bundle = self._bundles.get((kind, newest.meter, newest.version))
                out += [bundle] if bundle is not None else []
        return out

    def announce(self, meter: str) -> None:
        """Publish a meter's `desired` where it is not what was published last."""
        known = self._ledger().meters.get(meter)
        if known is None or known.removed or known.info.recorded:
            self._published.pop(meter, None)  # should it come back, it is told anew
            return
        bundles = [entry(bundle) for bundle in self.desired(meter)]
        if not bundles and meter not in self._published:
            return
        payload = json.dumps({"bundles": bundles}, separators=(",", ":")).encode()
        if self._published.get(meter) == payload:
            return
        if self._send(meter, "desired", payload, retain=True):
            self._published[meter] = payload

    def highest(self, kind: str, meter: str) -> int:
        """Return the highest version there has been of a kind for a meter, 0 for none."""
        ran = self._progress.get((meter, kind))
        stored = [v for k, m, v in self._bundles if k == kind and m in (meter, EVERY_METER)]
        return max(stored + ([ran.version] if ran else []), default=0)

    def wanted_version(self, kind: str, meter: str) -> int | None:
        """Return the version that a meter shall run, None when nothing was ever wanted."""
        found = [one.version for one in self.desired(meter) if one.kind == kind]
        return found[0] if found else None

    def progress(self, meter: str) -> list[Progress]:
        """Return how far a meter is with each kind."""
        return [
            self._progress[meter, kind] for kind in KEPT_VERSIONS if (meter, kind) in self._progress
        ]

    # -- what meters say ------------------------------------------------------------------------

    def linked(self) -> None:
        """Announce everything anew: the broker may have forgotten it."""
        self._relinked = True
        self._wake.set()

    def asked(self, meter: str, payload: bytes) -> None:
        """Take a `bundle/get`; more than a few of one meter at a time are dropped."""
        try:
            asked = _get.decode(payload[:1024])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("bundle_get_malformed", meter=meter, error=str(error)[:200])
            return
        if sum(one == meter for one, _ in self._asked) < ASKED_PER_METER:
            self._asked.append((meter, asked))
            self._wake.set()

    def stated(self, meter: str, said: Mapping[str, object]) -> None:
        """Take a `state`: it tells which model and calibration run."""
        if meter not in self._published:
            self.announce(meter)
        for kind, name in (("model", "model"), ("calibration", "cal")):
            version, known = said.get(name), self._progress.get((meter, kind))
            if type(version) is not int or known is None or known.version != version:
                continue
            # On trial a version runs already, so the event alone confirms it; where that was
            # lost, the trial is over by now.
            since_ms = abs(self._now.wall_ms() - known.updated_ms)
            if known.state in (ANNOUNCED, FETCHING) and since_ms > TRIAL_OVER_MS:
                self._note(msgspec.structs.replace(known, state=RUNNING, offset=0))

    def event(self, meter: str, event: Mapping[str, object]) -> None:
        """Take an event of kind `model`: a bundle was confirmed, or refused and why."""
        kind, version, ok = event.get("bundle"), event.get("version"), event.get("ok")
        if event.get("kind") != "model" or kind not in KEPT_VERSIONS or type(version) is not int:
            return
        why, detail = str(event.get("why", ""))[:40], str(event.get("detail", ""))[:200]
        state = RUNNING if ok is True else REFUSED
        now_ms = self._now.wall_ms()
        known = self._progress.get((meter, str(kind)))
        if known is not None and known.version != version and ok is not True:
            return  # an older one's: what is wanted now is still on its way
        log.info("bundle_told", meter=meter, kind=kind, version=version, state=state, why=why)
        self._note(Progress(meter, str(kind), version, state, why, detail, now_ms))

    def _note(self, progress: Progress) -> None:
        key = (progress.meter, progress.kind)
        self._progress[key] = progress
        self._dirty[key] = progress
        self._wake.set()

    # -- handing out ----------------------------------------------------------------------------

    async def _hand_out(self, meter: str, asked: Get) -> None:
        message: dict[str, object] = {"kind": asked.kind, "version": asked.version}
        body = await self._body(meter, asked)
        if body is None:
            message["error"] = "unknown"
        elif not (0 <= asked.offset < len(body) and 0 < asked.length <= MOST_LENGTH):
            message["error"] = "range"
        else:
            piece = body[asked.offset : asked.offset + asked.length]
            message |= {"offset": asked.offset, "data": base64.b64encode(piece).decode()}
            self._fetches(meter, asked)
        self._send(meter, "bundle/chunk", json.dumps(message, separators=(",", ":")).encode())

    async def _body(self, meter: str, asked: Get) -> bytes | None:
        """Return the bundle's bytes: of the one it shall run, or else of another one for it."""
        chosen = [
            one.meter
            for one in self.desired(meter)
            if (one.kind, one.version) == (asked.kind, asked.version)
        ]
        for owner in (*chosen, meter, EVERY_METER):
            key = (asked.kind, owner, asked.version)
            if key not in self._bundles:
                continue
            body = self._bodies.pop(key, None) or await self._store.body(*key)
            if body is not None:
                self._bodies[key] = body
                while len(self._bodies) > KEPT_BODIES:
                    self._bodies.popitem(last=False)
                return body
        return None

    def _fetches(self, meter: str, asked: Get) -> None:
        known = self._progress.get((meter, asked.kind))
        now_ms = self._now.wall_ms()
        moved = Progress(
            meter, asked.kind, asked.version, FETCHING, updated_ms=now_ms, offset=asked.offset
        )
        if known is None or (known.state, known.version) != (FETCHING, asked.version):
            self._note(moved)
        else:
            self._progress[meter, asked.kind] = moved  # each piece is not worth a commit

"""What `state` and `events` messages of a meter mean for the ledger."""

import re
from collections import OrderedDict
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.domain.errors import BadPayloadError
from gateway.domain.readings import Millis, Uint32
from gateway.pipeline.decode import KEPT_BYTES, Rejected
from gateway.services.batches import MeterState
from gateway.services.gapkeeper import finalise_by_have
from gateway.services.ledger import MAX_SEQ_JUMP
from gateway.services.planner import Planner

METER_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,31}\Z")
MAX_BYTES = 16 * 1024
MAX_WAITING = 256  # states of meters whose first reading has not come yet


class Held(Struct):
    """Readings of one boot that the meter still holds: all from seq `from` on."""

    boot: Uint32
    bootn: Uint32 | None = None
    from_: Annotated[int, Meta(ge=0, le=2**32)] = msgspec.field(name="from", default=0)


class State(Struct):
    """A meter's `state` message; unknown fields are ignored."""

    online: bool
    boot: Uint32 | None = None
    bootn: Uint32 | None = None
    up: Millis | None = None
    have: Annotated[list[Held], Meta(max_length=64)] | None = None


class Dropped(Struct):
    """A meter's `events` message of kind `dropped`: it no longer has these windows."""

    boot: Uint32
    from_: Uint32 = msgspec.field(name="from")
    to: Uint32
    kind: Literal["dropped"]


class Event(Struct):
    """Any other `events` message."""

    boot: Uint32
    kind: Annotated[str, Meta(max_length=32)]


_state = msgspec.json.Decoder(State)
_dropped = msgspec.json.Decoder(Dropped)
_event = msgspec.json.Decoder(Event)
_loose = msgspec.json.Decoder(dict[str, object])


def _checked(payload: bytes) -> bytes:
    if len(payload) > MAX_BYTES:
        reason = "too_large"
        raise BadPayloadError(reason, f"{len(payload)} bytes; at most {MAX_BYTES}")
    return payload


def _rejected(reason: str, error: Exception, payload: bytes) -> Rejected:
    return Rejected(reason, str(error)[:200], payload[:KEPT_BYTES])


class StateKeeper:
    """Takes `state` messages; keeps those of meters that are not registered yet."""

    def __init__(self) -> None:
        self.planner: Planner | None = None
        self._valid: set[str] = set()
        self._waiting: OrderedDict[str, tuple[str, bytes, int, bool]] = OrderedDict()

    def is_meter_id(self, meter_id: str) -> bool:
        """Tell whether a topic's second level is a meter id; known ones are remembered."""
        if meter_id in self._valid:
            return True
        if METER_ID.match(meter_id) is None:
            return False
        if len(self._valid) < MAX_WAITING * 8:
            self._valid.add(meter_id)
        return True

    def take(
        self, topic: str, meter_id: str, payload: bytes, received_ms: int, *, retained: bool
    ) -> None:
        """Plan one `state` message; an unknown meter's waits for its first reading."""
        if not payload:
            return  # a retained one was taken back
        planner = self._planner()
        try:
            text = _checked(payload).decode()
            state = _state.decode(text)
        except BadPayloadError as error:
            planner.dead_letter(
                topic, _rejected(error.reason, error, payload), received_ms, len(payload)
            )
            return
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            rejected = _rejected("bad_state", error, payload)
            planner.dead_letter(topic, rejected, received_ms, len(payload))
            return
        if meter_id not in planner.ledger.meters:
            self._waiting[meter_id] = (topic, payload, received_ms, retained)
            self._waiting.move_to_end(meter_id)
            if len(self._waiting) > MAX_WAITING:
                self._waiting.popitem(last=False)
            return
        self._apply(meter_id, state, text, received_ms, retained=retained)

    def admit(self, meter_id: str) -> None:
        """Plan the state that waited for a meter's first reading."""
        waiting = self._waiting.pop(meter_id, None)
        if waiting is not None and meter_id in self._planner().ledger.meters:
            topic, payload, received_ms, retained = waiting
            self.take(topic, meter_id, payload, received_ms, retained=retained)

    def _apply(
        self, meter_id: str, state: State, text: str, received_ms: int, *, retained: bool
    ) -> None:
        planner = self._planner()
        meter = planner.ledger.meters[meter_id]
        states = planner.batch.states
        before = states[meter.no].payload if meter.no in states else None
        states[meter.no] = MeterState(meter.no, text, received_ms, state.online).after(before)
        if not state.online or state.boot is None:
            return
        live = received_ms if not retained and planner.trusts_clock() else None
        up_ms = 0 if state.up is None else state.up
        boot = planner.heard_state(
            meter, state.boot, state.bootn, up_ms, live_ms=live if state.up is not None else None
        )
        if state.have is None:
            return
        for held in state.have:
            known = meter.boots.get(held.boot)
            if known is not None and held.bootn is not None and known.bootn != held.bootn:
                planner.heard_state(meter, held.boot, held.bootn, 0, live_ms=None)
        have = {held.boot: held.from_ for held in state.have}
        finalise_by_have(planner, meter, boot, have, received_ms)

    def _planner(self) -> Planner:
        if self.planner is None:
            msg = "the ledger has not been loaded"
            raise RuntimeError(msg)
        return self.planner


def take_event(
    planner: Planner, topic: str, meter_id: str, payload: bytes, received_ms: int
) -> dict[str, object] | None:
    """Plan one `events` message; return it when it is for others than the ledger."""
    try:
        kind = _event.decode(_checked(payload)).kind
        if kind != "dropped":
            return _loose.decode(payload)
        _drop(planner, meter_id, _dropped.decode(payload), received_ms)
    except BadPayloadError as error:
        planner.dead_letter(
            topic, _rejected(error.reason, error, payload), received_ms, len(payload)
        )
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        planner.dead_letter(
            topic, _rejected("bad_event", error, payload), received_ms, len(payload)
        )
    return None


def _drop(planner: Planner, meter_id: str, dropped: Dropped, received_ms: int) -> None:
    meter = planner.ledger.meters.get(meter_id)
    if meter is None:
        return  # nothing is known of it, so nothing is missing
    if dropped.to < dropped.from_:
        reason = "bad_event"
        raise BadPayloadError(reason, f"dropped from {dropped.from_} to {dropped.to}")
    boot = meter.boots.get(dropped.boot)
    if boot is None:
        boot = planner.heard_state(meter, dropped.boot, None, 0, live_ms=None)
    if boot.runs and dropped.to > boot.received.highest + MAX_SEQ_JUMP:
        reason = "bad_event"
        raise BadPayloadError(reason, f"dropped to {dropped.to}, far beyond what was received")
    planner.finalise(meter, boot, dropped.from_, dropped.to, "dropped by the meter", received_ms)

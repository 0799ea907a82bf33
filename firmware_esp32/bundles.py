"""Bundles of models, calibrations and firmware: from `desired` to confirmed, or back again.

One bundle at a time: announced, signature, version, size, fetched, hash, written to the
inactive slot, self-test, active on trial, confirmed after ten good windows. Whatever fails, the
old one keeps running and a `model` event says why. docs/firmware/bundles.md has the road and
what a power cut at each step leaves.
"""

from announce import KINDS, MOST_BYTES, well_formed
from bootslot import NONE
from errors import BadBundleError, FlashError, LinkError
from install import Installer
from log import log
from refusals import (
    FORM,
    MAY_HEAL,
    NO_GATEWAY,
    POWER_CUT,
    SELFTEST,
    SIZE,
    SPACE,
    UNHEALTHY,
    VERSION,
    flash_error,
)
from slots import Slots, mark
from ticks import ticks_diff, ticks_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from announce import Entry, Keys
    from fetch import RequestChunk, Sleep
    from slots import Lend

    Apply = Callable[[bytes | memoryview | None], None]

GOOD_WINDOWS = 10
TRIAL_MS = 300_000  # without ten good windows in that time it is no good
# A firmware that measures well but cannot reach its gateway could never be replaced again.
# It is given this time, since the gateway itself may be down.
TOUCH_MS = 3_600_000
MOST_ENTRIES = 8  # of one `desired` that are looked at
_MOST_DETAIL = 120  # characters
_IDLE_S = 1.0
_FIRST_PAUSE_S = 5.0  # after the gateway did not answer
_MOST_PAUSE_S = 60.0


class Bundles:
    """The meter's bundles below `root` ("" on the board).

    `keys` has the pinned ed25519 public keys: {"release": [...], "site": [...]}.
    `request_chunk(kind, version, offset, length)` asks the gateway; LinkError while offline.
    `send_event(event)` queues an event. `apply[kind](content)` for model and calibration tests
    the content on its own vectors and activates it, or raises BadBundleError and changes
    nothing; None means the built-in default. `lend(size)` lends memory for a content, until
    something is awaited; None where there is no such memory. `restart()` reboots into the
    firmware chosen by main.py. `sleep(seconds)` lets others run.
    """

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        root: str,
        meter: str,
        keys: "Keys",
        *,
        request_chunk: "RequestChunk",
        send_event: "Callable[[dict[str, Any]], None]",
        apply: "dict[str, Apply]",
        lend: "Lend",
        restart: "Callable[[], Awaitable[None]]",
        sleep: "Sleep",
    ) -> None:
        self._send_event = send_event
        self._apply = apply
        self._lend = lend
        self._restart = restart
        self._sleep = sleep
        # What outlives this object where it is let go between bundles (depot.py).
        self.told_form = False
        self.may_heal = False  # what was refused may do when it is announced again
        self._installer = Installer(root, meter, keys, request_chunk, sleep, lend)
        self._slots = {kind: Slots(root, kind) for kind in KINDS}
        self._resting: set[str] = set()  # marks refused for now, until `desired` comes again
        self._in_touch = False  # `desired` came since this boot
        self._good = 0
        self._trial_since = ticks_ms()
        self._restart_due = False
        for kind, slots in self._slots.items():
            slots.settle()
            self._installer.fetcher.drop_held(kind, slots.state["hashes"])

    # -- for the rest of the meter -----------------------------------------------------

    def active(self, kind: str) -> "bytes | memoryview | None":
        """Return the content in force at boot, None for the built-in (always for firmware)."""
        slots = self._slots[kind]
        return None if kind == "firmware" else slots.read(slots.state["active"])

    def unusable(self, kind: str) -> "bytes | memoryview | None":
        """Give up the content in force of a model or calibration that cannot be used at boot.

        A firmware may read less than the one before it. Returns what is in force instead, None
        for the built-in; a `model` event tells of it.
        """
        slots = self._slots[kind]
        if slots.state["active"] != NONE:
            try:
                slots.leave(SELFTEST)
            except FlashError as error:
                log(f"bundles: cannot save that {kind} is given up ({error})")
        return self.active(kind)

    def versions(self) -> "dict[str, int]":
        """Return the version in force of each kind; 0 = built-in."""
        return {kind: slots.version for kind, slots in self._slots.items()}

    async def desired(self, message: "dict[str, Any]") -> None:
        """Take a `desired` message: it replaces the one before."""
        self._resting.clear()
        self.may_heal = False
        self._in_touch = True
        wanted = {}
        entries = message.get("bundles")
        for entry in entries[:MOST_ENTRIES] if isinstance(entries, list) else []:
            if well_formed(entry):
                wanted[entry["kind"]] = entry
            else:
                self._tell_malformed(entry)
        self._installer.wanted = wanted

    async def chunk(self, message: "dict[str, Any]") -> None:
        """Take a `bundle/chunk` message."""
        self._installer.fetcher.answered(message)

    def good_window(self) -> None:
        """Count a window that was measured and judged well; the tenth confirms a trial.

        A firmware's trial also needs a `desired` message: proof that its link works.
        """
        slots = self._on_trial()
        if slots is None or self._restart_due:
            return
        self._good += 1
        if self._good < GOOD_WINDOWS or not (self._in_touch or slots.kind != "firmware"):
            return
        try:
            slots.confirm()
        except FlashError as error:
            log(f"bundles: cannot confirm {slots.kind} {slots.version} ({error})")
            return  # the next window tries again
        self._tell(slots.kind, slots.version, "")

    def bad(self) -> None:
        """Roll back now what is on trial: the meter is not well with it."""
        slots = self._on_trial()
        if slots is not None and not self._restart_due:
            slots.state["refused"] = [slots.state["trying"], UNHEALTHY]
            self._roll_back(slots, UNHEALTHY)

    def idle(self) -> bool:
        """Tell whether nothing is on its way: no trial, nothing to fetch, nothing to tell."""
        if self._restart_due:
            return False
        for kind, slots in self._slots.items():
            if slots.pending or slots.state["fell"]:
                return False
            entry = self._installer.wanted.get(kind)
            if entry is None or mark(entry) in self._resting:
                continue
            if not (slots.runs(entry) or slots.was_refused(entry)):
                return False
        return True

    async def run(self, for_ever: bool = True) -> None:
        """Bring in what is desired; for ever.

        Without `for_ever`: until nothing is on its way, or the gateway does not answer.
        """
        pause_s = _FIRST_PAUSE_S
        while for_ever or not self.idle():
            self._report_falls()
            try:
                await self._round()
                if self._restart_due:
                    await self._restart()
                pause_s = _FIRST_PAUSE_S
                await self._sleep(_IDLE_S)
            except (LinkError, FlashError, MemoryError) as error:
                log(f"bundles: later again ({error})")
                if not for_ever and self._on_trial() is None and not self._restart_due:
                    return
                await self._sleep(pause_s)
                pause_s = min(_MOST_PAUSE_S, 2 * pause_s)

    # -- the road ----------------------------------------------------------------------

    async def _round(self) -> None:
        """Go on with each kind, in order; LinkError after all had their turn."""
        failure: LinkError | None = None
        for kind in KINDS:
            on_trial = self._on_trial()
            if on_trial is not None:
                self._watch(on_trial)
                return
            entry = self._installer.wanted.get(kind)
            if entry is not None and mark(entry) not in self._resting:
                failure = await self._attempt(kind, entry) or failure
        if failure is not None:
            raise failure

    async def _attempt(self, kind: str, entry: "Entry") -> "LinkError | None":
        """Bring a bundle, or refuse it; return the error that asks for a later try."""
        try:
            await self._bring(self._slots[kind], entry)
        except LinkError as error:
            return error
        except BadBundleError as error:
            self._refuse(kind, entry, error)
        except FlashError as error:
            self._refuse(kind, entry, BadBundleError(SPACE, str(error)))
        except OSError as error:
            self._refuse(kind, entry, flash_error(error))
        return None

    async def _bring(self, slots: Slots, entry: "Entry") -> None:
        """Bring one announced bundle up to its trial. BadBundleError refuses it."""
        if slots.runs(entry) or slots.was_refused(entry):
            return
        most = MOST_BYTES[slots.kind]
        if entry["size"] > most:
            raise BadBundleError(SIZE, f"at most {most} bytes")
        if not slots.admits(entry):
            raise BadBundleError(VERSION, f"confirmed up to {slots.state['floor']}")
        await self._installer.check(entry)
        slot = slots.find(entry)
        if slot == NONE:
            slot = await self._installer.install(slots, entry)
        if self._installer.wanted.get(slots.kind) != entry:
            return  # something else is desired by now
        if not slots.begin(entry):
            raise BadBundleError(POWER_CUT, "never lived to be confirmed")
        if slots.kind == "firmware":
            await self._try_firmware(slots, entry, slot)
        else:
            self._try(slots, entry, slot)

    async def _try_firmware(self, slots: Slots, entry: "Entry", slot: int) -> None:
        """Read a slot back, then have main.py start it, on trial."""
        try:
            await self._installer.check_firmware(slots.path(slot))
        except BadBundleError:
            slots.drop(slot)
            raise
        slots.activate(slot)
        self._restart_due = True
        log(f"bundles: firmware {entry['version']} starts now")

    def _try(self, slots: Slots, entry: "Entry", slot: int) -> None:
        """Self-test a slot, then make it the active one, on trial."""
        data = slots.read(slot, self._lend)
        if data is None:
            slots.drop(slot)  # torn by a power cut: fetched anew
            return
        _self_test(self._apply[slots.kind], data)
        try:
            slots.activate(slot)
        except FlashError:
            self._reapply(slots)
            raise
        self._good = 0
        self._trial_since = ticks_ms()
        log(f"bundles: {slots.kind} {entry['version']} on trial")

    # -- trial, refusal, events --------------------------------------------------------

    def _on_trial(self) -> "Slots | None":
        for slots in self._slots.values():
            if slots.pending:
                return slots
        return None

    def _watch(self, slots: Slots) -> None:
        """End a trial that takes too long."""
        waited_ms = ticks_diff(ticks_ms(), self._trial_since)
        if self._good < GOOD_WINDOWS and waited_ms > TRIAL_MS:
            self.bad()
        elif waited_ms > TOUCH_MS:
            self._roll_back(slots, NO_GATEWAY)  # not refused: it may try again

    def _roll_back(self, slots: Slots, why: str) -> None:
        try:
            slots.fall_back(why)
        except FlashError as error:
            log(f"bundles: cannot save the roll back ({error})")
        if slots.kind == "firmware":
            self._restart_due = True
        else:
            self._reapply(slots)

    def _reapply(self, slots: Slots) -> None:
        """Bring back what the active slot holds."""
        try:
            self._apply[slots.kind](slots.read(slots.state["active"], self._lend))
        except BadBundleError as error:
            log(f"bundles: old {slots.kind} does not fit any more ({error})")
            self._apply[slots.kind](None)

    def _refuse(self, kind: str, entry: "Entry", error: BadBundleError) -> None:
        """Remember a refusal and tell of it; what may heal is tried with the next `desired`."""
        self._resting.add(mark(entry))
        self._installer.fetcher.drop(entry)
        if error.reason in MAY_HEAL:
            self.may_heal = True
        else:
            try:
                self._slots[kind].refuse(mark(entry), error.reason)
            except FlashError as full:
                log(f"bundles: cannot save a refusal ({full})")
                self.may_heal = True
        self._tell(kind, entry["version"], error.reason, str(error))

    def _report_falls(self) -> None:
        """Tell once of a trial that ended without anyone to tell it."""
        for kind, slots in self._slots.items():
            fell = slots.state["fell"]
            if fell and not self._restart_due:
                slots.state["fell"] = None
                self._tell(kind, fell[0], fell[1])
                try:
                    slots.save()
                except FlashError:
                    pass  # told again after the next boot

    def _tell(self, kind: str, version: int, why: str, detail: str = "") -> None:
        event = {"kind": "model", "bundle": kind, "version": version, "ok": not why}
        if why:
            event["why"] = why
        if detail and detail != why:
            event["detail"] = detail[:_MOST_DETAIL]
        log(f"bundles: {kind} {version} {why or 'confirmed'} {detail}")
        self._send_event(event)

    def _tell_malformed(self, entry: object) -> None:
        """Tell once a boot: `desired` is retained and comes again with every connection."""
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if kind in KINDS and not self.told_form:
            self.told_form = True
            self._tell(str(kind), 0, FORM)


def _self_test(apply: "Apply", data: "bytes | memoryview") -> None:
    """Let a bundle's own part test and activate it; whatever it raises is a refusal.

    But for MemoryError: the heap may be full of readings now, and not when it is tried again.
    """
    try:
        apply(data)
    except MemoryError:
        raise
    except BadBundleError as error:
        raise BadBundleError(SELFTEST, str(error)) from error
    except Exception as error:
        raise BadBundleError(SELFTEST, repr(error)) from error

"""Commands from the gateway: checked, in time, each done once, each answered."""

import asyncio
import json

from actions import LONGEST_S, Actions
from checked import Checked
from errors import FlashError, MeterError
from log import log
from micropython import const
from orders import Kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from actions import Board, Collecting, Held, Network
    from clock import Clock
    from settings import Settings

    Result = dict[str, Any]
    Command = dict[str, Any]

REMEMBERED = const(16)  # ids whose results answer a repeat (contract, section 2)
MOST_WAITING = const(4)
MOST_STORED = const(3_000)  # bytes of results on flash
LONGEST_ID = const(64)
LONGEST_SSID = const(32)  # bytes, IEEE 802.11
LONGEST_PASSWORD = const(64)  # WPA: 63 characters, or 64 hex digits
MOST_TTL_MS = const(86_400_000)
REBOOT_AFTER_S = 2.0  # lets the result reach the broker
KINDS = ("relay", "identify", "calibrate", "reboot", "report", "wifi")
# Repeating these after a restart would do harm: their results outlive it.
LASTING = ("reboot", "wifi")


class Commands:
    """Takes commands (`handle`), does them in order (`run`), answers through `send_result`.

    `before_reset`, if set, is called before an ordered restart: it saves the registers.
    `actions.add_report` adds to what `report` tells. `kept` is what earlier ones left behind.
    """

    def __init__(  # noqa: PLR0913 - the parts that commands act on
        self,
        config: "Settings",
        board: "Board",
        clock: "Clock",
        *,
        link: "Network",
        meter: "Collecting",
        keeper: "Held",
        root: str,
        send_result: "Callable[[Result], object]",
        kept: "Kept | None" = None,
    ) -> None:
        self.before_reset: Callable[[], None] | None = None
        self.kept = kept = kept or Kept()
        self.actions = Actions(
            config, board, clock, link=link, keeper=keeper, meter=meter, root=root, kept=kept
        )
        self._board = board
        self._send = send_result
        self._root = root
        self._store = Checked(root, "commands")
        self._lasting: list[tuple[str, str]] = []
        self._waiting: list[tuple[Command, int]] = []
        self._doing: list[str] = []
        self._wake = asyncio.Event()
        self._calibrating: asyncio.Task[None] | None = None
        self._load()

    async def handle(self, cmd: "object", receipt_ms: int) -> None:
        """Take one command, received at `receipt_ms` of the board's up_ms; never raises on it."""
        name = cmd.get("id") if isinstance(cmd, dict) else None
        if (
            not isinstance(cmd, dict)
            or not isinstance(name, str)
            or not 0 < len(name) <= LONGEST_ID
        ):
            self.kept.refused += 1
            log("commands: one without a usable id; ignored")
            return
        if name in self._doing or any(c["id"] == name for c, _ in self._waiting):
            return  # its answer is on the way
        for known, text in self.kept.done:
            if known == name:
                self._send(self._stored(name, text))
                return
        wrong = _wrong(cmd)
        if wrong is not None:
            self.kept.refused += 1
            self._answer(name, wrong, {})
        elif len(self._waiting) >= MOST_WAITING:
            self.kept.refused += 1
            # Not remembered: the same command may come again when there is room.
            self._send(_result(name, "busy: too many commands wait", {}))
        else:
            self._waiting.append((cmd, receipt_ms))
            self._wake.set()

    async def run(self) -> None:
        """Do commands in the order they came, for ever."""
        while True:
            while self._waiting:
                cmd, receipt_ms = self._waiting.pop(0)
                self._doing.append(cmd["id"])
                # A calibration takes minutes, and a relay cannot wait for it.
                if cmd["kind"] == "calibrate":
                    self._begin(cmd, receipt_ms)
                else:
                    await self._do(cmd, receipt_ms)
            self._wake.clear()
            await self._wake.wait()

    def busy(self) -> bool:
        """Tell whether something waits, is being done, or goes on (the lamp, a calibration)."""
        return bool(self._waiting or self._doing) or self.actions.lit()

    def _begin(self, cmd: "Command", receipt_ms: int) -> None:
        if self._calibrating is not None and not self._calibrating.done():
            self._finish(cmd, "busy: a calibration is running", {})
            return
        self._calibrating = asyncio.create_task(self._do(cmd, receipt_ms))

    async def _do(self, cmd: "Command", receipt_ms: int) -> None:
        """Do one command unless its time is over, and answer it."""
        ttl_ms = cmd["ttl"]
        if self._board.up_ms() - receipt_ms > ttl_ms:
            self._finish(cmd, "expired", {})
            return
        if cmd["kind"] == "reboot":
            await self._reboot(cmd)
            return
        error, data = None, {}
        try:
            data = await self._act(cmd["kind"], cmd.get("args") or {})
        except MeterError as problem:
            error = str(problem) or "failed"
        except Exception as problem:  # noqa: BLE001 - whoever asked must hear of a defect too
            error = f"internal: {problem!r}"
            log(f"commands: {cmd['kind']} failed: {problem!r}")
        self._finish(cmd, error, data)

    async def _act(self, kind: str, args: "dict[str, Any]") -> "dict[str, Any]":
        if kind == "relay":
            return self.actions.relay(args["on"])
        if kind == "identify":
            return self.actions.identify(args["seconds"])
        if kind == "calibrate":
            return await self.actions.calibrate(args["seconds"])
        if kind == "wifi":
            return await self.actions.wifi(args["ssid"], args["password"])
        return self.actions.report()

    async def _reboot(self, cmd: "Command") -> None:
        """Answer, then restart; a meter that cannot remember having done so does not."""
        self._remember(cmd["id"], _result(cmd["id"], None, {}), lasting=True)
        try:
            self._save()
        except FlashError:
            self._forget(cmd["id"])
            self._finish(cmd, "the flash cannot be written: no restart", {})
            return
        self._send(_result(cmd["id"], None, {}))
        await asyncio.sleep(REBOOT_AFTER_S)
        if self.before_reset is not None:
            self.before_reset()
        await self.actions.reboot()
        self._doing.remove(cmd["id"])  # only a simulated board comes back from a reset

    def _finish(self, cmd: "Command", error: "str | None", data: "dict[str, Any]") -> None:
        name, lasting = cmd["id"], cmd["kind"] in LASTING
        self._doing.remove(name)
        self._answer(name, error, data, lasting=lasting)

    def _answer(
        self, name: str, error: "str | None", data: "dict[str, Any]", lasting: bool = False
    ) -> None:
        result = _result(name, error, data)
        self._remember(name, result, lasting)
        if lasting:
            try:
                self._save()
            except FlashError as problem:
                log(f"commands: a result is not saved ({problem})")
        self._send(result)

    def _remember(self, name: str, result: "Result", lasting: bool) -> None:
        # Text takes a third of the memory of a decoded result, and a file none.
        text = json.dumps(result)
        self.kept.done.append((name, text if lasting else self._laid(text)))
        del self.kept.done[:-REMEMBERED]
        if lasting:
            self._lasting.append((name, text))
            self._lasting = self._lasting[-REMEMBERED:]

    def _laid(self, text: str) -> "str | int":
        """Put a result on the flash; return its file's number, the text where that fails."""
        number = self.kept.files % REMEMBERED
        try:
            with open(self._file(number), "w") as file:
                file.write(text)
        except OSError:
            return text
        self.kept.files += 1
        return number

    def _stored(self, name: str, kept: "str | int") -> "Result":
        """Return a result that was remembered."""
        try:
            if isinstance(kept, str):
                return json.loads(kept)  # type: ignore[no-any-return]
            with open(self._file(kept)) as file:
                return json.load(file)  # type: ignore[no-any-return]
        except (OSError, ValueError):
            return _result(name, "done, but its result is lost", {})

    def _file(self, number: int) -> str:
        return f"{self._root}/result_{number}"

    def _forget(self, name: str) -> None:
        self.kept.done = [entry for entry in self.kept.done if entry[0] != name]
        self._lasting = [entry for entry in self._lasting if entry[0] != name]

    def _save(self) -> None:
        """Write the lasting results; the oldest give way to the space there is."""
        data = json.dumps(self._lasting).encode()
        while len(data) > MOST_STORED and self._lasting:
            self._lasting.pop(0)
            data = json.dumps(self._lasting).encode()
        self._store.save(data)

    def _load(self) -> None:
        data = self._store.load()
        try:
            entries = json.loads(data) if data else []
        except ValueError:
            entries = []
        # Written by this class and checked by CRC; an older firmware may still have used
        # another form.
        if isinstance(entries, list):
            good = [
                e for e in entries if isinstance(e, list) and [type(x) for x in e] == [str, str]
            ]
            self._lasting = [(e[0], e[1]) for e in good][-REMEMBERED:]
            known = [entry[0] for entry in self.kept.done]
            late: list[tuple[str, str | int]] = []
            late.extend([entry for entry in self._lasting if entry[0] not in known])
            late.extend(self.kept.done)
            self.kept.done = late[-REMEMBERED:]


def _result(name: str, error: "str | None", data: "dict[str, Any]") -> "Result":
    return {"id": name, "ok": error is None, "error": error, "data": data}


def _wrong(cmd: "Command") -> "str | None":
    """Return what is wrong with a command, None when it can be done."""
    kind = cmd.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return "kind: one of " + ", ".join(KINDS)
    ttl_ms = cmd.get("ttl")
    if not isinstance(ttl_ms, int) or isinstance(ttl_ms, bool) or not 0 < ttl_ms <= MOST_TTL_MS:
        return f"ttl: ms, from 1 to {MOST_TTL_MS}"
    args = cmd.get("args")
    if args is None:
        args = {}
    if not isinstance(args, dict):
        return "args: an object"
    if kind == "relay":
        return None if isinstance(args.get("on"), bool) else "args.on: true or false"
    if kind in ("identify", "calibrate"):
        seconds = args.get("seconds", 0)
        whole = isinstance(seconds, int) and not isinstance(seconds, bool)
        good = whole and 0 < seconds <= LONGEST_S
        return None if good else f"args.seconds: whole seconds from 1 to {LONGEST_S}"
    return _wrong_network(args) if kind == "wifi" else None


def _wrong_network(args: "dict[str, Any]") -> "str | None":
    ssid, password = args.get("ssid"), args.get("password")
    if not isinstance(ssid, str) or not 0 < len(ssid.encode()) <= LONGEST_SSID or "\x00" in ssid:
        return f"args.ssid: a name of 1 to {LONGEST_SSID} bytes"
    if not isinstance(password, str) or len(password) > LONGEST_PASSWORD or "\x00" in password:
        return f"args.password: at most {LONGEST_PASSWORD} characters, empty for an open network"
    return None

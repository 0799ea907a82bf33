"""Starts the firmware on a simulated board as the loader on a real one does."""

import sys

import main as loader
import simboard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FLASH = "/flash"


class Page:
    """Stands in for the ESP32's module `board`: gives the simulated one by its name."""

    def __init__(self, params: "dict[str, Any]", path: str) -> None:
        self._params = params
        self._path = path

    def Board(self, clamps: int) -> simboard.Board:  # noqa: N802 - a class's name
        """Return the board; the supply ends the process when its clamps are not as many."""
        self._params["clamps"] = clamps
        board = simboard.Board(self._params, self._path)
        if self._params.get("gauge"):
            from gauge import Gauge  # noqa: PLC0415 - else its memory is the meter's

            Gauge(board, self._params["gauge"], simboard.say, self._params["pieces"])
        return board


def prepare(params: "dict[str, Any]", path: str) -> str:
    """Return the root of the meter that a SIM.json describes, its flash and code in reach."""
    if params.get("code"):
        sys.path.insert(0, params["code"])
    flash = params.get("flash")
    if flash:
        import simflash  # noqa: PLC0415 - else its memory is the meter's

        params["root"] = _FLASH
        simflash.mount(flash["image"], flash["size"], flash.get("cut_after"), _FLASH)
    modules: dict[str, Any] = sys.modules
    modules["board"] = Page(params, path)
    return str(params["root"])


def run(path: str) -> None:
    """Start the firmware as the loader on the board does; ends by a reset only."""
    params = simboard.load(path)
    loader.start(prepare(params, path), _rom(params))


def _rom(params: "dict[str, Any]") -> "Callable[..., object] | None":
    """Return the access to the board's ROM partition; the loader lets it go."""
    rom = params.pop("rom", None)
    if not rom:
        return None
    import simrom  # noqa: PLC0415 - else its memory is the meter's

    sys.modules.pop("simrom")
    return simrom.Rom(rom["image"], rom["size"]).ioctl

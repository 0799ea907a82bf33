"""Run the meter on a simulated board: micropython (or python) run_meter.py SIM.json."""

import sys

HERE = __file__.rsplit("/", 1)[0]
_OURS = [HERE + "/..", HERE]
if sys.implementation.name == "cpython":
    _OURS.append(HERE + "/shim")
sys.path[:0] = [place for place in _OURS if place not in sys.path]

import main as loader  # noqa: E402 - the path had to be known first
import simboard  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLASH = "/flash"


class Page:
    """Stands in for the ESP32's module `board`: gives the simulated one by its name."""

    def __init__(self, params: "dict[str, Any]", path: str) -> None:
        self._params = params
        self._path = path

    def Board(self, clamps: int) -> simboard.Board:  # noqa: N802 - a class's name
        """Return the board; the supply ends the process when its clamps are not as many."""
        self._params["clamps"] = clamps
        return simboard.Board(self._params, self._path)


def prepare(path: str) -> str:
    """Return the root of the meter that a SIM.json describes, its flash and code in reach."""
    params = simboard.load(path)
    if params.get("code"):
        sys.path.insert(0, params["code"])
    flash = params.get("flash")
    if flash:
        import simflash  # noqa: PLC0415 - else its memory is the meter's

        params["root"] = FLASH
        simflash.mount(flash["image"], flash["size"], flash.get("cut_after"), FLASH)
    modules: dict[str, Any] = sys.modules
    modules["board"] = Page(params, path)
    return str(params["root"])


def run(path: str) -> None:
    """Start the firmware as the loader on the board does; ends by a reset only."""
    loader.start(prepare(path))


if __name__ == "__main__":
    run(sys.argv[1])

"""Run the meter on a simulated board: micropython (or python) run_meter.py SIM.json."""

import sys

HERE = __file__.rsplit("/", 1)[0]
_OURS = [HERE + "/..", HERE]
if sys.implementation.name == "cpython":
    _OURS.append(HERE + "/shim")
sys.path[:0] = [place for place in _OURS if place not in sys.path]

import simboard  # noqa: E402 - the path had to be known first
import simflash  # noqa: E402

FLASH = "/flash"


def prepare(path: str) -> simboard.Board:
    """Return the board that a SIM.json describes, its flash mounted, its code in reach."""
    params = simboard.load(path)
    if params.get("code"):
        sys.path.insert(0, params["code"])
    flash = params.get("flash")
    if flash:
        params["root"] = FLASH
        simflash.mount(flash["image"], flash["size"], flash.get("cut_after"), FLASH)
    return simboard.Board(params, path)


def main(path: str) -> None:
    """Run the meter's application for ever."""
    board = prepare(path)
    import app  # noqa: PLC0415 - the board must be there first

    app.main(board)


if __name__ == "__main__":
    main(sys.argv[1])

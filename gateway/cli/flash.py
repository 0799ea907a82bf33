"""`wattwarden meters flash`: puts MicroPython and the meter's firmware on a board."""

from pathlib import Path

import click

from gateway.cli.kit_options import chooser, port_option, yes_option
from gateway.cli.kit_teller import KitTeller
from gateway.cli.options import example
from gateway.domain.errors import BadInputError
from provisioning.flash import Flashed, Wish
from provisioning.flash import flash as flash_board
from provisioning.ports import pick


@click.command(
    epilog=example(
        "wattwarden meters flash",
        "wattwarden meters flash --port /dev/ttyUSB0 --yes",
        "wattwarden meters flash --image ESP32_GENERIC-20260406-v1.28.0.bin   # without internet",
    )
)
@port_option
@click.option(
    "--image",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A downloaded MicroPython image; without it the pinned one is fetched, once.",
)
@click.option(
    "--sha256", metavar="HEX", help="What --image must be, when it is not the pinned version."
)
@click.option(
    "--erase-calibration", is_flag=True, help="Forget the meter's calibration; else it is kept."
)
@click.option(
    "--erase-all",
    is_flag=True,
    help="Erase the whole board: settings, calibration and stored readings.",
)
@yes_option
def flash(  # noqa: PLR0913 - one parameter an option
    *,
    port: str | None,
    image: Path | None,
    sha256: str | None,
    erase_calibration: bool,
    erase_all: bool,
    yes: bool,
) -> None:
    """Put MicroPython and the meter's firmware on an ESP32, ESP32-S3 or ESP32-C3 on USB.

    Plug the board in and run it; that is all. A board that has both already is only looked
    at, and a meter keeps its settings, its calibration and what it has not delivered yet. When
    it was interrupted, run it again. The next step is: wattwarden meters provision ID
    """
    if sha256 is not None and image is None:
        msg = "--sha256: goes together with --image"
        raise BadInputError(msg)
    wish = Wish(image, sha256, erase_all=erase_all, erase_calibration=erase_calibration)
    with KitTeller(yes=yes) as tell:
        device = pick(port, chooser())
        done = flash_board(device, wish, tell)
    click.echo(_words(done, device))


def _words(done: Flashed, device: str) -> str:
    """Say in a few lines what was done and what comes next."""
    python = "written and verified" if done.image_written else "was there already"
    files = f"{len(done.changed)} files put" if done.changed else "was there already"
    lines = [
        f"{device}: {done.chip.text}",
        f"MicroPython {python}; firmware {done.version} {files}; it boots",
    ]
    if done.calibrated:
        lines.append("its calibration is kept")
    if done.meter is None:
        lines.append("next: sudo wattwarden meters provision ID")
    else:
        lines.append(f"it goes on as the meter {done.meter}")
    return "\n".join(lines)

"""Whoever holds the reference in a house of KitSite: switches loads as the calibration asks."""

import subprocess
from collections.abc import Callable
from typing import Final

from simulation.sources import Load, SteadySource, Wire
from tests.support.calibration_rig import ReferenceMeter
from tests.support.kit_site import KitSite

LOADS_A: Final = (0.3, 1.0, 5.0)
CHECK_A: Final = 3.0


class KitBench:
    """A meter's load and a reference beside it; `hear` gets each line the session says."""

    def __init__(
        self, site: KitSite, meter: str, supplied: str, *, hear: Callable[[str], object] = str
    ) -> None:
        self._site, self._meter = site, meter
        self._supplied = site.supply.meter(supplied)
        self._hear = hear
        self.certificate = site.directory / f"{meter}.html"
        self._reference = ReferenceMeter(
            site.directory / f"{meter}.csv", 1, noise=0.002, class_pct=0.05
        )
        self.put(0.0)

    def spawn(self, *more: str) -> subprocess.Popen[str]:
        """Start an unattended session."""
        words = (
            "calibrate", self._meter, "--yes", "--class", "0.05", "--digits", "0", "0",
            "--reference", "simulated", "--reference-log", str(self._reference.path),
            "--loads", str(len(LOADS_A)), "--wait", "60", "--certificate", str(self.certificate),
        )  # fmt: skip
        return subprocess.Popen(
            self._site.command(*words, *more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._site.directory,
            env=self._site.environment(),
        )

    def run(self) -> tuple[int, str]:
        """Go through a whole session; return its status and what it said."""
        said: list[str] = []
        with self._reference, self.spawn() as session:
            assert session.stdout is not None
            assert session.stderr is not None
            self.put(0.0)
            for line in session.stdout:
                said.append(line)
                self._hear(line.rstrip())
                self._obey(line)
            errors = session.stderr.read()
        return session.returncode, "".join(said) + errors

    def put(self, amps: float) -> None:
        """Switch a resistive load on in place of the one before; 0 A is none."""
        source = SteadySource(Wire(), [Load(230.0 * amps)] if amps else [])
        self._supplied.source = source
        self.true = source.truth(0)
        self._reference.show(self.true.v, self.true.i, self.true.p)

    def _obey(self, line: str) -> None:
        if line.startswith("Without load"):
            self.put(0.0)
        elif line.startswith("load "):
            self.put(LOADS_A[int(line.split()[1]) - 1])
        elif line.startswith("one more load"):
            self.put(CHECK_A)

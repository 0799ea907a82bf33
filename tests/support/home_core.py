"""Home Assistant core as a process, where an interpreter with it is at hand (`make ha-test`)."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from tests.support.daemon import clean_environment
from tests.support.ports import free_port

PROGRAM = Path(__file__).with_name("home_core_program.py")
ROOT = PROGRAM.parents[2]
START_S = 90.0


def interpreter() -> Path | None:
    """Return `$WATTWARDEN_HA_PYTHON`, else that of .venv-ha, None where neither is there."""
    named = os.environ.get("WATTWARDEN_HA_PYTHON")
    python = Path(named) if named else ROOT / ".venv-ha/bin/python"
    return python if python.exists() else None


class HomeAssistant:
    """One core with the MQTT integration, recorder and energy."""

    def __init__(self, directory: Path, broker_port: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        python = interpreter()
        if python is None:
            msg = "no interpreter with Home Assistant; run: make ha-test"
            raise RuntimeError(msg)
        (directory / "configuration.yaml").touch()  # its MQTT integration reads it again
        self._log = (directory / "homeassistant.log").open("w")
        arguments = [str(directory), str(broker_port), str(free_port())]
        self._process = subprocess.Popen(
            [str(python), str(PROGRAM), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env=clean_environment(directory), cwd=directory,
        )  # fmt: skip
        self._await_ready(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._ask("stop")
            self._process.wait(timeout=30)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=5)
        self._log.close()

    def states(self) -> dict[str, Any]:
        """Return every entity with its state and attributes."""
        return dict(self._answer("states"))

    def devices(self) -> list[str]:
        """Return every device's name."""
        return list(self._answer("devices"))

    def statistics(self) -> dict[str, Any]:
        """Return the statistics of the last minutes, compiled now."""
        return dict(self._answer("statistics"))

    def wait_for(self, entity: str, within_s: float = 30.0) -> dict[str, Any]:
        """Return an entity once it is there with a state."""
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            found = self.states().get(entity)
            if found is not None and found["state"] not in ("unknown", "unavailable"):
                return dict(found)
            time.sleep(0.5)
        msg = f"no {entity} within {within_s} s; there are {sorted(self.states())}"
        raise TimeoutError(msg)

    def _await_ready(self, directory: Path) -> None:
        line = self._read()
        if line.strip() != "ready":
            log = (directory / "homeassistant.log").read_text()[-3000:]
            msg = f"Home Assistant said {line!r}:\n{log}"
            raise RuntimeError(msg)

    def _read(self) -> str:
        if self._process.stdout is None:
            return ""
        return self._process.stdout.readline()

    def _ask(self, question: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()

    def _answer(self, question: str) -> Any:  # noqa: ANN401 - decoded JSON
        self._ask(question)
        return json.loads(self._read())

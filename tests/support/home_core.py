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


SCHEMAS = """
import json
import voluptuous as vol
from homeassistant.components.mqtt import binary_sensor, mixins, discovery, sensor
from homeassistant.components.sensor import const

def keys(schema):
    if isinstance(schema, vol.All):
        schema = next(part for part in schema.validators if isinstance(part, vol.Schema))
    return sorted(str(key) for key in schema.schema)

print(json.dumps({
    "sensor": keys(sensor._PLATFORM_SCHEMA_BASE),
    "binary_sensor": keys(binary_sensor.PLATFORM_SCHEMA_MODERN),
    "device": keys(mixins.MQTT_ENTITY_DEVICE_INFO_SCHEMA),
    "origin": keys(discovery.MQTT_ORIGIN_INFO_SCHEMA),
    "classes": {
        str(name): [
            sorted(None if unit is None else str(unit) for unit in units),
            sorted(str(state) for state in const.DEVICE_CLASS_STATE_CLASSES[name]),
        ]
        for name, units in const.DEVICE_CLASS_UNITS.items()
        if None not in units
    },
}))
"""


def schemas(python: Path) -> dict[str, Any]:
    """Return the keys that the core's own schemas allow, and what goes with a device class."""
    done = subprocess.run([str(python), "-c", SCHEMAS], capture_output=True, check=True, cwd="/")
    return dict(json.loads(done.stdout))


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

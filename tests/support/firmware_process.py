"""A firmware program in a process of its own, in the VM or under CPython, watched by its lines."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal, Self

from tests.support.firmware import FIRMWARE, HOST, SHIM, vm_command, vm_environment

Host = Literal["vm", "cpython"]


def command(host: Host, program: Path, job: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment that run a program with a JSON job."""
    if host == "vm":
        return vm_command(program, json.dumps(job)), vm_environment()
    path = os.pathsep.join(str(place) for place in (SHIM, FIRMWARE, HOST))
    return [sys.executable, str(program), json.dumps(job)], {**os.environ, "PYTHONPATH": path}


class FirmwareProcess:
    """Runs until the end of the `with`; `lines` are its JSON lines, `log` all others."""

    def __init__(self, host: Host, program: Path, job: dict[str, Any]) -> None:
        self.lines: list[dict[str, Any]] = []
        self.log: list[str] = []
        self._command, self._environment = command(host, program, job)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env={**self._environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=5)

    def said(self, what: str) -> list[dict[str, Any]]:
        """Return its lines of one kind, oldest first."""
        return [line for line in list(self.lines) if line["what"] == what]

    def logged(self, part: str) -> list[str]:
        """Return the log's lines that hold a text."""
        return [line for line in list(self.log) if part in line]

    @property
    def running(self) -> bool:
        """Tell whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def _read(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        for line in process.stdout:
            if line.startswith("{"):
                self.lines.append(json.loads(line))
            else:
                self.log.append(line.rstrip())

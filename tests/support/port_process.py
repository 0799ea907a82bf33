"""A server that a test runs as a process of its own: started, waited for at its port, ended."""

import subprocess
from abc import ABC, abstractmethod
from typing import ClassVar, Self

from tests.support.ports import free_port, wait_for_port

STOP_S = 10.0


class PortProcess(ABC):
    """A context manager; whoever derives from it says how the process is launched."""

    start_s: ClassVar[float] = 20.0

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]:
        """Start the process, which is to listen at `port` on loopback."""

    def __enter__(self) -> Self:
        self._process = self._launch()
        try:
            wait_for_port(self.port, within_s=self.start_s)
        except TimeoutError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)

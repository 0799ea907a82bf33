"""A power cut at the n-th change of the flash, for code that runs under CPython."""

import builtins
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


class PowerCutError(BaseException):
    """The power is gone: no handler of the code under test may run on."""


class _Torn(io.FileIO):
    """A file whose every write is a moment at which the power may go."""

    def __init__(self, path: str, mode: str, supply: "Supply") -> None:
        self._supply = supply
        supply.step(lambda: None)  # opening for writing truncates: nothing done yet
        super().__init__(path, mode)
        supply.step(lambda: None)  # truncated, nothing written

    def write(self, data: Any) -> int:  # noqa: ANN401 - whatever has the buffer protocol
        raw = bytes(data)
        self._supply.step(lambda: super(_Torn, self).write(raw[: len(raw) // 2]))
        return super().write(raw)


class _TornText(io.TextIOWrapper):
    """The same for text."""


class Supply:
    """Counts every step that changes files; the step number `cut_at` (from 1) is torn."""

    def __init__(self, cut_at: int | None = None) -> None:
        self.steps = 0
        self.cut_at = cut_at
        self.dead = False

    def step(self, torn: Any) -> None:  # noqa: ANN401 - any callable
        """Count a change; at the chosen one do `torn` instead and lose the power."""
        if self.dead:
            raise PowerCutError
        self.steps += 1
        if self.steps == self.cut_at:
            torn()
            self.dead = True
            raise PowerCutError

    def _open(self, path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:  # noqa: ANN401
        if mode not in ("wb", "ab", "w"):
            return _OPEN(path, mode, *rest, **more)
        raw = _Torn(path, mode.rstrip("b") + "b", self)
        return io.TextIOWrapper(raw, write_through=True) if mode == "w" else raw

    def _changing(self, name: str) -> Any:  # noqa: ANN401 - stands in for a function of os
        real = getattr(os, name)

        def change(*arguments: Any) -> Any:  # noqa: ANN401
            self.step(lambda: None)
            result = real(*arguments)
            self.step(lambda: None)
            return result

        return change

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Route open, rename, remove and mkdir through this supply."""
        names = ("rename", "remove", "mkdir")
        with (
            mock.patch.object(builtins, "open", self._open),
            mock.patch.multiple(os, **{name: self._changing(name) for name in names}),
        ):
            yield


_OPEN = builtins.open

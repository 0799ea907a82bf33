"""A person at a terminal: a command on a pty, and an answer to each question it asks."""

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

QUIET_S: Final = 0.3  # a question is what stands at the end for so long
Answer = str | Callable[[], str]


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and all that stood on the terminal."""

    status: int
    text: str


def type_at(
    command: Sequence[str],
    answers: Mapping[str, Answer],
    *,
    within_s: float = 600.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Said:
    """Run a command on a terminal; where it waits behind a text of `answers`, give that answer.

    AssertionError for a question that nobody has an answer to, and when it does not end in time.
    """
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=env, cwd=cwd, start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    text, answered, until_s = "", 0, time.monotonic() + within_s
    try:
        while (piece := _read(outer)) is not None:
            text += piece
            assert time.monotonic() < until_s, f"it does not end: {text[-2000:]}"
            asked = text[answered:].rstrip(" ")
            if not piece and asked.endswith((":", "]", "?")):
                os.write(outer, f"{_answer(asked, answers)}\n".encode())
                answered = len(text)
        return Said(process.wait(timeout=30), text.replace("\r\n", "\n"))
    finally:
        process.kill()
        process.wait()
        os.close(outer)


def _read(handle: int) -> str | None:
    """Return what came, "" when nothing did for a moment, None at the end."""
    if not select.select([handle], [], [], QUIET_S)[0]:
        return ""
    with contextlib.suppress(OSError):
        return os.read(handle, 65536).decode(errors="replace") or None
    return None


def _answer(asked: str, answers: Mapping[str, Answer]) -> str:
    question = asked.rsplit("\n", 1)[-1]
    for words, answer in answers.items():
        if words in question:
            return answer if isinstance(answer, str) else answer()
    msg = f"nobody knows an answer to: {asked[-500:]!r}"
    raise AssertionError(msg)

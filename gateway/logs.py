"""Structured events: JSON under systemd, colour on a terminal."""

import logging
import sys
import time
from collections import deque
from typing import NamedTuple

import structlog

MOST_LINES = 1000
LONGEST_TEXT = 2000
APART = frozenset({"event", "level", "timestamp"})


class Line(NamedTuple):
    """One line of the log; `text` has what else it says, as key=value."""

    at_ms: int
    level: str
    event: str
    text: str


TAIL: deque[Line] = deque(maxlen=MOST_LINES)  # the newest lines of this process, for people


def configure(level: str = "info") -> None:
    """Set up structlog, from an entry point only. Events go to stderr; stdout is for results."""
    on_terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=True, exception_formatter=structlog.dev.plain_traceback
        )
        if on_terminal
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    errors: structlog.typing.Processor = (
        structlog.processors.StackInfoRenderer()
        if on_terminal
        else structlog.processors.ExceptionRenderer(
            # Local variables may be secrets, and rendering them takes seconds.
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        )
    )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            errors,
            _remember,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries that log the old way: only what needs a person.
    logging.basicConfig(level=max(threshold, logging.WARNING), stream=sys.stderr)


def _remember(
    _: object, level: str, said: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep a line for those who ask later; the renderer gets it unchanged."""
    rest = " ".join(f"{key}={value}" for key, value in said.items() if key not in APART)
    event = str(said.get("event", ""))[:LONGEST_TEXT]
    at_ms = time.time_ns() // 1_000_000
    TAIL.append(Line(at_ms, str(said.get("level", level)), event, rest[:LONGEST_TEXT]))
    return said

"""Structured events: JSON under systemd, colour on a terminal."""

import logging
import sys

import structlog


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
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries that log the old way: only what needs a person.
    logging.basicConfig(level=max(threshold, logging.WARNING), stream=sys.stderr)

"""Logging: JSON for the journal, nothing on stdout, errors with their trace."""

import json
from collections.abc import Iterator

import pytest
import structlog

from gateway import logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_events_are_json_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger().info("stored", meter="home", rows=3)
    (event,) = events(capsys)
    assert (event["event"], event["level"], event["meter"], event["rows"]) == (
        "stored", "info", "home", 3,
    )  # fmt: skip
    assert str(event["timestamp"]).endswith("Z")


@pytest.mark.parametrize(("level", "told"), [("debug", 3), ("info", 2), ("error", 1)])
def test_the_level_decides_what_is_told(
    capsys: pytest.CaptureFixture[str], level: str, told: int
) -> None:
    logs.configure(level)
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.error("c")
    assert len(events(capsys)) == told


def test_an_error_carries_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    try:
        int("a defect")
    except ValueError:
        structlog.get_logger().exception("crashed")
    (event,) = events(capsys)
    assert "a defect" in json.dumps(event["exception"])

"""The command line in this process, on a real database filled through the daemon's own parts."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from gateway.app import opened
from gateway.cli import main
from gateway.domain.alerts import AlertKind, Finding, Severity
from gateway.settings import Settings
from tests.support.daemon import to_toml

NOW_MS = 1_763_760_000_000  # 2025-11-21T21:20:00Z


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Site:
    """A settings file with its database."""

    config: Path
    database: Path

    @property
    def settings(self) -> Settings:
        return Settings.load(self.config)

    def run(self, *arguments: str) -> Said:
        return run(*arguments, "--config", str(self.config))

    def ok(self, *arguments: str) -> str:
        said = self.run(*arguments)
        assert said.status == 0, said
        return said.out


def run(*arguments: str) -> Said:
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Said(status, out.getvalue(), err.getvalue())


def make_site(folder: Path, zone: str = "Europe/Lisbon", **sections: dict[str, object]) -> Site:
    database = folder / "w.db"
    settings: dict[str, dict[str, object]] = {
        "site": {"timezone": zone},
        "storage": {"path": str(database)},
        "mqtt": {"port": 1},
        "web": {"enabled": False},
        "clock": {"trust": "always"},
    }
    for name, values in sections.items():
        settings[name] = {**settings.get(name, {}), **values}
    config = folder / "config.toml"
    config.write_text(to_toml(settings))
    return Site(config, database)


def finding(
    meter: str,
    kind: AlertKind = AlertKind.OVER_VOLTAGE,
    *,
    at_ms: int = NOW_MS,
    severity: Severity = Severity.WARNING,
) -> Finding:
    key = (meter, "", kind)
    return Finding(
        key,
        active=True,
        at_ms=at_ms,
        severity=severity,
        title="Too high",
        detail="251.2 V at [kitchen].",
        evidence={"v": 251.2},
    )


async def fill(site: Site, *findings: Finding) -> None:
    """Open the database as the daemon does and raise alerts."""
    async with opened(site.settings) as parts:
        await parts.load()
        await parts.deriver.report(list(findings))

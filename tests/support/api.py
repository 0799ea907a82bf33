"""A small client of the local HTTP API that logs in."""

import os
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.daemon import Daemon

PASSWORD = "correct horse battery staple"


def add_user(daemon: Daemon, name: str = "ada", role: str = "admin") -> None:
    """Create an account by the command line, as a headless install does."""
    secret = write_secret(daemon.directory / f"{name}.password", PASSWORD)
    daemon.cli_ok("users", "add", name, "--role", role, "--password-file", str(secret))


def write_secret(path: Path, text: str) -> Path:
    """Write a file only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    return path


class Api:
    """One session at `/api/v1`; a context manager that closes its connections."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @classmethod
    def logged_in(cls, daemon: Daemon, name: str = "ada", role: str = "admin") -> Self:
        """Create the account unless an earlier call has, and open a session with it."""
        if not (daemon.directory / f"{name}.password").exists():
            add_user(daemon, name, role)
        api = cls(daemon.url)
        api.login(name)
        return api

    def login(self, name: str = "ada", password: str = PASSWORD) -> httpx.Response:
        """Log in; the session cookie stays in the client. Raise on refusal."""
        body = {"username": name, "password": password}
        return self.http.post("/api/v1/auth/login", json=body).raise_for_status()

    def get(self, path: str, **params: str) -> Any:  # noqa: ANN401 - decoded JSON
        """Return the JSON of `GET /api/v1/<path>`; raise unless it is a success."""
        answer = self.http.get(f"/api/v1/{path}", params=params)
        return answer.raise_for_status().json()

    def items(self, path: str, **params: str) -> list[dict[str, Any]]:
        """Return every item of a paged list, following `next`."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, **params, **cursor)
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = {"cursor": str(page["next"])}


def metrics(url: str) -> dict[str, float]:
    """Return `/metrics` as sample (name with labels) → value."""
    samples: dict[str, float] = {}
    for line in httpx.get(f"{url}/metrics", timeout=5).raise_for_status().text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            samples[name] = float(value)
    return samples

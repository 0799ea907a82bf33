"""Uploads tables to a running gateway and follows what becomes of them."""

import time
from typing import Any

import httpx

Json = dict[str, Any]
ENDED = ("done", "failed", "undone")


def upload(http: httpx.Client, name: str, content: bytes) -> Json:
    """Upload a table; return the import as it is then, raise where it is refused."""
    answer = http.post("/api/v1/imports", files={"file": (name, content)}, timeout=60)
    return dict(answer.raise_for_status().json())


def start(http: httpx.Client, made: Json, **choice: object) -> Json:
    """Start an import as it was guessed, but for `choice`; return it when it has ended."""
    begin_import(http, made, **choice)
    return follow(http, made["id"])


def begin_import(http: httpx.Client, made: Json, **choice: object) -> None:
    """Start an import as it was guessed, but for `choice`; raise where it is refused."""
    guess = made["guess"]
    body = {"meter": guess["meter"], "time": guess["time"], "map": guess["map"], **choice}
    answer = http.post(f"/api/v1/imports/{made['id']}/start", json=body)
    if answer.is_error:
        raise AssertionError(answer.text)


def undo(http: httpx.Client, import_id: str) -> Json:
    """Undo an import; return it when that is done."""
    http.post(f"/api/v1/imports/{import_id}/undo").raise_for_status()
    return follow(http, import_id)


def follow(http: httpx.Client, import_id: str, within_s: float = 540.0) -> Json:
    """Return an import once it has ended."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        found = dict(http.get(f"/api/v1/imports/{import_id}").raise_for_status().json())
        if found["state"] in ENDED:
            return found
        time.sleep(0.1)
    msg = f"import {import_id} has not ended within {within_s} s"
    raise TimeoutError(msg)

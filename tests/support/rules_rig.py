"""Google's Firestore emulator with the project's security rules, which it evaluates.

It comes with the Cloud SDK (`apt install google-cloud-cli-firestore-emulator`) and needs Java.
"""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.support.port_process import PortProcess

JAR = Path(
    "/usr/lib/google-cloud-sdk/platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
)
MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
OWNER = "owner"  # whom the rules do not hold
LIFE_S = 3600


class RulesEmulator(PortProcess):
    """The emulator as a process; a context manager."""

    start_s: ClassVar[float] = 60.0

    @staticmethod
    def installed() -> bool:
        """Tell whether it can be started here."""
        return JAR.exists() and shutil.which("java") is not None

    @property
    def host(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self.port}"

    def _launch(self) -> subprocess.Popen[bytes]:
        options = ["-Duser.language=en", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return subprocess.Popen(
            ["java", *options, "-cp", JAR, MAIN, "--host", "127.0.0.1", "--port", str(self.port)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def token_of(project: str, uid: str, **claims: object) -> str:
    """Return an ID token as the emulator takes it: unsigned."""
    now_s = int(time.time())
    facts = {
        "iss": f"https://securetoken.google.com/{project}", "aud": project, "sub": uid,
        "user_id": uid, "iat": now_s, "exp": now_s + LIFE_S, **claims,
    }  # fmt: skip
    parts = [{"alg": "none", "typ": "JWT"}, facts]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*coded, b""]).decode()


class RuledStore:
    """A project's documents, asked for over HTTP as somebody; `token` "" is nobody."""

    def __init__(self, host: str, project: str, rules: str) -> None:
        self.project = project
        self._root = f"projects/{project}/databases/(default)/documents"
        self._http = httpx.Client(base_url=f"http://{host}", timeout=60)
        files = [{"name": "firestore.rules", "content": rules}]
        url = f"/emulator/v1/projects/{project}:securityRules"
        self._http.put(url, json={"rules": {"files": files}}).raise_for_status()

    def seed(self, documents: Mapping[str, Mapping[str, object]]) -> None:
        """Hold exactly these documents."""
        url = f"/emulator/v1/projects/{self.project}/databases/(default)/documents"
        self._http.delete(url).raise_for_status()
        writes = [
            {"update": {"name": f"{self._root}/{path}", "fields": _fields(fields)}}
            for path, fields in documents.items()
        ]
        answer = self._http.post(
            f"/v1/{self._root}:commit", json={"writes": writes}, headers=_as(OWNER)
        )
        answer.raise_for_status()

    def may(self, token: str, verb: str, path: str, fields: Mapping[str, object]) -> bool:
        """Tell whether the rules let somebody `get`, `list`, `set`, `update` or `delete` it.

        `set` writes the whole document, `update` these fields of it.
        """
        method = {"set": "PATCH", "update": "PATCH", "delete": "DELETE"}.get(verb, "GET")
        mask = list(fields) if verb == "update" else []
        body = {"fields": _fields(fields)} if method == "PATCH" else None
        answer = self._http.request(
            method, f"/v1/{self._root}/{path}", headers=_as(token),
            params=[("updateMask.fieldPaths", name) for name in mask], json=body,
        )  # fmt: skip
        if answer.status_code not in (200, 403, 404):
            raise AssertionError(answer.text)
        return answer.status_code != 403

    def close(self) -> None:
        """Disconnect."""
        self._http.close()


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _fields(fields: Mapping[str, object]) -> dict[str, Any]:
    return {name: _value(value) for name, value in fields.items()}


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, int):
        return {"integerValue": str(value)}
    if isinstance(value, dict):
        return {"mapValue": {"fields": _fields(value)}}
    return {"stringValue": str(value)}

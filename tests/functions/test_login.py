"""A gateway logs in, speaks as itself, and is forgotten: the command line against a whole rig."""

import json
import stat
from pathlib import Path
from typing import Any

import firebase_admin
import pytest
from firebase_admin import auth as admin_auth
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.cloud import firestore

from cloud_sync.identity import Identity, identity_credentials
from cloud_sync.login import Project
from gateway.domain.errors import ConfigError
from gateway.settings import Settings
from tests.functions.conftest import PROJECT
from tests.support.api import write_secret
from tests.support.auth_rig import KEY, PASSWORD, AuthRig
from tests.support.daemon import Daemon, run_cli, to_toml
from tests.support.functions_rig import FunctionsRig


class House:
    """A gateway's settings, its identity and what its command line says."""

    def __init__(self, folder: Path, functions: FunctionsRig, site: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.config = folder / "config.toml"
        self.identity = folder / "cloud-identity.json"
        cloud = {
            "project": PROJECT, "api_key": KEY, "functions_url": functions.address,
            "development": True,
        }  # fmt: skip
        sections: dict[str, dict[str, Any]] = {
            "site": {"id": site}, "storage": {"path": str(folder / "w.db")}, "cloud": cloud,
        }  # fmt: skip
        self.config.write_text(to_toml(sections))

    def run(self, *words: str) -> tuple[int, str]:
        done = run_cli(["cloud", *words, "--config", str(self.config)], self.folder)
        return done.returncode, done.stdout + done.stderr

    def log_in(self, email: str, password: str = PASSWORD) -> tuple[int, str]:
        secret = write_secret(self.folder / "password", password)
        return self.run("login", "--email", email, "--password-file", str(secret))


def claims(identity: Identity) -> dict[str, Any]:
    credentials = identity_credentials(identity)
    credentials.refresh(Request())
    found: dict[str, Any] = admin_auth.verify_id_token(credentials.token, app=_app())
    return found


def _app() -> Any:  # noqa: ANN401 - untyped library
    try:
        return firebase_admin.get_app("login-test")
    except ValueError:
        return firebase_admin.initialize_app(options={"projectId": PROJECT}, name="login-test")


def test_the_first_login_founds_the_site_and_keeps_a_secret_of_its_own(
    auth: AuthRig, functions: FunctionsRig, db: firestore.Client, tmp_path: Path
) -> None:
    ada = auth.sign_up("ada@login.example")
    house = House(tmp_path / "h", functions, "villa")
    status, said = house.log_in("ada@login.example")
    assert status == 0, said
    assert "logged in as gateway-villa" in said
    assert stat.S_IMODE(house.identity.stat().st_mode) == 0o600
    kept = house.identity.read_text()
    assert PASSWORD not in kept
    member = db.document(f"sites/villa/members/{ada['localId']}").get().to_dict() or {}
    assert member["role"] == "admin"
    found = claims(Identity.load(house.identity))
    assert (found["uid"], found["site"], found["gateway"]) == ("gateway-villa", "villa", True)
    again, said = house.log_in("ada@login.example")
    assert again == 0, said


def test_another_s_site_cannot_be_taken(
    auth: AuthRig, functions: FunctionsRig, db: firestore.Client, tmp_path: Path
) -> None:
    auth.sign_up("owner@login.example")
    eve = auth.sign_up("eve@login.example")
    mine = House(tmp_path / "mine", functions, "castle")
    assert mine.log_in("owner@login.example")[0] == 0
    theirs = House(tmp_path / "theirs", functions, "castle")
    status, said = theirs.log_in("eve@login.example")
    assert (status, "no member of this site" in said) == (1, True)
    assert not theirs.identity.exists()
    db.document(f"sites/castle/members/{eve['localId']}").set({"role": "operator"})
    status, said = theirs.log_in("eve@login.example")
    assert (status, "only an admin" in said) == (1, True)


def test_a_wrong_password_and_a_dead_line_are_told_apart(
    auth: AuthRig, functions: FunctionsRig, tmp_path: Path
) -> None:
    auth.sign_up("bob@login.example")
    house = House(tmp_path / "h", functions, "hut")
    status, said = house.log_in("bob@login.example", "not the password")
    assert (status, "wrong e-mail or password" in said) == (2, True)
    text = house.config.read_text().replace(str(functions.port), "9")
    house.config.write_text(text)
    status, said = house.log_in("bob@login.example")
    assert (status, "no answer" in said) == (1, True)
    assert not house.identity.exists()


def test_a_forgotten_gateway_gets_no_more_tokens(
    auth: AuthRig, functions: FunctionsRig, tmp_path: Path
) -> None:
    auth.sign_up("carl@login.example")
    house = House(tmp_path / "h", functions, "farm")
    assert house.log_in("carl@login.example")[0] == 0
    identity = Identity.load(house.identity)
    status, said = house.run("forget-device", "--this")
    assert status == 0, said
    assert "could not be told" not in said
    assert not house.identity.exists()
    with pytest.raises(RefreshError, match="wattwarden cloud login"):
        identity_credentials(identity).refresh(Request())
    status, said = house.run("forget-device", "--this")
    assert (status, "run: wattwarden cloud login" in said) == (2, True)


def test_a_gateway_may_not_log_in_others(
    auth: AuthRig, functions: FunctionsRig, tmp_path: Path
) -> None:
    auth.sign_up("dora@login.example")
    house = House(tmp_path / "h", functions, "mill")
    assert house.log_in("dora@login.example")[0] == 0
    credentials = identity_credentials(Identity.load(house.identity))
    credentials.refresh(Request())
    for name, site in (("join", "mill"), ("leave", "villa"), ("command", "mill")):
        body = {"site": site, "kind": "relay", "args": {"meter": "a", "on": True}}
        refused = functions.call(name, body, str(credentials.token))
        assert refused.json()["error"]["status"] == "PERMISSION_DENIED", name


def test_phones_are_listed_and_forgotten(short_path: Path) -> None:
    daemon = Daemon(short_path / "d", mqtt_port=1)
    assert "no devices" in daemon.cli("cloud", "forget-device").stderr
    refused = daemon.cli("cloud", "forget-device", "0f3a9c1b2d4e5f60")
    assert (refused.returncode, "no device" in refused.stderr) == (1, True)


@pytest.mark.parametrize("missing", ["project", "api_key", "functions_url"])
def test_what_a_login_needs_is_named(missing: str) -> None:
    cloud = {"project": "p", "api_key": "k", "functions_url": "https://f"} | {missing: ""}
    with pytest.raises(ConfigError, match=f"cloud.{missing}"):
        Project.of(Settings.model_validate({"cloud": cloud}))


def test_functions_are_called_over_tls_alone() -> None:
    cloud = {"project": "p", "api_key": "k", "functions_url": "http://f"}
    with pytest.raises(ConfigError, match="https"):
        Project.of(Settings.model_validate({"cloud": cloud}))


def test_an_identity_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wattwarden cloud login"):
        Identity.load(tmp_path / "none")
    path = write_secret(tmp_path / "broken", json.dumps({"site": 1}))
    with pytest.raises(ConfigError, match="is no identity"):
        Identity.load(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Identity.load(path)

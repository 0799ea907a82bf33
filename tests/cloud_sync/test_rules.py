"""Rules and indexes held to the code; test_rules_evaluated.py has who may do what."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cloud_sync import documents
from gateway.services.remote_forms import State

FOLDER = Path(documents.__file__).parent / "firebase"
RULES = (FOLDER / "firestore.rules").read_text()
STORAGE = (FOLDER / "storage.rules").read_text()
INDEXES: dict[str, Any] = json.loads((FOLDER / "firestore.indexes.json").read_text())
SOURCE = Path(documents.__file__).read_text()


def block(match: str) -> str:
    """Return what stands inside one match of the rules."""
    start = RULES.index(match)
    depth, place = 0, RULES.index("{\n", start)
    for at in range(place, len(RULES)):
        depth += {"{": 1, "}": -1}.get(RULES[at], 0)
        if depth == 0:
            return RULES[place : at + 1]
    raise AssertionError(match)


@pytest.mark.parametrize("text", [RULES, STORAGE])
def test_braces_and_brackets_are_closed_and_nothing_is_open_to_all(text: str) -> None:
    for pair in ("{}", "()", "[]"):
        assert text.count(pair[0]) == text.count(pair[1])
    assert "if true" not in text
    assert re.findall(r"allow [a-z, ]+;", text) == [], "every permission has its condition"


def test_every_collection_the_gateway_writes_is_named() -> None:
    written = set(re.findall(r"sites/\{site\}/([a-z]+)/", SOURCE))
    named = re.search(r"allow create, update: if kind in \[([^]]+)\]", RULES)
    assert named is not None
    assert set(re.findall(r"'([a-z]+)'", named[1])) == written


def test_only_functions_make_commands_and_members() -> None:
    commands, members = block("match /commands/{command}"), block("match /members/{uid}")
    assert "create" not in commands
    assert "delete" not in commands
    assert "isGateway(site)" in commands
    assert set(re.findall(r"allow ([a-z, ]+):", members)) == {"get"}
    answers = {state.value for state in State} - {State.NEW.value}
    stated = re.search(r"data\.state in \[([^]]+)\]", commands)
    assert stated is not None
    assert set(re.findall(r"'([a-z]+)'", stated[1])) == answers


def test_a_gateway_is_known_by_claims_and_name() -> None:
    assert "request.auth.token.gateway == true" in RULES
    assert "request.auth.token.site == site" in RULES
    assert "request.auth.uid == 'gateway-' + site" in RULES


def test_people_read_files_and_only_service_accounts_write_them() -> None:
    assert re.findall(r"allow ([a-z, ]+): if (.*);", STORAGE) == [
        ("read", "folder.matches('site=[a-z0-9-]{1,32}') && isMember(folder.split('=')[1])")
    ]


def test_packed_and_large_fields_are_not_indexed() -> None:
    free = {(one["collectionGroup"], one["fieldPath"]) for one in INDEXES["fieldOverrides"]}
    assert ("minutes", "data") in free
    assert ("days", "channels") in free
    assert all(one["indexes"] == [] for one in INDEXES["fieldOverrides"])


def test_the_files_firebase_json_names_are_there() -> None:
    config = json.loads((FOLDER / "firebase.json").read_text())
    named = [*config["firestore"].values(), config["storage"]["rules"]]
    assert all((FOLDER / name).is_file() for name in named)

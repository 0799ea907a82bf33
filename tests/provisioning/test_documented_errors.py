"""What docs/ say that the kit says, the kit says: each row of the tables of errors."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEAKERS = ("provisioning", "gateway/cli", "gateway/adapters")
# What stands for something else in a row: names, numbers, and what is left out.
PLACEHOLDER = re.compile(r"…|\b\w+\.service\b|\bNAME\b|\bID\b|\b\d[\d.:-]*\S*|`")
SHORTEST = 6


def rows(page: str, heading: str) -> list[str]:
    """Return the first column of the table below a heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = text.partition(f"\n## {heading}\n")[2].partition("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def spoken() -> str:
    """Return all texts of the program's code; what is put in at run time is left out."""
    found = []
    for folder in SPEAKERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = (p.value for p in node.values if isinstance(p, ast.Constant))
                    found.append("".join(map(str, parts)))
    return re.sub(r"\s+", " ", "\n".join(found)).casefold()


TEXTS = spoken()
# Not our words: pip's, the kernel's, mosquitto's.
FOREIGN = ("Read-only file system", "Address already in use", "No space left on device")


@pytest.mark.parametrize("said", rows("provisioning.md", "When something is wrong"))
def test_what_the_kit_is_said_to_say(said: str) -> None:
    check(said)


@pytest.mark.parametrize("said", rows("install.md", "When it says"))
def test_what_the_installation_is_said_to_say(said: str) -> None:
    check(said)


def check(said: str) -> None:
    pieces = [piece.strip(" ,:;") for piece in re.split(r", |; |: ", said)]
    parts = [part.strip(" ,:;") for piece in pieces for part in PLACEHOLDER.split(piece)]
    looked = [part for part in parts if len(part) >= SHORTEST and part not in FOREIGN]
    assert looked or any(words in said for words in FOREIGN)
    for part in looked:
        assert part.casefold() in TEXTS, part

"""The commands that a page of docs/ tells people to type, in its order."""

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:sudo |wattwarden |openssl )[^`\n]+)`")


def commands(page: str) -> list[str]:
    """Return each command once: the lines of its blocks for the shell, and those in its text."""
    text = (PAGES / page).read_text(encoding="utf-8")
    found = [(match.start(), match[1].splitlines()) for match in _BLOCK.finditer(text)]
    found += [(match.start(), [match[1]]) for match in _INLINE.finditer(text)]
    lines = (line.strip() for _, block in sorted(found) for line in block)
    return list(dict.fromkeys(line for line in lines if line))

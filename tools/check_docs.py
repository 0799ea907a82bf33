"""Check that the documentation quotes commands that exist and links to files that are there."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

PROGRAM = "wattwarden"
PAGES = ("README.md", "ARCHITECTURE.md", "docs/**/*.md", "systemd/**/*.md", "bench/**/*.md")
FENCE = re.compile(r"^\s*(```|~~~)")
SPAN = re.compile(r"`([^`\n]+)`")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
# What may stand before the program's name: prompt, sudo, variables, a folder.
BEFORE = re.compile(r"^(?:\$ |# )?(?:sudo (?:-u \S+ )?)?(?:[A-Z_]+=\S+ )*(?:\S*/)?(?=\w)")
AFTER = re.compile(r"\s(?:\||&&|;|#|>|<|2>|…)(?:\s|$).*|&$")


@dataclass(frozen=True, slots=True)
class Quote:
    """One command found in a page."""

    page: str
    line: int
    text: str


def quotes(page: str, text: str) -> Iterator[Quote]:
    """Yield what a page shows as code, fenced lines (joined at backslashes) and inline spans."""
    fenced, held, start = False, "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if FENCE.match(line):
            fenced, held = not fenced, ""
        elif not fenced:
            for span in SPAN.findall(line):
                yield Quote(page, number, span.strip())
        else:
            start = start if held else number
            held += line.strip()
            if held.endswith("\\"):
                held = held[:-1]
                continue
            yield Quote(page, start, held)
            held = ""


def commands(found: Iterable[Quote], program: str) -> Iterator[Quote]:
    """Keep the quotes that call the program, cut down to the call itself."""
    for quote in found:
        call = AFTER.sub("", BEFORE.sub("", quote.text)).strip()
        if call == program or call.startswith(f"{program} "):
            yield Quote(quote.page, quote.line, call)


def words_of(call: str) -> list[str]:
    """Split a call as a shell would, brackets of optional parts taken off."""
    bare = re.sub(r"[\[\]]", "", call)
    try:
        return shlex.split(bare)[1:]
    except ValueError:
        return bare.split()[1:]


def faults(root: click.Command, call: str) -> Iterator[str]:
    """Yield what is wrong with one call; `a|b` stands for either word."""
    words = words_of(call)
    for position, word in enumerate(words):
        if "|" in word and not word.startswith("-"):
            if all(part.isidentifier() for part in word.split("|")):
                for part in word.split("|"):
                    whole = [*words[:position], part, *words[position + 1 :]]
                    yield from _walk(root, whole)
                return
            break
    yield from _walk(root, words)


def _walk(command: click.Command, words: list[str]) -> Iterator[str]:
    """Follow the words through the tree of commands, naming each that is not there."""
    positional, rest = 0, list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and len(word) > 1:
            option = _option(command, word.split("=", 1)[0])
            if option is None:
                yield f"{command.name} has no option {word}"
                return
            if not option.is_flag and not option.count and "=" not in word:
                del rest[: option.nargs]
        elif isinstance(command, click.Group):
            below = command.get_command(click.Context(command), word)
            if below is None:
                yield f"{command.name} has no command {word}"
                return
            command = below
        else:
            positional += 1
    limit = _positional_limit(command)
    if positional > limit:
        yield f"{command.name} takes {limit:g} arguments, not {positional}"


def _option(command: click.Command, name: str) -> click.Option | None:
    if name == "--help":
        return click.Option(["--help"], is_flag=True)
    for param in command.get_params(click.Context(command)):
        if isinstance(param, click.Option) and name in (*param.opts, *param.secondary_opts):
            return param
    return None


def _positional_limit(command: click.Command) -> float:
    counts = [param.nargs for param in command.params if isinstance(param, click.Argument)]
    return float("inf") if -1 in counts else sum(counts)


def complaints(root: click.Group, targets: set[str], pages: dict[str, str]) -> Iterator[str]:
    """Yield one line for every quoted command that does not exist, and every undocumented one."""
    found = [quote for page, text in pages.items() for quote in quotes(page, text)]
    calls = list(commands(found, PROGRAM))
    for quote in calls:
        for fault in faults(root, quote.text):
            yield f"{quote.page}:{quote.line}: `{quote.text}`: {fault}"
    for quote in commands(found, "make"):
        for word in words_of(quote.text):
            if "=" not in word and not word.startswith("-") and word not in targets:
                yield f"{quote.page}:{quote.line}: `{quote.text}`: the Makefile has no {word}"
    shown = {word for quote in calls for word in words_of(quote.text)[:1]}
    shown |= {part for word in shown for part in word.split("|")}
    for name in root.list_commands(click.Context(root)):
        if name not in shown:
            yield f"`{PROGRAM} {name}` is in no page ({', '.join(PAGES)})"


def broken_links(base: Path, pages: dict[str, str]) -> Iterator[str]:
    """Yield one line for every link to a file of the project that is not there."""
    for page, text in pages.items():
        for number, line in enumerate(text.splitlines(), start=1):
            for target in LINK.findall(line):
                if "://" not in target and not (base / page).parent.joinpath(target).exists():
                    yield f"{page}:{number}: the link to {target} leads nowhere"


def main() -> int:
    """Check the project this file stands in; return the exit status."""
    base = Path(__file__).resolve().parent.parent
    root = importlib.import_module("gateway.cli").cli
    if not isinstance(root, click.Group):
        print("gateway.cli:cli is not a click group")
        return 1
    root.name = PROGRAM
    paths = sorted({path for pattern in PAGES for path in base.glob(pattern)})
    pages = {str(path.relative_to(base)): path.read_text(encoding="utf-8") for path in paths}
    targets = set(TARGET.findall((base / "Makefile").read_text(encoding="utf-8")))
    found = [*complaints(root, targets, pages), *broken_links(base, pages)]
    for line in found:
        print(line)
    if not found:
        print(f"documentation: {len(pages)} pages agree with --help and the Makefile")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""Give the names of the whole program back names that the interpreter can read."""

import ast
import builtins
import itertools
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tools.firmware_linker.binding import SEP, Program
from tools.firmware_linker.folding import is_external

# What a name beyond functions must never hide: also the types that native code knows.
BUILT_IN: Final = frozenset(dir(builtins)) | {
    "ptr",
    "ptr8",
    "ptr16",
    "ptr32",
    "uint",
    "micropython",
}
# Names of exceptions: logs show them.
LOGGED: Final = "Error"
_LETTERS: Final = string.ascii_letters


@dataclass(slots=True)
class Names:
    """The names of one file: its own, and those it takes from others."""

    final: dict[str, str] = field(default_factory=dict)


def short_names() -> Iterator[str]:
    """Yield a, b, … Z, aa, ab, …, without Python's keywords."""
    for length in itertools.count(1):
        for letters in itertools.product(_LETTERS, repeat=length):
            name = "".join(letters)
            if name not in {"as", "if", "in", "is", "or", "and", "def", "del", "for", "not", "try"}:
                yield name


def name_files(program: Program, *, short: bool) -> dict[str, Names]:
    """Return the names of every file; `short` ones where nobody beyond the file's program cares.

    The entry's file is named first, its names hold in every other one. The names of a
    module that is loaded by its name stay as they are, and those of exceptions: they
    stand in logs.
    """
    beside = _beside(program)
    reserved = BUILT_IN | set().union(*beside.values())
    core: dict[str, str] = {}
    done: dict[str, Names] = {}
    for file, modules in program.plan.files.items():
        used = _used(program, modules)
        names = Names({name: core[name] for name in used if name in core})
        _keep(
            names.final, [n for n in used if n not in core and _is_fixed(program, file, n)], beside
        )
        taken = set(names.final.values())
        fresh = (name for name in short_names() if name not in reserved and name not in taken)
        for name in used:
            if name in names.final:
                continue
            names.final[name] = next(fresh) if short else _readable(name, beside, taken)
            taken.add(names.final[name])
        if not done:
            core = {n: f for n, f in names.final.items() if not is_external(n)}
        done[file] = names
    return done


def _keep(final: dict[str, str], names: Iterable[str], beside: Mapping[str, set[str]]) -> None:
    taken = set(final.values())
    for name in names:
        own = name.rpartition(SEP)[2]
        final[name] = own if own not in taken else _readable(name, beside, taken)
        taken.add(final[name])


def _is_fixed(program: Program, file: str, name: str) -> bool:
    """Tell whether a name is known beyond the linked program, or stands in logs."""
    own = name.rpartition(SEP)[2]
    by_name = name.startswith(file + SEP) and file != program.plan.entry and own[0] != "_"
    by_name = by_name and not own.isupper()
    return is_external(name) or by_name or name in program.wanted or name.endswith(LOGGED)


def _readable(name: str, beside: Mapping[str, set[str]], taken: set[str]) -> str:
    """Return a name's last part, with its module's where that alone is not unique."""
    module, _, own = name.rpartition(SEP)
    tried = itertools.chain(
        [own, f"{module}_{own}".replace(SEP, "_")],
        (f"{own}_{number}" for number in itertools.count(2)),
    )
    bad = taken | BUILT_IN | beside.get(name, set())
    return next(one for one in tried if one not in bad)


def _beside(program: Program) -> dict[str, set[str]]:
    """Return, for each name, the local names in the statements that use it."""
    beside: dict[str, set[str]] = {}
    for body in program.bodies.values():
        for statement in body:
            found = set(identifiers(statement))
            local = {name for name in found if SEP not in name}
            for name in found - local:
                beside.setdefault(name, set()).update(local)
    return beside


def identifiers(node: ast.AST) -> Iterator[str]:
    """Yield every name that is looked up or bound, parameters too, attributes not."""
    for one in ast.walk(node):
        match one:
            case ast.Name(id=name) | ast.arg(arg=name):
                yield name
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                yield name
            case ast.ExceptHandler(name=str(name)):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name


def _used(program: Program, modules: Iterable[str]) -> list[str]:
    """Return the names of the program in a file, those in decorators of the compiler not."""
    found: dict[str, None] = {}
    for module in modules:
        for statement in program.bodies[module]:
            for name in identifiers(statement):
                if SEP in name:
                    found[name] = None
    return list(found)


class Renamer(ast.NodeTransformer):
    """Replaces the program's names by a file's."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def _new(self, name: str) -> str:
        return self._names.get(name, name)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._new(node.id)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.name = self._new(node.name)
        self.generic_visit(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        node.name = self._new(node.name)
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.name = self._new(node.name)
        self.generic_visit(node)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        node.name = self._new(node.name) if node.name else None
        self.generic_visit(node)
        return node

    def visit_alias(self, node: ast.alias) -> ast.alias:
        node.asname = self._new(node.asname) if node.asname else None
        return node

"""Write the linked files as source, and the map back to where each function came from."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.firmware_linker.binding import SEP, Program, external
from tools.firmware_linker.folding import is_external
from tools.firmware_linker.naming import Names, Renamer
from tools.firmware_linker.scopes import FUNCTIONS


@dataclass(frozen=True, slots=True)
class Linked:
    """One file for the board: its name without suffix, its text, and its map's lines.

    `pieces` is the text by module, without the imports at its head.
    """

    name: str
    text: str
    origins: list[str]
    pieces: dict[str, str]


def emit(program: Program, names: Mapping[str, Names]) -> list[Linked]:
    """Return the files, the entry's first."""
    return [_file(program, file, names) for file in program.plan.files]


def _file(program: Program, file: str, names: Mapping[str, Names]) -> Linked:
    final = names[file].final
    needed: dict[str, None] = {}
    for module in program.plan.files[file]:
        for node in program.bodies[module]:
            needed.update(dict.fromkeys(_looked_up(node)))
    head = list(_imports(program, file, [name for name in final if name in needed], names))
    text = _text(head)
    pieces: dict[str, str] = {}
    origins: list[str] = []
    renamer = Renamer(final)
    for module in program.plan.files[file]:
        old = program.bodies[module]
        pieces[module] = _text([renamer.visit(node) for node in old])
        above = text.count("\n")
        new = ast.parse(pieces[module]).body
        source = program.modules[module]
        for before, after in zip(old, new, strict=True):
            for line, name, origin in _functions(before, after):
                known = source.titles.get(origin, "?")
                origins.append(f"{file}.py:{above + line} {name} {module}.py:{origin} {known}")
        text += pieces[module]
    return Linked(file, text, origins, pieces)


def _text(body: list[ast.stmt]) -> str:
    text = ast.unparse(ast.fix_missing_locations(ast.Module(body, [])))
    return text + "\n" if text else ""


def _looked_up(statement: ast.stmt) -> Iterator[str]:
    """Yield the names a statement needs when run: a decorator of the compiler is none."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and SEP in node.id:
            yield node.id
        for child in ast.iter_child_nodes(node):
            is_decorator = isinstance(node, FUNCTIONS) and child in node.decorator_list
            if not (is_decorator and ast.unparse(child).startswith(external("micropython"))):
                waiting.append(child)


def _imports(
    program: Program, file: str, needed: list[str], names: Mapping[str, Names]
) -> Iterator[ast.stmt]:
    """Yield one statement for each module that a file imports something from."""
    final = names[file].final
    members: dict[str, list[ast.alias]] = {}
    for name in needed:
        home, *rest = name.split(SEP)
        if is_external(name) and len(rest) == 1:
            yield ast.Import([_alias(rest[0], final[name])])
        elif is_external(name):
            members.setdefault(rest[0], []).append(_alias(rest[1], final[name]))
        elif program.home(name) != file:
            other = program.plan.homes[home]
            members.setdefault(other, []).append(_alias(names[other].final[name], final[name]))
    for module, aliases in members.items():
        yield ast.ImportFrom(module, aliases, 0)


def _alias(name: str, final: str) -> ast.alias:
    return ast.alias(name, None if name == final else final)


def _functions(old: ast.AST, new: ast.AST) -> Iterator[tuple[int, str, int]]:
    """Yield line and name of each function and class of a statement, and its line before."""
    if isinstance(new, (*FUNCTIONS, ast.ClassDef)):
        yield new.lineno, new.name, getattr(old, "lineno", 0)
    for before, after in zip(_inside(old), _inside(new), strict=True):
        yield from _functions(before, after)


def _inside(node: ast.AST) -> list[ast.AST]:
    """Return the nearest definitions below a node."""
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        is_one = isinstance(child, (*FUNCTIONS, ast.ClassDef))
        found.extend([child] if is_one else _inside(child))
    return found

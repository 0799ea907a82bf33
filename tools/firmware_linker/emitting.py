"""Write the linked files as source, and the map back to where each function came from."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.firmware_linker.binding import SEP, Program, external
from tools.firmware_linker.folding import is_external
from tools.firmware_linker.naming import Names, Renamer

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Linked:
    """One file for the board: its name without suffix, its text, and its map's lines."""

    name: str
    text: str
    origins: list[str]


def emit(program: Program, names: Mapping[str, Names]) -> list[Linked]:
    """Return the files, the entry's first."""
    return [_file(program, file, names) for file in program.plan.files]


def _file(program: Program, file: str, names: Mapping[str, Names]) -> Linked:
    final = names[file].final
    statements: list[tuple[str, ast.stmt]] = []
    needed: dict[str, None] = {}
    for module in program.plan.files[file]:
        for node in program.bodies[module]:
            needed.update(dict.fromkeys(_looked_up(node)))
            statements.append((module, node))
    head = list(_imports(program, file, [n for n in final if n in needed], names))
    titles = [(module, node, _title(module, node)) for module, node in statements]
    renamer = Renamer(final)
    body = [renamer.visit(node) for _, node, _ in titles]
    text = ast.unparse(ast.fix_missing_locations(ast.Module([*head, *body], [])))
    fresh = ast.parse(text).body[len(head) :]
    origins: list[str] = []
    for (module, node, _), new in zip(titles, fresh, strict=True):
        origins.extend(_origins(file, f"{module}.py", node, new))
    return Linked(file, text + "\n", origins)


def _looked_up(statement: ast.stmt) -> Iterator[str]:
    """Yield the names a statement needs when run: a decorator of the compiler is none."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and SEP in node.id:
            yield node.id
        for child in ast.iter_child_nodes(node):
            is_decorator = isinstance(node, _FUNCTIONS) and child in node.decorator_list
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


def _title(module: str, node: ast.stmt) -> str:
    return module + "." + getattr(node, "name", "").rpartition(SEP)[2]


def _origins(file: str, source: str, old: ast.AST, new: ast.AST) -> Iterator[str]:
    """Yield `file.py:line name source.py:line` for each function in a statement."""
    if isinstance(new, (*_FUNCTIONS, ast.ClassDef)):
        yield f"{file}.py:{new.lineno} {new.name} {source}:{getattr(old, 'lineno', 0)}"
    pairs = zip(ast.iter_child_nodes(old), ast.iter_child_nodes(new), strict=False)
    for before, after in pairs:
        if type(before) is type(after):
            yield from _origins(file, source, before, after)

"""Leave out what nothing can reach."""

import ast
from collections.abc import Iterable, Iterator
from typing import Final

from tools.firmware_linker.binding import SEP, Program
from tools.firmware_linker.folding import assigned, is_external
from tools.firmware_linker.source import Body

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_METHODS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Calls without effect: what they give is dropped when nobody uses it.
_PURE: Final = frozenset(
    {"bytes", "bytearray", "dict", "float", "frozenset", "getattr", "int", "len", "list", "max"}
    | {"min", "range", "set", "str", "tuple"}
)
_PURE_EXTERNAL: Final = ("binascii", "math", "struct", "array", "micropython")


def shake(program: Program) -> None:
    """Drop definitions, assignments and methods that are never used.

    Kept are `program.wanted`, and of a file loaded by its name whatever is an attribute's
    name somewhere.
    A method is used when any attribute anywhere has its name, or any string is its name:
    the interpreter and modules off the board can call only by these or by `__names__`.
    """
    while True:
        attributes = set(_attributes(program.bodies.values()))
        live = _live(program, attributes)
        dropped = 0
        for name, body in program.bodies.items():
            kept = [node for node in body if _is_kept(node, live)]
            dropped += len(body) - len(kept)
            for node in kept:
                if isinstance(node, ast.ClassDef):
                    dropped += _without_methods(node, attributes)
            program.bodies[name] = kept
        if not dropped:
            return


def _attributes(bodies: Iterable[Body]) -> Iterator[str]:
    """Yield every name by which an attribute may be reached."""
    for body in bodies:
        for node in ast.walk(ast.Module(body, [])):
            if isinstance(node, ast.Attribute):
                yield node.attr
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _live(program: Program, attributes: set[str]) -> set[str]:
    """Return the names that are used, from the outside or by what is used."""
    needs: dict[str, set[str]] = {}
    waiting = [*program.wanted]
    for module, body in program.bodies.items():
        is_head = program.plan.homes[module] == module
        for node in body:
            used = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            name = node.name if isinstance(node, _DEFINITIONS) else assigned(node)
            if name and not _has_effect(node):
                needs.setdefault(name, set()).update(used - {name})
            else:
                waiting.extend(used)
            if is_head and name.partition(SEP)[2] in attributes:
                waiting.append(name)
    live: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in live:
            live.add(name)
            waiting.extend(needs.get(name, ()))
    return live


def _is_kept(node: ast.stmt, live: set[str]) -> bool:
    if isinstance(node, ast.Pass):
        return False
    name = node.name if isinstance(node, _DEFINITIONS) else assigned(node)
    return not name or name in live or _has_effect(node)


def _has_effect(node: ast.stmt) -> bool:
    """Tell whether running a statement does more than to bind its name."""
    if isinstance(node, _DEFINITIONS):
        return any(not isinstance(one, ast.Attribute) for one in node.decorator_list)
    return any(isinstance(one, ast.Call) and not _is_pure(one.func) for one in ast.walk(node))


def _is_pure(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        function = function.value
    if not isinstance(function, ast.Name):
        return False
    known = is_external(function.id) and function.id.split(SEP)[1] in _PURE_EXTERNAL
    return known or function.id in _PURE


def _without_methods(node: ast.ClassDef, attributes: set[str]) -> int:
    kept = [
        one
        for one in node.body
        if not isinstance(one, _METHODS) or one.name in attributes or one.name.startswith("__")
    ]
    dropped = len(node.body) - len(kept)
    node.body = kept or [ast.Pass()]
    return dropped if kept else 0

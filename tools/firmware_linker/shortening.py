"""Shorten names that the interpreter keeps as strings: parameters and attributes."""

import ast
import itertools
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Final

from tools.firmware_linker import interpreter
from tools.firmware_linker.binding import SEP, Program
from tools.firmware_linker.folding import assigned, is_external
from tools.firmware_linker.interpreter import ATTRIBUTES, MODULES
from tools.firmware_linker.naming import identifiers, short_names
from tools.firmware_linker.scopes import FUNCTIONS, Function, Scoped
from tools.firmware_linker.source import LinkError, arguments_of

SELF: Final = "self"
_DEFINITIONS = (*FUNCTIONS, ast.ClassDef)


def shorten_parameters(program: Program) -> None:
    """Rename the parameters that no call names, and functions inside functions.

    All functions share few names: the compiler stores a parameter's name as a string.
    """
    statements = [node for body in program.bodies.values() for node in body]
    nodes = (one for node in statements for one in ast.walk(node))
    named = {str(one.arg) for one in nodes if isinstance(one, ast.keyword)}
    for node in statements:
        _Parameters(named | {SELF}).visit(node)


class _Parameters(Scoped[str]):
    def __init__(self, fixed: set[str]) -> None:
        super().__init__()
        self._fixed = fixed

    def names_in(self, node: Function | ast.Lambda) -> dict[str, str | None]:
        names = super().names_in(node)
        outer = {new for scope in self.stack for new in scope.names.values() if new}
        taken = set(identifiers(node)) | outer
        fresh = (name for name in short_names() if name not in taken)
        inner = [one.name for one in _inner_functions(node)]
        for name in [*(one.arg for one in arguments_of(node.args)), *inner]:
            if name not in self._fixed:
                names[name] = names[name] or next(fresh)
        for one in arguments_of(node.args):
            one.arg = names[one.arg] or one.arg
        return names

    def define(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        node.name = self._new(node.name)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._new(node.id)
        return node

    def _new(self, name: str) -> str:
        scope = self.scope_of(name)
        return (scope.names[name] if scope else None) or name


def _inner_functions(node: Function | ast.Lambda) -> Iterator[Function]:
    body = [] if isinstance(node, ast.Lambda) else node.body
    return (one for one in body if isinstance(one, FUNCTIONS))


def shorten_privates(module: ast.Module) -> None:
    """Rename what begins with an underscore in a module that is not linked.

    All such modules share few names: each has its own, and nobody else's are used in it. A
    name stays that a string spells, and one that an interpreter's module has.
    """
    nodes = list(ast.walk(module))
    spelt = {one.value for one in nodes if isinstance(one, ast.Constant)}
    new = {
        name: f"_{short}"
        for name, short in zip(_privates(nodes, spelt), short_names(), strict=False)
    }
    for one in nodes:
        if isinstance(one, ast.Attribute):
            one.attr = new.get(one.attr, one.attr)
        elif isinstance(one, ast.Name):
            one.id = new.get(one.id, one.id)
        elif isinstance(one, _DEFINITIONS):
            one.name = new.get(one.name, one.name)


def _privates(nodes: Iterable[ast.AST], spelt: Container[object]) -> list[str]:
    names = []
    for one in nodes:
        if isinstance(one, ast.Attribute):
            names.append(one.attr)
        elif isinstance(one, _DEFINITIONS):
            names.append(one.name)
        elif isinstance(one, ast.Name):
            names.append(one.id)
    private = [n for n in names if n.startswith("_") and not n.endswith("__") and n not in spelt]
    return list(dict.fromkeys(private))


def shorten_attributes(program: Program, described: Iterable[Path]) -> None:
    """Rename attributes that only the program's own classes have.

    Two attributes may get one name when no class has both. A name stays that a string
    in the program spells, that the interpreter's objects have, or that one of the files
    `described` holds: these describe what takes the place of modules of the board.
    """
    bodies = program.bodies.values()
    classes = [one for body in bodies for one in body if isinstance(one, ast.ClassDef)]
    families = _families(classes)
    everything = [node for body in bodies for one in body for node in ast.walk(one)]
    used = [node.attr for node in everything if isinstance(node, ast.Attribute)]
    fixed = _foreign(everything) | {name for path in described for name in _spelt(path)}
    fixed.update(name.partition(SEP)[2] for name in program.wanted)
    fixed.update(name for file in program.plan.files for name in _heads(program, file))
    defined = dict.fromkeys(name for family in families for name in family)
    from_outside = set(_stored_from_outside(everything))
    chosen: dict[str, str] = {}
    movable = [
        name
        for name in defined
        if name not in fixed and not name.startswith("__") and not name[0].isupper()
    ]
    stay = (set(used) | set(defined)) - set(movable)
    for name in movable:
        near = [family for family in families if name in family or name in from_outside]
        nobody = {chosen.get(other, other) for family in near for other in family}
        nobody |= {chosen[other] for other in from_outside if other in chosen} | stay
        if name in from_outside:
            nobody |= set(chosen.values())
        chosen[name] = next(new for new in short_names() if new not in nobody)
    for body in bodies:
        for node in body:
            _Attributes(chosen).visit(node)


def _heads(program: Program, file: str) -> Iterator[str]:
    """Yield the names of a module that is loaded by its name: they are attributes of it."""
    for node in program.bodies[file]:
        name = node.name if isinstance(node, _DEFINITIONS) else assigned(node)
        yield name.partition(SEP)[2]


def _families(classes: list[ast.ClassDef]) -> list[dict[str, None]]:
    """Return the attributes of each class with those of the classes it is made from."""
    own = {one.name: dict.fromkeys(_own(one)) for one in classes}
    bases = {one.name: [b.id for b in one.bases if isinstance(b, ast.Name)] for one in classes}

    def line(name: str) -> Iterator[str]:
        yield name
        for base in bases.get(name, ()):
            yield from line(base)

    return [
        dict.fromkeys(itertools.chain.from_iterable(own.get(one, ()) for one in line(name)))
        for name in own
    ]


def _own(node: ast.ClassDef) -> Iterator[str]:
    for one in node.body:
        if isinstance(one, _DEFINITIONS):
            yield one.name
        elif isinstance(one, ast.Assign):
            yield from (target.id for target in one.targets if isinstance(target, ast.Name))
    for inside in ast.walk(node):
        match inside:
            case ast.Attribute(ctx=ast.Store()) if _is_self(inside):
                yield inside.attr


def _is_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == SELF


def _stored_from_outside(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) if not _is_self(node):
                yield node.attr


def _foreign(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the attributes of the interpreter's objects, and every string of the program."""
    names = set(ATTRIBUTES)
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
        elif isinstance(node, ast.Name) and SEP in node.id and is_external(node.id):
            module = node.id.split(SEP)[1]
            if module not in MODULES:
                msg = f"module {module}: its names are missing in {interpreter.__file__}"
                raise LinkError(msg)
    return names


def _spelt(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, _DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and not node.attr.startswith("_"):
            yield node.attr


class _Attributes(ast.NodeTransformer):
    def __init__(self, chosen: dict[str, str]) -> None:
        self._chosen = chosen

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        node.attr = self._chosen.get(node.attr, node.attr)
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        inside = set()
        for one in node.body:
            if isinstance(one, _DEFINITIONS):
                inside.add(one.name)
                one.name = self._chosen.get(one.name, one.name)
            elif isinstance(one, ast.Assign):
                for target in one.targets:
                    inside.update(n.id for n in ast.walk(target) if isinstance(n, ast.Name))
        for one in node.body:
            if not isinstance(one, _DEFINITIONS):
                for name in ast.walk(one):
                    if isinstance(name, ast.Name) and name.id in inside:
                        name.id = self._chosen.get(name.id, name.id)
        self.generic_visit(node)
        return node

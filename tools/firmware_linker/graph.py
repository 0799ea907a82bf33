"""Which module goes into which file of the linked firmware."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tools.firmware_linker.source import Module

# Calls that load a module by its name while the meter runs.
LOADERS = ("__import__", "load")


@dataclass(frozen=True, slots=True)
class Plan:
    """`homes` maps a module to its file's name, `files` a file to its modules in load order.

    A file has the name of the module that others load at run time; the first is the entry.
    """

    homes: Mapping[str, str]
    files: Mapping[str, list[str]]


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the modules that one import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module


def at_load(module: Module) -> Iterator[str]:
    """Yield what a module imports when it is loaded."""
    waiting: list[ast.AST] = [*reversed(module.body)]
    while waiting:
        node = waiting.pop()
        yield from imported(node)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def on_demand(module: Module) -> Iterator[str]:
    """Yield what a module loads while it runs: imports in functions, and loads by name."""
    first = {id(node) for node in module.body}
    for node in ast.walk(ast.Module(module.body, [])):
        if id(node) not in first:
            yield from imported(node)
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            given = node.args[0]
            if name in LOADERS and isinstance(given, ast.Constant):
                yield str(given.value)


def plan(modules: Mapping[str, Module], entry: str, more: Iterable[str] = ()) -> Plan:
    """Share the modules out to files.

    What the entry imports at load, directly or not, is merged with it. A module loaded
    while the meter runs becomes a file with what only it needs. What several of those
    need stays a file of its own. `more` names modules that are loaded in a way that
    cannot be seen here.
    """
    core = _closure(modules, entry, frozenset())
    heads = [name for name in more if name in modules and name not in core]
    seen: set[str] = set()
    waiting = [entry, *heads]
    while waiting:
        name = waiting.pop()
        for reached in _closure(modules, name, frozenset()):
            if reached in seen:
                continue
            seen.add(reached)
            found = [one for one in on_demand(modules[reached]) if one in modules]
            fresh = [one for one in found if one not in core and one not in heads]
            heads.extend(dict.fromkeys(fresh))
            waiting.extend(fresh)
    return Plan(*_share(modules, entry, core, sorted(set(heads))))


def _share(
    modules: Mapping[str, Module], entry: str, core: list[str], heads: list[str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Give each module that is not in the core to the only file that needs it."""
    while True:
        edges = frozenset([*core, *heads])
        files = {head: _closure(modules, head, edges - {head}) for head in heads}
        users: dict[str, list[str]] = {}
        for head, names in files.items():
            for name in names:
                users.setdefault(name, []).append(head)
        shared = [name for name, by in users.items() if len(by) > 1]
        if not shared:
            break
        # The first of them in load order: what it brings along goes with it.
        heads = sorted([*heads, _topmost(modules, shared)])
    files = {entry: core, **files}
    return {name: file for file, names in files.items() for name in names}, files


def _topmost(modules: Mapping[str, Module], shared: list[str]) -> str:
    """Return one of the shared modules that no other of them imports."""
    below = {name for one in shared for name in at_load(modules[one])}
    return min([name for name in shared if name not in below] or shared)


def _closure(modules: Mapping[str, Module], start: str, edges: frozenset[str]) -> list[str]:
    """Return what loading a module loads, each behind those it imports, but for `edges`."""
    ordered: dict[str, None] = {}
    seen = set(edges)

    def visit(name: str) -> None:
        if name in modules and name not in seen:
            seen.add(name)
            for other in at_load(modules[name]):
                visit(other)
            ordered[name] = None

    visit(start)
    return list(ordered)

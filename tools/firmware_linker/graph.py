"""Which module goes into which file of the linked firmware."""

import ast
from collections.abc import Collection, Iterator, Mapping
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

    @property
    def entry(self) -> str:
        """Return the file that the loader starts."""
        return next(iter(self.files))


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


def plan(modules: Mapping[str, Module], entry: str, never: Collection[str] = ()) -> Plan:
    """Share the modules out to files.

    What the entry imports at load, directly or not, is merged with it. A module loaded
    while the meter runs becomes a file with what only it needs. What several of those
    need goes into the file that is always there when the others are loaded, else it stays
    a file of its own; and what must be none, being in `never`, goes to the entry.
    """
    resident = [entry]
    while True:
        core = dict.fromkeys(name for one in resident for name in _closure(modules, one, ()))
        files = _Files(modules, entry, list(core)).share()
        wrong = sorted(name for name in never if name in files)
        if not wrong:
            return Plan({name: file for file, names in files.items() for name in names}, files)
        resident.insert(0, wrong[0])


class _Files:
    """The files while modules are shared out; `loads` tells which modules load a head."""

    def __init__(self, modules: Mapping[str, Module], entry: str, core: list[str]) -> None:
        self._modules = modules
        self._entry = entry
        self._core = core
        self._loads: dict[str, set[str]] = {}
        waiting, seen = list(core), set(core)
        while waiting:
            user = waiting.pop()
            for head in on_demand(modules[user]):
                if head in modules and head not in core:
                    self._loads.setdefault(head, set()).add(user)
            below = [*at_load(modules[user]), *on_demand(modules[user])]
            fresh = [name for name in below if name in modules and name not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
        self._owned: dict[str, str] = {}  # what others need too, to the file that holds it
        self._heads = sorted(self._loads)

    def share(self) -> dict[str, list[str]]:
        """Return the modules of every file, the entry's first."""
        while True:
            files = {head: self._names(head) for head in self._heads}
            users: dict[str, list[str]] = {}
            for head, names in files.items():
                for name in names:
                    users.setdefault(name, []).append(head)
            shared = [name for name, by in users.items() if len(by) > 1]
            if not shared:
                return {self._entry: self._core, **files}
            # What it brings along goes with it.
            name = self._topmost(shared)
            above = [file for file in users[name] if self._is_above(file, users[name], files)]
            if above:
                self._owned[name] = above[0]
            else:
                self._heads = sorted([*self._heads, name])

    def _names(self, head: str) -> list[str]:
        mine = {name for name, file in self._owned.items() if file == head}
        edges = {*self._core, *self._heads, *self._owned} - mine - {head}
        return _closure(self._modules, head, edges)

    def _is_above(self, file: str, users: list[str], files: Mapping[str, list[str]]) -> bool:
        """Tell whether all other users are loaded only by what is in a file."""
        return all(self._loads.get(one, {""}) <= {*files[file]} for one in users if one != file)

    def _topmost(self, shared: list[str]) -> str:
        """Return the first of the shared modules that no other of them imports."""
        below = {name for one in shared for name in at_load(self._modules[one])}
        return min([name for name in shared if name not in below] or shared)


def _closure(modules: Mapping[str, Module], start: str, edges: Collection[str]) -> list[str]:
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

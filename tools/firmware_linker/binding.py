"""Resolve every name that a module has beyond its functions to a name of the whole program.

Those names hold a SEP, which no source has: `wire·flags_text` for what a module defines,
`_·math·sqrt` for what comes from the interpreter. Local names and parameters stay. From
here on nothing can capture anything, and scopes matter no more.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from tools.firmware_linker.graph import Plan
from tools.firmware_linker.scopes import Definition, Scoped, bound_in
from tools.firmware_linker.source import Body, Module

SEP = "\u00b7"
EXTERNAL = "_"


@dataclass(frozen=True, slots=True)
class Whole:
    """A name bound to a module of the firmware: only its attributes may be used."""

    module: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A name bound while the meter runs to a module that is a file of its own."""

    module: str


Target = str | Whole | Loaded
Table = dict[str, Target]


@dataclass(slots=True)
class Program:
    """All modules bound: what is left of their statements, and what files need at run time."""

    plan: Plan
    modules: Mapping[str, Module]
    bodies: dict[str, Body] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)  # names that are reached from outside their file

    def home(self, name: str) -> str:
        """Return the file in which a name of the program is defined, "" for the interpreter's."""
        return self.plan.homes.get(name.partition(SEP)[0], "")


def external(module: str, name: str = "") -> str:
    """Return the program's name for a module of the interpreter, or for something in it."""
    return SEP.join([EXTERNAL, module, name] if name else [EXTERNAL, module])


def bind(plan: Plan, modules: Mapping[str, Module]) -> Program:
    """Bind the names of every module that the plan needs."""
    program = Program(plan, modules)
    tables = _Tables(modules)
    for names in plan.files.values():
        for name in names:
            program.bodies[name] = _Binder(program, modules[name], tables).bound()
    return program


class _Tables:
    """What each module's own names stand for."""

    def __init__(self, modules: Mapping[str, Module]) -> None:
        self.modules = modules
        self._tables: dict[str, Table] = {}

    def of(self, name: str) -> Table:
        if name not in self._tables:
            table = self._tables[name] = {}
            for node in self.modules[name].body:
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    self._imports(table, self.modules[name], node)
            own = [one for one in bound_in(self.modules[name].body) if one not in table]
            table.update({one: name + SEP + one for one in own})
        return self._tables[name]

    def _imports(self, table: Table, module: Module, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name
            if "." in alias.name or "*" in alias.name:
                raise module.refuse(node, f"import {alias.name} cannot be linked")
            if isinstance(node, ast.Import):
                inside = alias.name in self.modules
                table[name] = Whole(alias.name) if inside else external(alias.name)
            else:
                table[name] = self.member(module, node, str(node.module), alias.name)

    def member(self, user: Module, node: ast.AST, module: str, name: str) -> Target:
        """Return what `module.name` stands for."""
        if module not in self.modules:
            return external(module, name)
        found = self.of(module).get(name)
        if found is None:
            raise user.refuse(node, f"{module} has no {name}")
        return found


def _module(name: str) -> str:
    return name.partition(SEP)[0]


def _is_of(target: Target, module: str) -> bool:
    return isinstance(target, str) and _module(target) == module


class _Binder(Scoped[Target]):
    def __init__(self, program: Program, module: Module, tables: _Tables) -> None:
        super().__init__()
        self._program = program
        self._module = module
        self._tables = tables
        self._table = tables.of(module.name)
        self._homes = program.plan.homes

    def bound(self) -> Body:
        body: Body = []
        for node in self._module.body:
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                body.append(self.visit(node))
        return body

    def _target(self, name: str) -> Target | None:
        """Return what a name stands for, None when it is a local or a built-in."""
        scope = self.scope_of(name)
        return scope.names[name] if scope else self._table.get(name)

    def define(self, node: Definition) -> None:
        if not self.stack:
            node.name = str(self._table[node.name])

    # -- names -----------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> ast.Name:
        target = self._target(node.id)
        if isinstance(target, Whole):
            raise self._module.refuse(node, f"module {target.module} is used as a value")
        scope = self.scope_of(node.id)
        if scope and scope.is_class and isinstance(node.ctx, ast.Load) and node.id in self._table:
            raise self._module.refuse(node, f"{node.id} is the class's or the module's")
        if isinstance(target, str):
            node.id = target
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        target = self._target(node.value.id) if isinstance(node.value, ast.Name) else None
        if not isinstance(target, (Whole, Loaded)):
            self.generic_visit(node)
            return node
        member = self._tables.member(self._module, node, target.module, node.attr)
        if isinstance(target, Loaded) and _is_of(member, target.module):
            self._program.wanted.add(str(member))
            return node
        if not isinstance(node.ctx, ast.Load):
            raise self._module.refuse(node, f"{target.module}.{node.attr} is assigned to")
        if isinstance(target, Loaded) or isinstance(member, Whole):
            member = self._near(node, member)
        return ast.copy_location(ast.Name(str(member), ast.Load()), node)

    def _near(self, node: ast.AST, target: Target) -> str:
        """Return a name that can be used without loading another file."""
        if isinstance(target, str) and (_is_of(target, EXTERNAL) or self._is_here(_module(target))):
            return target
        raise self._module.refuse(node, f"{target} is in a file that is not loaded here")

    def visit_Global(self, node: ast.Global) -> ast.Global:
        raise self._module.refuse(node, "`global` is not linkable: keep state in an object")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        if node.name and not self.stack:
            node.name = str(self._table[node.name])
        self.generic_visit(node)
        return node

    # -- imports below the top ---------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        kept = []
        for alias in node.names:
            name = alias.asname or alias.name
            if alias.name in self._homes:
                here = self._is_here(alias.name)
                target = Whole(alias.name) if here else Loaded(alias.name)
                self._bind_local(node, name, target)
            if not isinstance(self._target(name), Whole):
                kept.append(self._at_top(alias))
        return self._rest(node, kept)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        kept = []
        module = str(node.module)
        for alias in node.names:
            target = self._tables.member(self._module, node, module, alias.name)
            if module in self._homes and (self._is_here(module) or not _is_of(target, module)):
                near = target if self._is_here(module) else self._near(node, target)
                self._bind_local(node, alias.asname or alias.name, near)
                continue
            if module in self._homes:
                self._program.wanted.add(str(target))
            kept.append(self._at_top(alias))
        return self._rest(node, kept)

    def _bind_local(self, node: ast.AST, name: str, target: Target) -> None:
        if not self.stack:
            raise self._module.refuse(node, f"{name} is imported under a condition")
        self.stack[-1].names[name] = target

    def _is_here(self, module: str) -> bool:
        """Tell whether a module's names can be reached without loading it."""
        own = self._homes[self._module.name]
        return self._homes.get(module) in {own, self._program.plan.entry}

    def _at_top(self, alias: ast.alias) -> ast.alias:
        if not self.stack:
            alias.asname = str(self._table[alias.asname or alias.name])
        return alias

    @staticmethod
    def _rest(node: ast.Import | ast.ImportFrom, kept: list[ast.alias]) -> ast.stmt:
        node.names = kept
        return node if kept else ast.copy_location(ast.Pass(), node)

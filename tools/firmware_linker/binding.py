"""Resolve every name that a module has beyond its functions to a name of the whole program.

Those names hold a SEP, which no source has: `wire·flags_text` for what a module defines,
`_·math·sqrt` for what comes from the interpreter. Local names and parameters stay. From
here on nothing can capture anything, and scopes matter no more.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tools.firmware_linker.graph import Plan
from tools.firmware_linker.source import Body, Module, arguments_of, names_of

SEP = "\u00b7"
EXTERNAL = "_"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ClassDef, *_COMPREHENSIONS)


@dataclass(frozen=True, slots=True)
class Whole:
    """A name bound to a module of the firmware: only its attributes may be used."""

    module: str


Target = str | Whole
Table = dict[str, Target]


@dataclass(slots=True)
class Scope:
    """What is bound in a function or class; None is an ordinary local."""

    names: dict[str, Target | None]
    is_class: bool = False


@dataclass(slots=True)
class Program:
    """All modules bound: what is left of their statements, and what files need at run time."""

    plan: Plan
    modules: Mapping[str, Module]
    bodies: dict[str, Body] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)  # names imported from a file in a function

    def home(self, name: str) -> str:
        """Return the file in which a name of the program is defined, "" for the interpreter's."""
        return self.plan.homes.get(name.split(SEP)[0], "")


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


def bound_in(body: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that statements bind in their own scope."""
    for node in body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            yield node.id
        elif isinstance(node, _COMPREHENSIONS):
            yield from (
                name
                for one in ast.walk(node)
                if isinstance(one, ast.NamedExpr)
                for name in names_of(one.target)
            )
        if not isinstance(node, _SCOPES):
            yield from bound_in(ast.iter_child_nodes(node))


class _Binder(ast.NodeTransformer):
    def __init__(self, program: Program, module: Module, tables: _Tables) -> None:
        self._program = program
        self._module = module
        self._tables = tables
        self._table = tables.of(module.name)
        self._homes = program.plan.homes
        self._stack: list[Scope] = []

    def bound(self) -> Body:
        body: Body = []
        for node in self._module.body:
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                body.append(self.visit(node))
        return body

    def _target(self, name: str) -> Target | None:
        """Return what a name stands for, None when it is a local or a built-in."""
        for scope in reversed(self._stack):
            if name in scope.names and (not scope.is_class or scope is self._stack[-1]):
                return scope.names[name]
        return self._table.get(name)

    # -- names -----------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> ast.Name:
        target = self._target(node.id)
        if isinstance(target, Whole):
            raise self._module.refuse(node, f"module {target.module} is used as a value")
        node.id = target or node.id
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name):
            target = self._target(node.value.id)
            if isinstance(target, Whole):
                member = self._tables.member(self._module, node, target.module, node.attr)
                if isinstance(member, Whole) or not isinstance(node.ctx, ast.Load):
                    raise self._module.refuse(node, f"{target.module}.{node.attr} is not linkable")
                return ast.copy_location(ast.Name(member, ast.Load()), node)
        self.generic_visit(node)
        return node

    def visit_Global(self, node: ast.Global) -> ast.Global:
        raise self._module.refuse(node, "`global` is not linkable: keep state in an object")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        if node.name and not self._stack:
            node.name = str(self._table[node.name])
        self.generic_visit(node)
        return node

    # -- imports below the top ---------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        kept = []
        for alias in node.names:
            if self._is_here(alias.name):
                self._stack[-1].names[alias.asname or alias.name] = Whole(alias.name)
            else:
                kept.append(self._at_top(alias))
        return self._rest(node, kept)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        kept = []
        module = str(node.module)
        for alias in node.names:
            target = self._tables.member(self._module, node, module, alias.name)
            defined = isinstance(target, str) and target.split(SEP)[0] in (module, EXTERNAL)
            if module in self._homes and (self._is_here(module) or not defined):
                self._stack[-1].names[alias.asname or alias.name] = target
                continue
            if module in self._homes:
                self._program.wanted.add(str(target))
            kept.append(self._at_top(alias))
        return self._rest(node, kept)

    def _is_here(self, module: str) -> bool:
        """Tell whether a module's names can be reached without loading it."""
        own = self._homes[self._module.name]
        return self._homes.get(module) in (own, next(iter(self._program.plan.files)))

    def _at_top(self, alias: ast.alias) -> ast.alias:
        if not self._stack:
            alias.asname = str(self._table[alias.asname or alias.name])
        return alias

    @staticmethod
    def _rest(node: ast.Import | ast.ImportFrom, kept: list[ast.alias]) -> ast.stmt:
        node.names = kept
        return node if kept else ast.copy_location(ast.Pass(), node)

    # -- scopes --------------------------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.bases = [self.visit(one) for one in node.bases]
        node.decorator_list = [self.visit(one) for one in node.decorator_list]
        names = dict.fromkeys(bound_in(node.body))
        if not self._stack:
            node.name = str(self._table[node.name])
        self._stack.append(Scope(dict(names), is_class=True))
        node.body = [self.visit(one) for one in node.body]
        self._stack.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self._function(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        self._function(node)
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        node.decorator_list = [self.visit(one) for one in node.decorator_list]
        self._defaults(node.args)
        if not self._stack:
            node.name = str(self._table[node.name])
        names = [*(one.arg for one in arguments_of(node.args)), *bound_in(node.body)]
        self._stack.append(Scope(dict.fromkeys(names)))
        node.body = [self.visit(one) for one in node.body]
        self._stack.pop()

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self._defaults(node.args)
        self._stack.append(Scope(dict.fromkeys(one.arg for one in arguments_of(node.args))))
        node.body = self.visit(node.body)
        self._stack.pop()
        return node

    def _defaults(self, arguments: ast.arguments) -> None:
        arguments.defaults = [self.visit(one) for one in arguments.defaults]
        arguments.kw_defaults = [one and self.visit(one) for one in arguments.kw_defaults]

    def _comprehension(self, node: ast.expr, generators: list[ast.comprehension]) -> ast.expr:
        first = generators[0]
        first.iter = self.visit(first.iter)  # belongs to the scope around it
        names = [name for one in generators for name in names_of(one.target)]
        self._stack.append(Scope(dict.fromkeys(names)))
        done, first.iter = first.iter, ast.Constant(None)
        self.generic_visit(node)
        first.iter = done
        self._stack.pop()
        return node

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        return self._comprehension(node, node.generators)

    def visit_SetComp(self, node: ast.SetComp) -> ast.expr:
        return self._comprehension(node, node.generators)

    def visit_DictComp(self, node: ast.DictComp) -> ast.expr:
        return self._comprehension(node, node.generators)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        return self._comprehension(node, node.generators)

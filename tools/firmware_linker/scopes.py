"""Walk syntax trees with the scopes of the language in mind."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tools.firmware_linker.source import arguments_of, names_of

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ClassDef, *COMPREHENSIONS)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
T = TypeVar("T")


@dataclass(slots=True)
class Scope(Generic[T]):
    """What is bound in a function, class or comprehension; None is nothing special."""

    names: dict[str, T | None]
    is_class: bool = False


def bound_in(body: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that statements bind in their own scope."""
    for node in body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            yield node.id
        elif isinstance(node, COMPREHENSIONS):
            yield from (
                name
                for one in ast.walk(node)
                if isinstance(one, ast.NamedExpr)
                for name in names_of(one.target)
            )
        if not isinstance(node, SCOPES):
            yield from bound_in(ast.iter_child_nodes(node))


class Scoped(ast.NodeTransformer, Generic[T]):
    """A transformer that knows in which scope it is; `stack` is empty at the module's top."""

    def __init__(self) -> None:
        self.stack: list[Scope[T]] = []

    def scope_of(self, name: str) -> Scope[T] | None:
        """Return the innermost scope that binds a name, None for globals and built-ins."""
        for scope in reversed(self.stack):
            if name in scope.names and (not scope.is_class or scope is self.stack[-1]):
                return scope
        return None

    def define(self, node: Definition) -> None:
        """Look at a definition from the scope that it is in."""

    def names_in(self, node: Function | ast.Lambda) -> dict[str, T | None]:
        """Return what a function binds."""
        body = [] if isinstance(node, ast.Lambda) else node.body
        return dict.fromkeys([*(one.arg for one in arguments_of(node.args)), *bound_in(body)])

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.bases = [self.visit(one) for one in node.bases]
        node.decorator_list = [self.visit(one) for one in node.decorator_list]
        inside: Scope[T] = Scope(dict.fromkeys(bound_in(node.body)), is_class=True)
        self.define(node)
        self.stack.append(inside)
        node.body = [self.visit(one) for one in node.body]
        self.stack.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self._function(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        self._function(node)
        return node

    def _function(self, node: Function) -> None:
        node.decorator_list = [self.visit(one) for one in node.decorator_list]
        self._defaults(node.args)
        names = self.names_in(node)
        self.define(node)
        self.stack.append(Scope(names))
        node.body = [self.visit(one) for one in node.body]
        self.stack.pop()

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self._defaults(node.args)
        self.stack.append(Scope(self.names_in(node)))
        node.body = self.visit(node.body)
        self.stack.pop()
        return node

    def _defaults(self, arguments: ast.arguments) -> None:
        arguments.defaults = [self.visit(one) for one in arguments.defaults]
        arguments.kw_defaults = [one and self.visit(one) for one in arguments.kw_defaults]

    def _comprehension(self, node: ast.expr, generators: list[ast.comprehension]) -> ast.expr:
        first = generators[0]
        first.iter = self.visit(first.iter)  # belongs to the scope around it
        names = [name for one in generators for name in names_of(one.target)]
        self.stack.append(Scope(dict.fromkeys(names)))
        done, first.iter = first.iter, ast.Constant(None)
        self.generic_visit(node)
        first.iter = done
        self.stack.pop()
        return node

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        return self._comprehension(node, node.generators)

    def visit_SetComp(self, node: ast.SetComp) -> ast.expr:
        return self._comprehension(node, node.generators)

    def visit_DictComp(self, node: ast.DictComp) -> ast.expr:
        return self._comprehension(node, node.generators)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        return self._comprehension(node, node.generators)

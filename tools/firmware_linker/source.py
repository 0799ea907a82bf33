"""Read a firmware's modules as syntax trees, without what only people and type checkers need."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Body = list[ast.stmt]
_NATIVE = ("native", "viper")


class LinkError(Exception):
    """The firmware is written in a way that cannot be linked; the text says where."""


@dataclass(slots=True)
class Module:
    """One module: its name, where it lies, its statements.

    `titles` are the full names of what is defined at each line.
    """

    name: str
    path: Path
    body: Body
    titles: dict[int, str]

    def refuse(self, node: ast.AST, why: str) -> LinkError:
        """Return the error for a place in this module."""
        return LinkError(f"{self.path}:{getattr(node, 'lineno', 0)}: {why}")


def read(path: Path) -> Module:
    """Return a module, stripped. LinkError when it is no Python."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        msg = f"{path} does not compile: {error}"
        raise LinkError(msg) from error
    titles = dict(_titles(tree, ""))
    stripped = _Strip().visit(tree)
    body = [one for statement in stripped.body for one in _single(statement)]
    return Module(path.stem, path, body, titles)


def _titles(node: ast.AST, above: str) -> Iterator[tuple[int, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield child.lineno, above + child.name
            yield from _titles(child, above + child.name + ".")
        else:
            yield from _titles(child, above)


def is_native(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function is compiled to native code, by its annotations."""
    return any(isinstance(d, ast.Attribute) and d.attr in _NATIVE for d in node.decorator_list)


def arguments_of(arguments: ast.arguments) -> list[ast.arg]:
    """Return every parameter."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return named + [one for one in (arguments.vararg, arguments.kwarg) if one]


def names_of(target: ast.AST) -> Iterator[str]:
    """Yield the names that an assignment's target binds."""
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


class _Strip(ast.NodeTransformer):
    """Takes away docstrings, annotations and what stands under TYPE_CHECKING."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        node.body = self._without_text(node.body)
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.body = self._without_text(node.body)
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self._function(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        self._function(node)
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        node.body = self._without_text(node.body)
        if not is_native(node):
            node.returns = None
            for one in arguments_of(node.args):
                one.annotation = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]

    @staticmethod
    def _without_text(body: Body) -> Body:
        first = body[0] if body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            return body[1:]
        return body

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        if node.value is None:
            return None
        plain = ast.Assign([node.target], node.value)
        return ast.copy_location(plain, node)

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        target = node.targets[0]
        return None if isinstance(target, ast.Name) and target.id == "TYPE_CHECKING" else node

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt] | None:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or None
        return node


def _single(node: ast.stmt) -> Sequence[ast.stmt]:
    """Split `A, B = 1, 2` of constants, so that each can be folded."""
    if not (isinstance(node, ast.Assign) and len(node.targets) == 1):
        return [node]
    target, value = node.targets[0], node.value
    if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)):
        return [node]
    plain = all(isinstance(one, ast.Name) for one in target.elts)
    known = not any(isinstance(one, (ast.Name, ast.Starred)) for one in value.elts)
    if not plain or not known or len(target.elts) != len(value.elts):
        return [node]
    pairs = zip(target.elts, value.elts, strict=True)
    return [ast.copy_location(ast.Assign([one], part), node) for one, part in pairs]

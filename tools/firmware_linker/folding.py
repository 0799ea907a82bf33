"""Put constants where they are used, decide what is known, and leave out what nobody needs."""

import ast
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from tools.firmware_linker.binding import EXTERNAL, SEP, Program, external
from tools.firmware_linker.source import Body

# An ESP32 keeps integers of 31 bits in a word; bigger ones are objects.
SMALL_INT: Final = 1 << 30
SHORT_TEXT: Final = 10  # MicroPython interns such strings anyway
# Known as soon as it is clear that MicroPython runs it.
KNOWN: Final = {external("sys") + ".implementation.name": "micropython"}
_CONST: Final = external("micropython", "const")
_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_COMPARED: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class _UnknownError(Exception):
    """A value that only the running meter knows."""


def fold(program: Program) -> None:
    """Replace names of constants by their values, and drop branches never taken."""
    constants = _Constants(program)
    while True:
        uses = Counter(name for body in program.bodies.values() for name in _loaded(body))
        inline = _Inline(constants, uses)
        for name, body in program.bodies.items():
            program.bodies[name] = _flat(inline.visit(node) for node in body)
        if not inline.changed:
            return


class _Constants:
    """What is bound once, to a value known now."""

    def __init__(self, program: Program) -> None:
        bound: Counter[str] = Counter()
        self._given: dict[str, ast.expr] = {}
        for body in program.bodies.values():
            for node in ast.walk(ast.Module(body, [])):
                if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                    bound[node.id] += 1
            for statement in body:
                name = assigned(statement)
                if name and isinstance(statement, ast.Assign):
                    self._given[name] = statement.value
        self._given = {name: value for name, value in self._given.items() if bound[name] == 1}
        self._values: dict[str, object] = {}

    def named(self, name: str) -> object:
        if name not in self._given:
            raise _UnknownError
        if name not in self._values:
            self._values[name] = self.of(self._given[name])
        return self._values[name]

    def of(self, node: ast.expr) -> object:
        """Return an expression's value, or raise _UnknownError."""
        try:
            return self._of(node)
        except (ArithmeticError, TypeError, ValueError):
            raise _UnknownError from None  # it will fail, but only where it is run

    def _of(self, node: ast.expr) -> object:
        value: object = _UnknownError
        match node:
            case ast.Constant(value=given) if given is not ...:
                value = given
            case ast.Name(id=name, ctx=ast.Load()) if SEP in name:
                value = self.named(name)
            case ast.UnaryOp(op=op, operand=operand):
                value = _UNARY[type(op)](self._of(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                value = _BINARY[type(op)](self._of(left), self._of(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
                value = _COMPARED[type(op)](self._of(left), self._of(right))
            case ast.Call(func=ast.Name(id=name), args=[argument]) if name == _CONST:
                value = self._of(argument)
            case ast.Tuple(elts=elts):
                value = tuple(self._of(one) for one in elts)
            case ast.Attribute() if ast.unparse(node) in KNOWN:
                value = KNOWN[ast.unparse(node)]
        if value is _UnknownError:
            raise _UnknownError
        return value


class _Inline(ast.NodeTransformer):
    def __init__(self, constants: _Constants, uses: Counter[str]) -> None:
        self._constants = constants
        self._uses = uses
        self.changed = False

    def _value(self, node: ast.expr, name: str = "") -> ast.expr:
        """Return the value's literal where that costs less than the expression."""
        try:
            value = self._constants.of(node)
        except _UnknownError:
            return node
        if not _is_cheap(value, self._uses[name] if name else 1):
            return node
        self.changed = True
        return ast.copy_location(literal(value), node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if SEP not in node.id or not isinstance(node.ctx, ast.Load):
            return node
        return self._value(node, node.id)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        is_const = isinstance(node.func, ast.Name) and node.func.id == _CONST
        return self._value(node) if is_const else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if ast.unparse(node) in KNOWN:
            return self._value(node)
        self.generic_visit(node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        known = isinstance(node.left, (ast.Constant, ast.UnaryOp))
        return self._value(node) if known else node

    def visit_If(self, node: ast.If) -> ast.stmt | Body:
        self.generic_visit(node)
        node.body = _flat(node.body)
        try:
            taken = self._constants.of(node.test)
        except _UnknownError:
            return node
        self.changed = True
        return (node.body if taken else node.orelse) or ast.copy_location(ast.Pass(), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        try:
            taken = self._constants.of(node.test)
        except _UnknownError:
            return node
        self.changed = True
        return node.body if taken else node.orelse


def _is_cheap(value: object, uses: int) -> bool:
    """Tell whether a literal at each use takes less than one name for all of them."""
    match value:
        case None | bool():
            return True
        case int():
            return -SMALL_INT <= value < SMALL_INT or uses == 1
        case float():
            return value == value and abs(value) != float("inf")  # noqa: PLR0124 - not NaN
        case str():
            return len(value) <= SHORT_TEXT or uses == 1
    return uses == 1


def literal(value: object) -> ast.expr:
    """Return the expression for a constant."""
    if isinstance(value, tuple):
        return ast.Tuple([literal(one) for one in value], ast.Load())
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)  # type: ignore[arg-type]


def assigned(node: ast.stmt) -> str:
    """Return the name that a statement assigns, "" when it does anything else."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def _flat(found: Iterable[Any]) -> Body:
    body: Body = []
    for one in found:
        body.extend(one if isinstance(one, list) else [one])
    return body


def _loaded(body: Iterable[ast.AST]) -> Iterator[str]:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield node.id


def is_external(name: str) -> bool:
    """Tell whether a name of the program is one of the interpreter's."""
    return name.startswith(EXTERNAL + SEP)

"""Check that modules and functions stay short enough to read in one go."""

import ast
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 40
MEDIAN_LINES = 150


@dataclass(frozen=True, slots=True)
class Module:
    """One source file: its length, and each function's name, first line and length in lines."""

    path: Path
    lines: int
    functions: tuple[tuple[str, int, int], ...]


def measure(path: Path) -> Module:
    """Read one module. Raise SyntaxError when it is not Python."""
    text = path.read_text(encoding="utf-8")
    functions = tuple(
        (node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(text, filename=str(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return Module(path, len(text.splitlines()), functions)


def sources(roots: Iterable[Path]) -> list[Path]:
    """Return every Python file under the roots, sorted. Raise FileNotFoundError for a bad root."""
    found: list[Path] = []
    for root in roots:
        if not root.exists():
            msg = f"{root}: no such folder"
            raise FileNotFoundError(msg)
        found += [root] if root.is_file() else root.rglob("*.py")
    return sorted(found)


def complaints(modules: Sequence[Module]) -> Iterator[str]:
    """Yield one line for each thing that is too long."""
    for module in modules:
        if module.lines > MODULE_LINES:
            yield f"{module.path}: {module.lines} lines; split it (at most {MODULE_LINES})"
        for name, line, length in module.functions:
            if length > FUNCTION_LINES:
                where = f"{module.path}:{line}"
                yield f"{where}: {name} has {length} lines; split it (at most {FUNCTION_LINES})"
    middle = median_lines(modules)
    if middle > MEDIAN_LINES:
        yield f"the median module has {middle:g} lines (at most {MEDIAN_LINES})"


def median_lines(modules: Sequence[Module]) -> float:
    """Return the median length of the modules that define something.

    Package markers of a line or two would flatter it, so modules without a function stay out.
    """
    lengths = [module.lines for module in modules if module.functions]
    return statistics.median(lengths) if lengths else 0


def main(arguments: Sequence[str]) -> int:
    """Check the folders given; return the exit status."""
    modules = [measure(path) for path in sources(map(Path, arguments))]
    found = list(complaints(modules))
    for line in found:
        print(line)
    if found:
        return 1
    longest = max((module.lines for module in modules), default=0)
    print(
        f"sizes: {len(modules)} modules, median {median_lines(modules):g}, longest {longest} lines"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Linked programs do what their modules do, and what cannot be linked is refused."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tools import link_firmware
from tools.firmware_linker.source import LinkError
from tools.link_firmware import link


def written(folder: Path, modules: Mapping[str, str]) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def run(folder: Path, modules: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> object:
    """Link modules, run `app.main()` of the result under CPython, return what it gives."""
    linked = link(written(folder, modules))
    for one in linked:
        monkeypatch.delitem(sys.modules, one.name, raising=False)
        (folder / "out").mkdir(exist_ok=True)
        (folder / "out" / f"{one.name}.py").write_text(one.text)
    monkeypatch.setattr(sys, "path", [str(folder / "out"), *sys.path])
    try:
        main: Any = __import__("app").main
        return main()
    finally:
        for one in linked:
            sys.modules.pop(one.name, None)


CASES: dict[str, tuple[dict[str, str], object]] = {
    "names that collide": (
        {
            "a": "def f():\n    return 'a'\n",
            "b": "from a import f as other\ndef f():\n    return 'b' + other()\n",
            "app": "import a\nfrom b import f\ndef main():\n    return a.f() + f()\n",
        },
        "aba",
    ),
    "a local name like another module's": (
        {
            "a": "def table(rows):\n    return [row + 1 for row in rows]\n",
            "app": "import a\ndef main():\n    table = [1]\n    return a.table(table)\n",
        },
        [2],
    ),
    "constants": (
        {
            "a": "A, B = 2, 3\nC = A * B - 10\nD = (A, 'x')\nE = 'long enough to stay'\n",
            "app": "import a\nfrom a import C as X\n"
            "def main(k=a.B):\n    C = 1\n    return k, X, C, a.D, a.E + a.E[:0], -X ** 2\n",
        },
        (3, -4, 1, (2, "x"), "long enough to stay", -16),
    ),
    "a name that is bound twice is no constant": (
        {"app": "N = 1\nN += 1\nfor K in range(3):\n    pass\ndef main():\n    return N, K\n"},
        (2, 2),
    ),
    "comprehensions, lambdas and closures": (
        {
            "a": "x = 5\ny = 'y'\n",
            "app": "from a import x, y\n"
            "def main(rows=(1, 2)):\n"
            "    add = lambda y, k=x: y + k\n"
            "    rows = [rows for rows in rows if rows]\n"
            "    def inner(y):\n"
            "        return {x: y for x in rows}\n"
            "    return [add(x) for x in rows], inner(y), [y for _ in rows], x\n",
        },
        ([6, 7], {1: "y", 2: "y"}, ["y", "y"], 5),
    ),
    "classes, their attributes and class bodies": (
        {
            "a": "size = 3\nclass Base:\n    height = size + 1\n    depth = height\n"
            "    kind = 'base'\n"
            "    def __init__(self, first, second=2):\n"
            "        self._first = first\n        self.second = second\n"
            "    def total(self):\n        return self._first + self.second + self.depth\n",
            "b": "from a import Base\nclass Base2(Base):\n    def __init__(self):\n"
            "        super().__init__(1, second=5)\n        self._own = 100\n"
            "    def total(self):\n        return super().total() + self._own\n",
            "app": "from b import Base2\ndef main():\n    one = Base2()\n    one.later = 7\n"
            "    return one.total(), one.later, getattr(one, 'kind')\n",
        },
        (110, 7, "base"),
    ),
    "attributes of the interpreter's objects": (
        {
            "app": "class Row:\n    def __init__(self):\n        self.index = 1\n"
            "    def append(self, value):\n        self.value = value\n        return self\n"
            "def main():\n    rows = []\n    rows.append(2)\n"
            "    return rows, Row().append(3).value, Row().index, rows.index(2)\n",
        },
        ([2], 3, 1, 0),
    ),
    "names given in a call": (
        {
            "a": "def f(value, *, limit, unit='W'):\n    return value, limit, unit\n",
            "app": "from a import f\ndef main():\n    return f(1, limit=2), f(value=3, limit=4)\n",
        },
        ((1, 2, "W"), (3, 4, "W")),
    ),
    "errors, conditions and texts": (
        {
            "a": "class OddError(Exception):\n    def __init__(self, what, name=''):\n"
            "        super().__init__(what)\n        self.name2 = name\n",
            "app": "from a import OddError\nTYPE_CHECKING = False\nif TYPE_CHECKING:\n"
            "    from nowhere import nothing\nelse:\n    LEVEL = 4\n"
            "try:\n    import no_such_module\nexcept ImportError as error:\n"
            "    no_such_module = None\n"
            "def main(text: 'nothing' = 'x'):\n    try:\n        raise OddError('odd', 'n')\n"
            "    except OddError as error:\n"
            "        return f'{error!r} {error.name2:>3} {{}} {LEVEL}', no_such_module\n",
        },
        ("OddError('odd')   n {} 4", None),
    ),
    "modules loaded while it runs": (
        {
            "core": "def base():\n    return 40\n",
            "below": "from core import base\ndef more():\n    return base() + 1\n",
            "rare": "import below\nfrom core import base\nKIND = 'rare'\n"
            "def work():\n    return below.more() + 1\n",
            "named": "class Judge:\n    def work(self):\n        return 'judged'\n",
            "app": "import sys\nimport core\ndef load(name):\n    return __import__(name)\n"
            "def main():\n    import rare\n    from rare import work, base as again\n"
            "    judge = load('named').Judge()\n"
            "    loaded = [sys.modules.pop(name).__name__ for name in ('rare', 'named')]\n"
            "    return rare.work(), work(), again(), rare.KIND, judge.work(), loaded\n",
        },
        (42, 42, 40, "rare", "judged", ["rare", "named"]),
    ),
    "what two of those share is a file of its own": (
        {
            "shared": "LIST = []\ndef put(x):\n    LIST.append(x)\n    return len(LIST)\n",
            "one": "from shared import put\ndef work():\n    return put('one')\n",
            "two": "import shared\ndef work():\n    return shared.put('two')\n",
            "app": "def main():\n    from one import work\n    first = work()\n"
            "    from two import work\n    return first, work()\n",
        },
        (1, 2),
    ),
    "what is not used": (
        {
            "a": "EFFECTS = []\ndef note(x):\n    EFFECTS.append(x)\n    return x\n"
            "USED = note('used')\nUNUSED = note('unused')\nDROPPED = 'dropped'\n"
            "def never():\n    return never2()\ndef never2():\n    return never()\n"
            "class Kept:\n    def __len__(self):\n        return 3\n    def gone(self):\n"
            "        return 1\n",
            "app": "import a\ndef main():\n    return a.EFFECTS, len(a.Kept())\n",
        },
        (["used", "unused"], 3),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_linked_programs_do_what_the_modules_do(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, expected = CASES[case]
    plain = tmp_path / "plain"
    plain.mkdir()
    written(plain, modules)
    assert run(tmp_path, modules, monkeypatch) == expected
    # And these modules by themselves: the test expects nothing that they do not do.
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(plain), *sys.path])
        for name in modules:
            patch.delitem(sys.modules, name, raising=False)
        main: Any = __import__("app").main
        assert main() == expected
        for name in modules:
            sys.modules.pop(name, None)


def test_what_is_not_used_is_left_out(tmp_path: Path) -> None:
    [app] = link(written(tmp_path, CASES["what is not used"][0]), short=False)
    for name in ("never", "never2", "DROPPED", "gone"):
        assert not re.search(rf"\b{name}\b", app.text), app.text


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"app": "def main(:\n"}, "app.py does not compile"),
        ({"other": "x = 1\n"}, "no app.py"),
        ({"a": "x = 1\n", "app": "import a\ndef main():\n    print(a)\n"}, "app.py:3: module a"),
        ({"a": "x = 1\n", "app": "import a\ndef main():\n    a.x = 2\n"}, "app.py:3: a.x"),
        ({"a": "x = 1\n", "app": "from a import y\n"}, "app.py:1: a has no y"),
        ({"app": "x = 1\ndef main():\n    global x\n    x = 2\n"}, "app.py:3: `global`"),
        ({"app": "from os import *\n"}, "app.py:1: import *"),
        ({"app": "x = 1\nclass A:\n    x = x\n"}, "app.py:3: x is"),
        ({"app": "import re\ndef main():\n    return re.match\n"}, "module re: its names"),
        ({"app": "import os.path\n"}, "app.py:1: import os.path"),
    ],
)
def test_what_cannot_be_linked_is_told_with_its_place(
    modules: dict[str, str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, modules)
    with pytest.raises(LinkError, match=re.escape(told)):
        link(tmp_path)
    words = ["--firmware", str(tmp_path), "--into", str(tmp_path / "out")]
    assert link_firmware.main(words) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

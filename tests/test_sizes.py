"""Nothing is too long to be read at once: functions (60 lines, 5 deep) and files (450 lines of Python, 500 of C)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastdl

PACKAGE = Path(fastdl.__file__).parent
EXT = Path(__file__).parent.parent / "ext"
LINES, DEPTH, PYTHON_FILE, C_FILE = 60, 5, 450, 500


def python_functions() -> Iterator[tuple[str, int, int]]:
    """Each function's name, lines and depth."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                yield f"{path.relative_to(PACKAGE)}: {node.name}", lines, python_depth(node)


def python_depth(node: ast.AST, depth: int = 0) -> int:
    """Statements within each other; an elif is no deeper than its if, and a function within is one of its own."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.expr):  # no statement stands in an expression
            continue
        nests = isinstance(child, ast.If | ast.For | ast.While | ast.With | ast.Try | ast.Match)
        follows = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, python_depth(child, depth + (nests and not follows)))
    return deepest


def c_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """The same for C, as it is written here: a body begins at a line's end, and ends at a brace in the first column."""
    text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.S)
    lines = text.split("\n")
    begin = None
    for number, line in enumerate(lines):
        if begin is None and re.match(r"[A-Za-z_].*\)\s*\{$", line):
            begin = number
        elif begin is not None and line.startswith("}"):
            body = lines[begin : number + 1]
            yield body[0], len(body), max(depths(body)) - 1
            begin = None


def depths(body: list[str]) -> Iterator[int]:
    depth = 0
    for letter in "\n".join(body):
        depth += (letter == "{") - (letter == "}")
        yield depth


def test_functions_of_python() -> None:
    functions = list(python_functions())
    assert len(functions) > 1500
    assert [each for each in functions if each[1] > LINES or each[2] > DEPTH] == []


def test_functions_of_c() -> None:
    if not EXT.exists():
        pytest.skip("the C sources are not here")
    functions = [each for path in EXT.rglob("*.[ch]") for each in c_functions(path.read_text(encoding="utf-8"))]
    assert len(functions) > 150
    assert [each for each in functions if each[1] > LINES or each[2] > DEPTH] == []


def test_files() -> None:
    sizes = dict.fromkeys(PACKAGE.rglob("*.py"), PYTHON_FILE) | dict.fromkeys(EXT.rglob("*.[chx]"), C_FILE)
    sizes |= dict.fromkeys(EXT.rglob("*.pyx"), C_FILE)
    counts = {path.name: path.read_text(encoding="utf-8").count("\n") for path in sizes}
    assert [(path.name, counts[path.name]) for path, most in sizes.items() if counts[path.name] > most] == []


def test_what_is_too_long_or_too_deep_is_found() -> None:
    deep = "def f():\n" + "".join("    " * (i + 1) + "if x:\n" for i in range(6)) + "    " * 7 + "pass\n"
    (function,) = ast.parse(deep).body
    assert python_depth(function) == 6
    chain = "def f():\n    if a: pass\n    elif b: pass\n    elif c: pass\n"
    assert python_depth(ast.parse(chain).body[0]) == 1
    long = "static int f(void) {\n" + "    x();\n" * 70 + "    if (a) {\n        b();\n    }\n}\n"
    assert list(c_functions(long)) == [("static int f(void) {", 75, 1)]

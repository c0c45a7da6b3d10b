"""The house: a room imports only what lies below it, and nobody reads what belongs to another class alone.

Imports count wherever they stand: at the top of a module, inside a function, or for type checking only. Where a lower
room must speak of what a higher one has, it says so by a Protocol.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fastdl

PACKAGE = Path(fastdl.__file__).parent

# Each room with those right below it; it may import them, and what they may. Files and packages that are not named in
# a room of several are rooms of their own.
BELOW = {
    "base": [],
    "compiler": ["base"],
    "ops": ["compiler"],
    "vocabulary": ["ops"],
    "layers": ["vocabulary"],
    "fusion.graph": ["base"],
    "fusion.files": ["fusion.graph"],
    "fusion.evaluator": ["fusion.graph"],
    "fusion.runtime": ["fusion.files"],
    "fusion.folds": ["fusion.evaluator"],
    "fusion.proof": ["fusion.folds", "fusion.runtime"],
    "fusion.report": ["fusion.proof"],
    "fusion": ["fusion.report"],
    "onnx": ["layers", "fusion"],
    "plots": ["base"],
    "models": ["onnx", "plots"],
    "diagnosis": ["models"],
    "callbacks": ["diagnosis"],
    "runner": ["fusion"],
    "deployment": ["runner"],
    "datasets": ["base"],
    "on top of models": ["callbacks"],
    "tabular": ["on top of models", "runner"],
    "commands": ["tabular", "datasets", "deployment"],
    "the package": ["commands"],
}
MEMBERS = {
    "base": ["base", "config", "errors", "tree", "_ext"],
    "compiler": ["compiler", "kernels"],
    "vocabulary": (
        [
            "activations",
            "constraints",
            "initializers",
            "losses",
            "metrics",
            "optimizers",
            "random",
            "regularizers",
            "schedules",
        ]
    ),
    "on top of models": ["backend", "distributed", "initialization", "pretraining", "saving", "sklearn", "utils"],
    "commands": ["cli", "commands", "__main__"],
    "the package": [""],
}
ROOM_OF = {member: room for room in BELOW for member in MEMBERS.get(room, [room])}


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    target: str  # a module

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}, imports {self.target or 'the package'}"


def name_of(path: Path, package: Path) -> str:
    """Without the package's own: "" is its __init__."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(package: Path = PACKAGE) -> list[Import]:
    """All that modules of the package import of it; a folder is read once."""
    return list(_imports(package))


def _imports(package: Path) -> Iterator[Import]:
    modules = {name_of(path, package) for path in package.rglob("*.py")} | {"_ext"}
    for path in package.rglob("*.py"):
        module = name_of(path, package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in _targets(node, module, path):
                if target is None:
                    continue
                while target and target not in modules:  # a name in a module
                    target = target.rpartition(".")[0]
                yield Import(module, node.lineno, target)


def _targets(node: ast.AST, module: str, path: Path) -> Iterable[str | None]:
    if isinstance(node, ast.Import):
        return [_within(alias.name) for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    start = node.module or ""
    if node.level:
        parts = ["fastdl", *filter(None, module.split("."))]
        parts = parts[: len(parts) - node.level + (path.name == "__init__.py")]
        start = ".".join([*parts, start]).rstrip(".")
    return [_within(f"{start}.{alias.name}") for alias in node.names]


def _within(name: str) -> str | None:
    first, _, rest = name.partition(".")
    return rest if first == "fastdl" else None


def room_of(module: str) -> str:
    """KeyError for a module that stands in no room."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (room := ROOM_OF.get(".".join(parts[:length]))) is not None:
            return room
    raise KeyError(f"{module} stands in no room: see BELOW and MEMBERS")


def reachable(room: str) -> set[str]:
    return {room}.union(*(reachable(below) for below in BELOW[room]))


def arrows_up(found: Iterable[Import]) -> list[str]:
    return [
        f"{each}: {room_of(each.module)} lies below {room_of(each.target)}, or beside it"
        for each in found
        if room_of(each.target) not in reachable(room_of(each.module))
    ]


def circle(found: Iterable[Import]) -> list[str]:
    """Modules of which each imports the next, and the last the first; empty if there is no such circle."""
    graph: dict[str, set[str]] = {}
    for each in found:
        if each.module != "":  # the package's own names are loaded when they are first used
            graph.setdefault(each.module, set()).add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])[::-1]
    return []


def test_no_arrow_runs_up() -> None:
    assert arrows_up(imports()) == []


def test_there_is_no_circle() -> None:
    assert circle(imports()) == []


def test_all_imports_are_counted() -> None:
    found = imports()
    modules = {name_of(path, PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert len(found) > 800
    assert (
        modules - {each.module for each in found}
        <= {name for name in modules if (PACKAGE / name.replace(".", "/")).is_dir() or name.startswith("base.")}
        | {"config"}
        | modules_without_imports()
    )


def modules_without_imports() -> set[str]:
    """Those that say nothing of fastdl."""
    return {name_of(path, PACKAGE) for path in PACKAGE.rglob("*.py") if "import fastdl" not in path.read_text()
            and "from fastdl" not in path.read_text()}  # fmt: skip


@pytest.mark.parametrize(
    "where",
    [
        "from fastdl.models.model import Model",
        "def f():\n    from fastdl.models import Model",
        "if TYPE_CHECKING:\n    from fastdl.models.model import Model",
        "class C:\n    def m(self):\n        if True:\n            import fastdl.models.model",
        "from ..models.model import Model",
        "from .. import models",
    ],
)
def test_an_arrow_that_is_added_is_found(tmp_path: Path, where: str) -> None:
    for name, text in {"ops/op.py": f"\n\n{where}\n", "models/model.py": "", "models/__init__.py": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (arrow,) = arrows_up(imports(tmp_path))
    assert "ops.op, line " in arrow
    assert "imports models" in arrow


def test_a_circle_that_is_added_is_found(tmp_path: Path) -> None:
    texts = {"a": "import fastdl.ops.b", "b": "def f():\n    from fastdl.ops import c", "c": "from .a import x"}
    (tmp_path / "ops").mkdir()
    for name, text in texts.items():
        (tmp_path / f"ops/{name}.py").write_text(text)
    assert {*circle(imports(tmp_path))} == {"ops.a", "ops.b", "ops.c"}


# -- private members --------------------------------------------------------------------------------------


def private_reads(text: str) -> list[tuple[int, str]]:
    """Lines that read a private member of an object whose class does not stand in the same module."""
    nodes = list(ast.walk(ast.parse(text)))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and _is_self(node.value) and isinstance(node.ctx, ast.Store)
    }
    own |= {
        target.id
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for each in node.body
        for target in _assigned(each)
    }
    return [
        (node.lineno, node.attr)
        for node in nodes
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if not _is_self(node.value) and node.attr not in own
    ]


def _assigned(node: ast.stmt) -> list[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name)]


def _is_self(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


ALLOWED = {("errors", "_getframe")}  # of the standard library: there is no other way to warn in a caller's name


def test_nobody_reads_private_members_of_others() -> None:
    found = [
        f"{name_of(path, PACKAGE)}, line {line}: {name}"
        for path in PACKAGE.rglob("*.py")
        for line, name in private_reads(path.read_text(encoding="utf-8"))
        if (name_of(path, PACKAGE), name) not in ALLOWED
    ]
    assert found == []


def test_a_private_read_that_is_added_is_found() -> None:
    text = """
    class Own:
        def __init__(self, model):
            self._mine = model._lock
        def same(self, other):
            return other._mine
    """
    assert private_reads(textwrap.dedent(text)) == [(4, "_lock")]

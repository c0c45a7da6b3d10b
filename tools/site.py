"""Hooks of `mkdocs build --strict`: the pages that do not stand in docs/, and links that lead out of it.

The front page is README.md, the changelog CHANGELOG.md; the API reference is made of the docstrings of fastdl, which
must be installed. What pages link to beside them (an example, the diffs of adding.md) becomes part of the site.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(```\w+) (.*)$", re.MULTILINE)  # "```python dask search": a name that tests know a block by
LINKS = {  # of pages that stand beside docs/, and of those that link there
    "](docs/": "](",
    "](CHANGELOG.md": "](changelog.md",
    "](CONTRIBUTING.md": "](contributing.md",
    "](../examples/": "](scripts/",
    "](additions/)": "](additions.md)",
}
ADDITION = re.compile(r"\]\(additions/(\w+)\.diff\)")
MODULES = (
    *("", "models", "layers", "ops", "activations", "initializers", "regularizers", "constraints", "losses", "metrics"),
    *("optimizers", "schedules", "callbacks", "random", "datasets", "utils", "saving", "tree", "config", "errors"),
    *("tabular", "sklearn", "pretraining", "plots", "fusion", "deployment", "distributed", "kernels", "backend"),
)
# what a module defines for others of its room, where it has no __all__ that would tell
HELPERS = {
    "activations": {"Either", "not_negative", "of_arrays"},
    "kernels": {"checked"},
    "losses": {"as_kind"},
    "metrics": {"MeanOverSamples", "elementwise", "last_axis", "predictions", "share"},
    "optimizers": {"Options", "fraction", "positive"},
    "schedules": {"number_or_schedule", "told"},
    "config": {"bfloat16_products", "float32_products", "mixes_products", "policy_of_files"},
}


# -- what is public ---------------------------------------------------------------------------------------


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"fastdl.{name}" if name else "fastdl")


def public(name: str) -> dict[str, Any]:
    """The classes and functions that people call, of one of MODULES: what __all__ names, else what its room defines."""
    module = module_of(name)
    names = getattr(module, "__all__", None)
    if name == "ops":  # of which the rest is what layers and the compiler are made of
        names = [*module.functions.__all__, *module.numeric.__all__]
    elif names is None:
        # losses have functions beside those that stand in their room; `serialize` comes from a lower one
        handed_on = {"serialize", *handed_on_by(module)}
        room = [key for key, value in vars(module).items() if key in handed_on or stands_in(value, module.__name__)]
        names = [each for each in dict.fromkeys((*room, *getattr(module, "FUNCTIONS", {}))) if not each.startswith("_")]
    found = {each: getattr(module, each) for each in names if each not in HELPERS.get(name, ())}
    return {each: value for each, value in found.items() if callable(value)}


def stands_in(value: Any, room: str) -> bool:
    return callable(value) and f"{getattr(value, '__module__', '')}.".startswith(f"{room}.")


def handed_on_by(module: ModuleType) -> Iterator[str]:
    """Names that it imports for others, as type checkers tell them: `from … import name as name`."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom):
            yield from (each.name for each in node.names if each.asname == each.name)


def methods(kind: type) -> dict[str, Any]:
    """Documented methods and properties that a class defines, or takes from bases that nobody is told of."""
    told_elsewhere = {each for base in kind.__mro__[1:] if base.__name__ in BASES for each in base.__mro__}
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if base in told_elsewhere or not base.__module__.startswith("fastdl"):
            continue
        for name, value in vars(base).items():
            is_method = isinstance(value, property) or inspect.isfunction(getattr(value, "__func__", value))
            if is_method and not name.startswith("_") and value.__doc__:
                found.setdefault(name, value)
    return found


BASES = {"Layer", "Model", "Loss", "Metric", "Optimizer", "Callback", "Initializer", "Regularizer", "Constraint"}


# -- the API reference ------------------------------------------------------------------------------------


def reference(name: str) -> str:
    """A module's page."""
    title = f"fastdl.{name}" if name else "fastdl"
    entries = public(name)
    listed = " · ".join(f"[`{each}`](#{anchor(each)})" for each in entries)
    parts = [f"# `{title}`", text_of(module_of(name)), listed]
    for each, value in entries.items():
        parts += [entry(each, value)]
    return "\n\n".join(parts) + "\n"


def entry(name: str, value: Any) -> str:
    parts = [f"## `{name}` {{ #{anchor(name)} }}", signature(name, value), text_of(value)]
    if inspect.isclass(value):
        for each, method in methods(value).items():
            parts += [f"#### `{name}.{each}` {{ #{anchor(name)}.{each} }}"]
            parts += [] if isinstance(method, property) else [signature(each, getattr(method, "__func__", method))]
            parts += [text_of(method)]
    return "\n\n".join(parts)


def anchor(name: str) -> str:
    """Classes and functions may differ by capitals alone, which some servers of pages and readers do not tell apart."""
    return name if name.islower() else f"class-{name}"


def signature(name: str, value: Callable[..., Any]) -> str:
    """As code; an argument a line where it is long. Empty for what has none to tell."""
    try:
        told = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    arguments, star = [], False
    for each in told.parameters.values():
        if each.name == "self":
            continue
        if each.kind is each.KEYWORD_ONLY and not star:
            arguments.append("*")
        star |= each.kind in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        arguments.append(argument(each))
    line = f"{name}({', '.join(arguments)})"
    if len(line) > 88:
        line = f"{name}(\n" + "".join(f"    {each},\n" for each in arguments) + ")"
    return f"```python\n{line}\n```"


def argument(told: inspect.Parameter) -> str:
    star = {told.VAR_POSITIONAL: "*", told.VAR_KEYWORD: "**"}.get(told.kind, "")
    kind = told.annotation if isinstance(told.annotation, str) else getattr(told.annotation, "__name__", "")
    shown = f"{star}{told.name}" + ("" if kind in ("Any", "_empty") or star else f": {kind}")
    if told.default is told.empty:
        return shown
    default = getattr(told.default, "__name__", None) or re.sub(r" at 0x\w+", "", repr(told.default))
    return f"{shown} = {default}" if ": " in shown else f"{shown}={default}"


def text_of(value: Any) -> str:
    """A docstring as Markdown: `name: …` at the start of a line begins an item, a block that is indented is code."""
    blocks = []
    for block in re.split(r"\n\s*\n", inspect.getdoc(value) or ""):
        if block.startswith("    "):
            blocks.append(f"```python\n{inspect.cleandoc(chr(10) + block)}\n```")
        else:
            items = re.sub(r"^(\w+(?:, \w+)*): ", r"\n- `\1`: ", block, flags=re.MULTILINE)
            blocks.append(re.sub(r"(`[^`]*`)|([*_<\[])", lambda found: found[1] or "\\" + found[2], items))
    return "\n\n".join(blocks)


# -- hooks of mkdocs --------------------------------------------------------------------------------------


def pages() -> Iterator[tuple[str, str]]:
    """Files of the site that do not stand in docs/: where, and their text."""
    for name, source in (("index", "README"), ("changelog", "CHANGELOG"), ("contributing", "CONTRIBUTING")):
        yield f"{name}.md", (ROOT / f"{source}.md").read_text(encoding="utf-8")
    for name in MODULES:
        yield f"api/{name or 'fastdl'}.md", reference(name)
    examples = ROOT / "examples"
    for script in sorted([*examples.iterdir(), *examples.glob("browser/*.js")]):
        if script.is_file():
            yield f"scripts/{script.relative_to(examples)}", script.read_text(encoding="utf-8")
    diffs = sorted((ROOT / "docs/additions").glob("*.diff"))
    shown = [f"## {each.stem}\n\n```diff\n{each.read_text(encoding='utf-8')}```\n" for each in diffs]
    yield "additions.md", "# Additions, as diffs that a test applies\n\n" + "\n".join(shown)


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for place, text in pages():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    for old, new in LINKS.items():
        markdown = markdown.replace(old, new)
    if page.file.src_uri.startswith("from_"):  # two columns of code, which want room, and names above them
        page.meta["hide"] = ["toc"]
        markdown = markdown.replace("```python\n", "```python fastdl\n")
    return FENCE.sub(r'\1 title="\2"', ADDITION.sub(r"](additions.md#\1)", markdown))

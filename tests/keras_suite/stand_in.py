"""A tree of modules named as Keras's whose names are fastdl's, looked up when they are used.

Which modules there are is what the installed wheel has as files. A name is sought where Keras has it in public
(`keras.src.losses.loss.Loss` in `fastdl.losses`), then at the same place in fastdl; then it is one that the harness has
for tests to be written with (`testing`, `ops` on arrays, `backend.convert_to_numpy`), else a Missing one.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_suite.missing import Elsewhere, Missing

ELSEWHERE = {  # other public homes
    "trainers": ("utils", "models"),
    "backend": ("config",),
    "dtype_policies": ("config",),
    "layers": ("utils",),
}
NOT_INSTALLED = "tensorflow", "jax", "torch", "grain", "flax", "orbax"


class Names:
    """Which object a name of Keras's stands for. tools: the harness's own, by Keras's path without `keras.src.`."""

    def __init__(self, wheel: Path, first: Mapping[str, Any], tools: Mapping[str, Any]) -> None:
        self.wheel, self.first, self.tools = wheel, first, tools

    def is_module(self, path: Sequence[str]) -> bool:
        """Whether Keras has a file or a folder of that path; `path` begins with keras."""
        file = self.wheel.parent.joinpath(*path)
        return file.is_dir() or file.with_suffix(".py").is_file()

    def find(self, path: Sequence[str], name: str) -> Any:
        """What `path.name` stands for; `path` without keras and src."""
        dotted = ".".join([*path, name])
        keys = dotted, f"{path[0]}.{name}" if path else name
        for key in keys:
            if key in self.first:
                return self.first[key]
        homes = [[area, *path[1:]] for area in (path[0], *ELSEWHERE.get(path[0], ()))] if path else [[]]
        for home in homes:
            for length in range(min(1, len(home)), len(home) + 1):
                found = _public(home[:length], name)
                if found is not None:
                    return found
        for key in keys:
            if key in self.tools:
                return self.tools[key]
        if path and path[0] in self.tools and callable(self.tools[path[0]]):
            return self.tools[path[0]](name)
        return Missing(dotted)


def _public(path: Sequence[str], name: str) -> Any:
    """fastdl's object of that name in its module of that path; None if there is none, or it is but a module."""
    found: Any = importlib.import_module("fastdl")
    for part in [*path, name]:
        try:
            found = getattr(found, part)
        except AttributeError:
            if not isinstance(found, ModuleType):
                return None
            try:
                found = importlib.import_module(f"{found.__name__}.{part}")
            except ImportError:
                return None
    return None if isinstance(found, ModuleType) else found


class StandIn(ModuleType):
    """A module of Keras's."""

    names: Names

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        path = self.__name__.split(".")
        if self.names.is_module([*path, name]):
            return importlib.import_module(f"{self.__name__}.{name}")
        return self.names.find(path[2 if path[1:2] == ["src"] else 1 :], name)


class Absent(ModuleType):
    """A module that is not installed, or that fastdl has no part of."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Elsewhere(f"{self.__name__}.{name}")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the modules of Keras's tree when they are imported, and others that are not there."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        top = name.partition(".")[0]
        if top != "keras" and top not in NOT_INSTALLED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        if not spec.name.startswith("keras"):
            return Absent(spec.name)
        module = StandIn(spec.name)
        module.names = self.names
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: names are looked up when they are used."""


def install(names: Names) -> None:
    """From now on `import keras` gives the stand-in, in this process."""
    sys.meta_path.insert(0, Finder(names))

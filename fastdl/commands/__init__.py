"""What `fastdl` can be told to do: a module a command, with `arguments`, `run`, and what it does in its first line.

Modules that begin with _ are what commands share, or are made of.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast


class Command(Protocol):
    __doc__: str | None

    def arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, options: argparse.Namespace) -> None: ...


COMMANDS = {
    module.name: cast(Command, import_module(f"{__name__}.{module.name}"))
    for module in iter_modules(__path__)
    if not module.name.startswith("_")
}

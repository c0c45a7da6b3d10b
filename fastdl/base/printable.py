"""Reports: dataclasses that print as tables, and come as plain data and as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

from fastdl.base.files import write_atomically
from fastdl.base.text import InNotebooks, rendered


class Printable(InNotebooks):
    """What every report can do: it prints as tables, comes as plain data, and goes as JSON. For dataclasses."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists, strings and numbers."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON to `path`, whole or not at all."""
        write_atomically(path, f"{self.to_json()}\n".encode())

    def __str__(self) -> str:
        return rendered(self)  # type: ignore[arg-type]

"""The blocks of docs/beyond.md that need an engine: they are run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/beyond.md"
BLOCKS = dict(
    re.findall(r"^```python (\w[^\n]*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)


def run(name: str, **names: Any) -> dict[str, Any]:
    """All that the block defines, from the names it is given."""
    exec(compile(BLOCKS[name], f"beyond.md: {name}", "exec"), names)
    return names

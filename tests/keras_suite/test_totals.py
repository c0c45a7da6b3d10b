"""What docs/keras.md says of Keras's own tests is what totals.json holds, which CI measures anew."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "keras.md"


def test_the_page_has_the_totals() -> None:
    if not PAGE.exists():
        pytest.skip("docs/ is not here")
    areas = json.loads((HERE / "totals.json").read_text(encoding="utf-8"))["areas"]
    page = PAGE.read_text(encoding="utf-8")
    told = re.findall(r"^\| \**([a-z]+)\** \| \**([\d,]+)\** \| \**([\d,]+)\** \|$", page, re.M)
    sums = [sum(area[key] for area in areas.values()) for key in ("in_scope", "passed")]
    wanted = [(name, area["in_scope"], area["passed"]) for name, area in areas.items()] + [("all", *sums)]
    assert [(name, *(int(each.replace(",", "")) for each in counts)) for name, *counts in told] == wanted

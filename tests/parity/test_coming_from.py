"""docs/from_*.md: what stands beside the blocks of fastdl (see tests/test_docs.py) runs in the library it is of."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fastdl

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python (keras|torch|sklearn)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("from_*.md"))}
BLOCKS = {
    f"{page} {number}": found.groups()
    for page, text in TEXTS.items()
    for number, found in enumerate(BLOCK.finditer(text))
}
CSV = "since,plan,visits,spent,churn\n" + "2023-01-05,gold,3,,no\n2023-02-06,free,1,7.5,yes\n" * 20

pytestmark = [pytest.mark.peer, pytest.mark.usefixtures("one_torch_thread")]


@pytest.mark.parametrize("place", BLOCKS)
def test_the_other_column_runs(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, block = BLOCKS[place]
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    Path("churn.csv").write_text(CSV, encoding="utf-8")
    (x, y), _ = fastdl.datasets.digits()
    exec(compile(block, place, "exec"), {"x": (x[:300] / np.float32(16)).astype(np.float32), "y": y[:300]})


def test_keras_columns_differ_in_their_imports_alone() -> None:
    pairs = re.findall(r"^```python keras\n(.*?)^```\s*```python\n(.*?)^```", TEXTS["from_keras"], re.M | re.S)
    assert len(pairs) == 3
    for theirs, ours in pairs:
        changed = theirs.replace("import keras\n", "import fastdl as keras\n").replace("from keras ", "from fastdl ")
        assert ours.startswith(changed)


def test_each_page_has_both() -> None:
    assert len(TEXTS) == 3
    assert all(len(BLOCK.findall(text)) >= 3 for text in TEXTS.values())

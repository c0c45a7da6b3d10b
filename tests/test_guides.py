"""Scripts as Keras's users write them, guide by guide: each runs with no line changed but the import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDES = {path.stem: path for path in sorted((Path(__file__).parent / "guides").glob("*.py"))}


def run(name: str, package: str, ending: str) -> None:
    text = GUIDES[name].read_text(encoding="utf-8")
    if package != "keras":
        text, imports = re.subn(r"^import keras$", f"import {package} as keras", text, flags=re.M)
        assert imports == 1
        text = re.sub(r"^from keras import", f"from {package} import", text, flags=re.M)
    exec(compile(text, str(GUIDES[name]), "exec"), {"__name__": f"guide_{name}", "ENDING": ending})


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_runs_with_the_import_line_changed(name: str) -> None:
    run(name, "fastdl", ".fastdl")


@pytest.mark.peer
@pytest.mark.parametrize("name", GUIDES)
def test_it_is_one_that_keras_runs(name: str) -> None:
    pytest.importorskip("keras")
    run(name, "keras", ".keras")


def test_there_are_enough() -> None:
    assert len(GUIDES) >= 12

"""The documentation site: every public name says what it is, and the API reference has a page for all of them."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fastdl

ROOT = Path(__file__).parent.parent


def load_tool() -> Any:
    spec = importlib.util.spec_from_file_location("site_of_docs", ROOT / "tools/site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site = load_tool()
NEEDS = {"sklearn": "sklearn", "tabular": "sklearn"}


@pytest.mark.parametrize("name", site.MODULES)
def test_every_public_name_has_a_docstring(name: str) -> None:
    pytest.importorskip(NEEDS.get(name, "numpy"))
    names = site.public(name)
    assert names
    assert site.module_of(name).__doc__
    assert [each for each, value in names.items() if not (value.__doc__ or "").strip()] == []
    assert [each for each, value in names.items() if not inspect.getdoc(value)] == []


def test_every_public_module_has_a_page() -> None:
    modules = {name for name in fastdl.__all__ if inspect.ismodule(getattr(fastdl, name))}
    assert modules - {*site.MODULES} == {"onnx"}  # which has no names of its own
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {*re.findall(r"api/(\w+)\.md", navigation)} == {name or "fastdl" for name in site.MODULES}


def test_what_is_left_out_is_there() -> None:
    for name, helpers in site.HELPERS.items():
        assert [each for each in helpers if not hasattr(site.module_of(name), each)] == []


def test_keras_names_are_public() -> None:
    for name, some in {
        "callbacks": {"Callback", "CallbackList", "EarlyStopping", "History"},
        "losses": {"Loss", "Huber", "mean_squared_error", "get", "serialize"},
        "metrics": {"Mean", "Metric", "AUC", "categorical_accuracy", "pearson_correlation"},
        "random": {"SeedGenerator", "uniform"},
        "ops": {"matmul", "relu"},
    }.items():
        assert some - site.public(name).keys() == set()


def test_a_page_of_the_reference() -> None:
    page = site.reference("layers")
    assert "## `Dense` { #class-Dense }" in page
    assert "    units: int,\n    activation: ActivationLike = None," in page
    assert "#### `BatchNormalization.build`" not in page  # as Layer's
    assert "#### `Layer.add_weight`" in page


def test_docstrings_become_markdown() -> None:
    def told(kernel: Any) -> None:
        """Sums [a, b] * x of `a*b`.

        kernel: of the_layer
        as it is. axis, name: more.

            told(kernel=1)
        """

    assert site.text_of(told).split("\n\n") == [
        r"Sums \[a, b] \* x of `a*b`.",
        "\n- `kernel`: of the\\_layer\nas it is. axis, name: more.",
        "```python\ntold(kernel=1)\n```",
    ]


def test_links_lead_to_pages_of_the_site() -> None:
    text = "[a](docs/own.md) [b](../examples/service.py) [c](additions/op.diff) [d](CHANGELOG.md)\n"
    assert changed("index.md", text) == "[a](own.md) [b](scripts/service.py) [c](additions.md#op) [d](changelog.md)\n"


def test_blocks_have_their_names_as_titles() -> None:
    assert changed("beyond.md", "```python dask search\n```\n") == '```python title="dask search"\n```\n'
    assert changed("beyond.md", "```python\n```\n") == "```python\n```\n"
    assert changed("from_keras.md", "```python\n```\n") == '```python title="fastdl"\n```\n'


def changed(place: str, text: str) -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place), meta={})
    return site.on_page_markdown(text, page, None, None)

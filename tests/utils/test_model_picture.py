"""plot_model: every layer has its box, every use an arrow, and the file is whole SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import fastdl
from fastdl import layers, ops

SVG = "{http://www.w3.org/2000/svg}"


class Own(fastdl.Model):
    """Ops between layers, which are no boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(4, name="first"), layers.Dense(2, name="second")

    def call(self, x):
        return self.second(ops.relu(self.first(x)) * 2.0)


def branched() -> fastdl.Model:
    left, right = layers.Input((3,), name="left"), layers.Input((3,), name="<right> & co")
    shared = layers.Dense(4, "relu", name="shared")
    both = layers.Concatenate(name="both")([shared(left), shared(right)])
    return fastdl.Model([left, right], layers.Dense(1, name="out")(both) + 1.0)


def own() -> fastdl.Model:
    model = Own()
    model.build((None, 3))
    return model


# name: (the model, words in boxes, boxes, arrows)
MODELS = {
    "a stack": (
        lambda: fastdl.Sequential([layers.Input((3,)), layers.Dense(2, name="a"), layers.Dense(1, name="b")]),
        ["a", "b", "Dense", "input"],
        3,
        2,
    ),
    "branches": (branched, ["left", "<right> & co", "shared", "both", "out", "Operation"], 7, 6),
    "ops between layers": (own, ["first", "second"], 3, 2),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_drawn(name: str, tmp_path: Path) -> None:
    make, words, boxes, arrows = MODELS[name]
    page = ElementTree.parse(fastdl.utils.plot_model(make(), tmp_path / "model.svg", show_shapes=True)).getroot()
    texts = [each.text for each in page.iter(f"{SVG}text")]
    assert set(words) <= set(texts)
    assert len(list(page.iter(f"{SVG}rect"))) == boxes + 1  # and the paper
    assert len([each for each in page.iter(f"{SVG}path") if "C" in each.get("d", "")]) == arrows


def test_what_is_drawn_can_be_chosen(tmp_path: Path) -> None:
    model = fastdl.Sequential([layers.Input((3,)), layers.Dense(2, "tanh", name="a")])
    options = {"show_layer_activations": True, "show_dtype": True, "show_trainable": True, "show_layer_names": False}
    page = ElementTree.parse(fastdl.utils.plot_model(model, tmp_path / "model.svg", **options)).getroot()
    texts = [each.text for each in page.iter(f"{SVG}text")]
    assert texts[2:] == ["Dense", "tanh", "float32", "trainable"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.svg"):
        fastdl.utils.plot_model(own(), tmp_path / "model.png")

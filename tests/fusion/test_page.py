"""The page: well-formed, self-contained, right in what it draws, and safe from the names in a file."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from fastdl.fusion import fuse, page
from fastdl.fusion.report.picture import BOX, HEIGHT, MOST, svg

from .graphs import Sketch

XHTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"


def branched(name=""):
    """BN first, two branches, a skip that spans layers, BN after the sum; `name` on a node that stays."""
    g = Sketch()
    g.batch_norm("x", "n", 8)
    g.dense("n", "a", 8, 8)
    g.batch_norm("a", "a2", 8)
    g.node("Relu", ["a2"], "a3")
    g.dense("n", "b", 8, 8, "matmul + vector")
    g.node("Tanh", ["b"], "b2", **({"name": name} if name else {}))
    g.node("Add", ["a3", "b2"], "s")
    g.batch_norm("s", "t", 8)
    g.dense("t", "c", 8, 8)
    g.node("Relu", ["c"], "r")
    g.node("Concat", ["r", "s"], "y", axis=1)
    return g.model({"x": ["N", 8]}, {"y": ["N", 16]})


def drawn(model, **more):
    fused, report = fuse(model, **more)
    return page(model, fused, report, "m.onnx"), fused, report


def graphs(text):
    root = ElementTree.fromstring(text.replace("<!DOCTYPE html>", ""))
    return root, list(root.iter(f"{XHTML}figure"))


@pytest.fixture(scope="module")
def whole():
    return drawn(branched())


def test_it_is_well_formed_and_loads_nothing(whole):
    text, _, _ = whole
    root, _ = graphs(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "use", "image", "a"} & {
        element.tag.rpartition("}")[2] for element in root.iter()
    }
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/)", text)
    assert all(not key.lower().startswith("on") for element in root.iter() for key in element.keys())  # noqa: SIM118
    assert "default-src 'none'" in text


def boxes(figure):
    """Titles and rectangles of what is drawn."""
    found = []
    for group in figure.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        place = [float(rect.get(key)) for key in ("x", "y")]
        found.append((group.find(f"{SVG}text").text, group.get("class"), place))
    return found


def test_both_graphs_are_drawn_node_by_node(whole):
    text, fused, _ = whole
    _, (before, after, _) = graphs(text)
    for figure, model in ((before, branched()), (after, fused)):
        names = sorted([node.op_type for node in model.graph.node] + ["x", "y"])
        assert sorted(title for title, _, _ in boxes(figure)) == names
    gone = [title for title, kind, _ in boxes(before) if "gone" in kind]
    assert sorted(gone) == ["Add", "BatchNormalization", "BatchNormalization", "BatchNormalization"]
    assert not [kind for _, kind, _ in boxes(after) if "gone" in kind]


def test_boxes_do_not_overlap_and_edges_lead_down(whole):
    _, figures = graphs(whole[0])
    for figure in figures[:2]:
        places = [place for _, _, place in boxes(figure)]
        for i, (x, y) in enumerate(places):
            for u, v in places[:i]:
                assert abs(x - u) >= BOX or abs(y - v) >= HEIGHT
        for path in figure.iter(f"{SVG}path"):
            numbers = [float(n) for n in re.findall(r"-?\d+", path.get("d"))]
            assert numbers[1] < numbers[7]


def test_all_that_the_report_says_is_there(whole):
    text, _, report = whole
    words = " ".join(ElementTree.fromstring(text.replace("<!DOCTYPE html>", "")).itertext())
    for fold in report.folds:
        assert fold.node in words
        assert fold.into in words
    for part in (
        "Proven",
        f"{report.max_rel_error:.2e}",
        f"{report.parameters_after:,}",
        "batch 1024",
        "rows a second",
    ):
        assert part in words
    assert "labels that differ" in words


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></svg></style><script>alert(1)</script>",
    "]]><!--",
    "&lt;script&gt;",
    "\x00\x01\x1b[31m",
    "\u202egnp.exe\u2066",
    "\uffff\ufffe\U0010ffff",
    "a" * 5000,
    "\U0001f600 ünï",
]


class Reader(HTMLParser):
    """What a browser would make of the page: elements and attributes."""

    def __init__(self, text):
        super().__init__()
        self.seen = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.seen |= {f"@{name}" for name, _ in attrs}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_the_file_are_only_ever_text(name, whole):
    g = Sketch()
    g.node("BatchNormalization", [name + "in", *_parameters(g)], "n", name=name + "bn")
    g.dense("n", "d", 4, 4)
    g.node("Relu", ["d"], name + "out", name=name)
    g.node("Relu", ["d"], "z", name=name + "refused")
    model = g.model({name + "in": ["N", 4]}, {name + "out": ["N", 4], "z": ["N", 4]})
    model.graph.node[1].name = name + "gemm"
    fused, report = fuse(model, measure=False, verify=False)
    report.folds[0] = type(report.folds[0])(name, name, name)
    text = page(model, fused, report, title=name)
    assert Reader(text).seen <= Reader(whole[0]).seen
    graphs(text)
    assert not {c for c in text if ord(c) < 32 and c != "\n"} | ({"\u202e", "\u2066"} & set(text))


def _parameters(g):
    return [g.vector("gamma", 4), g.vector("beta", 4), g.vector("mean", 4), g.const("var", np.ones(4))]


def test_nothing_folded_and_not_verified_are_said():
    g = Sketch()
    g.node("Relu", ["x"], "y")
    text, _, _ = drawn(g.model({"x": ["N", 4]}, {"y": ["N", 4]}))
    assert "Nothing was folded" in text
    text, _, _ = drawn(branched(), verify=False, measure=False)
    assert "not verified" in text


def test_of_a_large_graph_the_beginning_is_drawn():
    g = Sketch()
    for i in range(MOST + 50):
        g.node("Relu", [f"v{i - 1}" if i else "x"], f"v{i}")
    model = g.model({"x": ["N", 4]}, {f"v{MOST + 49}": ["N", 4]})
    picture = svg(model, {}, (), "large")
    assert picture.count("<g ") == MOST + 1
    assert "and 50 nodes more" in picture

"""The demo's picture: well-formed, its marks where its numbers are."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from fastdl.commands import _picture as _svg

SVG = "{http://www.w3.org/2000/svg}"


def test_it_is_one_document_and_escapes_what_it_is_given() -> None:
    text = _svg.picture(
        [
            _svg.curves("a < b", [2, 1], [3, 2], 2),
            _svg.shares("c & d", {"<x>": _svg.Share(0.5, "2 → 1", (0.4, 1.2)), "y": _svg.Share(1, "1 → 1")}),
        ]
    )
    root = ElementTree.fromstring(text)
    words = {each.text for each in root.iter(f"{SVG}text")}
    assert {"a < b", "c & d", "<x>", "2 → 1", "best: epoch 2, kept"} <= words


def test_points_lie_in_the_panel_in_the_order_of_their_values() -> None:
    values = [0.9, 0.5, 0.7, 0.2]
    panel = ElementTree.fromstring(_svg.picture([_svg.curves("", values, values, 4, test=0.3)]))
    line = next(panel.iter(f"{SVG}polyline")).attrib["points"]
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    heights = {value: -y for value, (_, y) in zip(values, points, strict=True)}
    assert sorted(values) == sorted(values, key=heights.__getitem__)
    assert all(0 < x < _svg.WIDTH and 0 < y < _svg.HEIGHT for x, y in points)


@pytest.mark.parametrize(
    "values", [[1.0], [0.0, 0.0], [1.0, 1.0, 1.0], [0.99, 1.0], [1e-9, 1e9], [math.nan, 1.0], [math.inf, math.nan]]
)
def test_odd_curves_are_drawn(values: list[float]) -> None:
    text = _svg.picture([_svg.curves("", values, values, 1, most=1.0)])
    ElementTree.fromstring(text)
    assert not re.search(r'"-?(nan|inf)', text)


FLAT = [([1.0, 1.0], 0.9, 1.0), ([0.98, 0.99], 0.9, 1.0), ([0.2, 0.9], 0.2, 1.0)]


@pytest.mark.parametrize(("values", "low", "high"), FLAT)
def test_a_flat_curve_stays_flat(values: list[float], low: float, high: float) -> None:
    """The axis holds at least a tenth of what is drawn, and no accuracy above 1."""
    least, most, ticks = _svg._scale(values, 1.0)
    assert least <= low + 1e-9
    assert most == pytest.approx(high)
    assert 2 <= len(ticks) <= 8

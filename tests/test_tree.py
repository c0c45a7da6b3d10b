"""fastdl.tree: what Keras's tree does with structures, beside Keras where that is installed."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import pytest

from fastdl import tree

Pair = namedtuple("Pair", ["first", "second"])
STRUCTURES: dict[str, tuple[Any, list[Any]]] = {
    "a leaf": (3, [3]),
    "None": (None, [None]),
    "a list": ([1, 2], [1, 2]),
    "a tuple of one": ((1,), [1]),
    "a named tuple": (Pair(1, [2, 3]), [1, 2, 3]),
    "keys out of order": ({"b": 1, "a": (3, 2)}, [3, 2, 1]),
    "an ordered dict": (OrderedDict([("a", (1, None)), ("b", 2)]), [1, None, 2]),
    "numbers as keys": ({2: "x", 1: "y"}, ["y", "x"]),
    "empty ones": ([[], {}, 1], [1]),
}
structures = pytest.mark.parametrize("name", STRUCTURES)


@structures
def test_leaves_and_back(name: str) -> None:
    structure, leaves = STRUCTURES[name]
    assert tree.flatten(structure) == leaves
    assert [leaf for _, leaf in tree.flatten_with_path(structure)] == leaves
    again = tree.pack_sequence_as(structure, leaves)
    assert again == structure
    assert type(again) is type(structure)
    if isinstance(structure, dict):
        assert list(again) == list(structure)
    assert tree.flatten(tree.map_structure(lambda leaf: (repr(leaf), leaf)[0], structure)) == list(map(repr, leaves))
    for path, leaf in tree.flatten_with_path(structure):
        found = structure
        for key in path:
            found = found[key]
        assert found is leaf


@pytest.mark.peer
@structures
def test_as_keras(name: str) -> None:
    keras = pytest.importorskip("keras")
    structure, leaves = STRUCTURES[name]
    assert keras.tree.flatten(structure) == leaves
    assert keras.tree.map_structure(str, structure) == tree.map_structure(str, structure)
    assert keras.tree.lists_to_tuples(structure) == tree.lists_to_tuples(structure)


def test_of_several_structures() -> None:
    assert tree.map_structure(lambda a, b: a + b, {"x": [1, 2]}, {"x": [10, 20]}) == {"x": [11, 22]}
    assert tree.map_structure_up_to([0, {"a": 0}], len, [[1, 2], {"a": (3,)}]) == [2, {"a": 1}]
    assert tree.lists_to_tuples([1, {"a": [2]}]) == (1, {"a": (2,)})
    assert tree.traverse(lambda part: sum(part) if isinstance(part, list) else None, {"a": [1, 2], "b": 3}) == {
        "a": 3,
        "b": 3,
    }
    tree.assert_same_structure({"a": 1, "b": (2,)}, {"b": (3,), "a": 4})
    tree.assert_same_paths([1, (2,)], (1, [2]))


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "a list and a tuple": ([1], (1,)),
    "lengths": ([1, 2], [1]),
    "keys": ({"a": 1}, {"b": 1}),
    "a leaf and a list": (1, [1]),
    "deep within": ({"a": [1, (2,)]}, {"a": [1, (2, 3)]}),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_refused(name: str) -> None:
    a, b = DIFFERENT[name]
    for first, second in ((a, b), (b, a)):
        with pytest.raises(ValueError, match="the structures differ"):
            tree.assert_same_structure(first, second)
        with pytest.raises(ValueError, match="differ"):
            tree.map_structure(lambda *_: None, first, second)


def test_wrong_leaves() -> None:
    with pytest.raises(ValueError, match="3 leaves do not fit a structure of 2"):
        tree.pack_sequence_as([0, (1,)], [1, 2, 3])
    with pytest.raises(ValueError, match="the structures differ"):
        tree.map_structure_up_to([0, 0], len, [[1]])
    with pytest.raises(ValueError, match="different places"):
        tree.assert_same_paths([1, 2], [1, (2,)])

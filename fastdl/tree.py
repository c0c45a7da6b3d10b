"""Structures: lists, tuples, named tuples and mappings within each other, whatever their leaves are. Keras's `tree`.

None is a leaf. A mapping's entries go by their sorted keys; where these cannot be compared, in their own order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

__all__ = [
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]

NESTED = (list, tuple, Mapping)
Path = tuple[Any, ...]  # keys and places, from the outermost structure inwards


def is_nested(structure: Any) -> bool:
    """Whether it is a list, a tuple or a mapping, and not a leaf. Keras: tree.is_nested."""
    return isinstance(structure, NESTED)


def _entries(structure: Any) -> list[tuple[Any, Any]]:
    """Keys, or places, and what stands there, in order."""
    if not isinstance(structure, Mapping):
        return list(enumerate(structure))
    try:
        return [(key, structure[key]) for key in sorted(structure)]
    except TypeError:
        return list(structure.items())


def _with(structure: Any, values: Iterable[Any]) -> Any:
    """A structure of the same type whose entries, in order, are the values."""
    if isinstance(structure, Mapping):
        by_key = dict(zip((key for key, _ in _entries(structure)), values, strict=True))
        if isinstance(structure, dict):
            made = copy.copy(structure)
            made.update(by_key)
            return made
        return {key: by_key[key] for key in structure}
    kind: Any = type(structure)
    return kind(*values) if hasattr(kind, "_fields") else kind(values)


def flatten_with_path(structure: Any) -> list[tuple[Path, Any]]:
    """Each leaf with the way to it. Keras: tree.flatten_with_path."""

    def walk(part: Any, path: Path) -> Iterator[tuple[Path, Any]]:
        if not is_nested(part):
            yield path, part
            return
        for key, each in _entries(part):
            yield from walk(each, (*path, key))

    return list(walk(structure, ()))


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order; a leaf alone is the only one. Keras: tree.flatten."""
    return [leaf for _, leaf in flatten_with_path(structure)]


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """The structure with these leaves, in order, in place of its own. ValueError for more or fewer.

    Keras: tree.pack_sequence_as.
    """
    leaves = list(flat_sequence)
    if len(leaves) == 1 and not is_nested(structure):
        return leaves[0]  # at once: each answer of a model of one output comes this way
    count = len(flatten(structure))
    if len(leaves) != count:
        raise ValueError(f"{len(leaves)} leaves do not fit a structure of {count}")
    waiting = iter(leaves)
    return map_structure(lambda _: next(waiting), structure)


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """The structure of what the function makes of the leaves at each place. ValueError for structures that differ.

    Keras: tree.map_structure.
    """
    if not structures:
        raise ValueError("map_structure needs one structure at least")
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    return _mapped(func, structures[0], structures)


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """As map_structure, but what stands where the shallow structure has its leaves goes to the function as it is.

    ValueError for a structure that does not begin as the shallow one. Keras: tree.map_structure_up_to.
    """
    if not structures:
        raise ValueError("map_structure_up_to needs one structure at least")
    for other in structures:
        _check_alike(shallow_structure, other, deep=False)
    return _mapped(func, shallow_structure, structures)


def _mapped(func: Callable[..., Any], guide: Any, parts: Iterable[Any]) -> Any:
    parts = tuple(parts)
    if not is_nested(guide):
        return func(*parts)
    return _with(guide, [_mapped(func, each, [part[key] for part in parts]) for key, each in _entries(guide)])


def assert_same_structure(a: Any, b: Any) -> None:
    """ValueError unless both are nested in one way, by the same types and keys. Keras: tree.assert_same_structure."""
    _check_alike(a, b, deep=True)


def _check_alike(a: Any, b: Any, deep: bool) -> None:
    """deep: whether b may not go on where a has its leaves."""
    if not is_nested(a) and (not is_nested(b) or not deep):
        return
    if _kind(a) is not _kind(b) or [key for key, _ in _entries(a)] != [key for key, _ in _entries(b)]:
        raise ValueError(f"the structures differ: {drawn(a)} and {drawn(b)}")
    for key, each in _entries(a):
        _check_alike(each, b[key], deep)


def _kind(structure: Any) -> Any:
    if isinstance(structure, Mapping):
        return Mapping
    return type(structure) if is_nested(structure) else None


def assert_same_paths(a: Any, b: Any) -> None:
    """ValueError unless both have leaves at the same places, lists and tuples alike. Keras: tree.assert_same_paths."""
    first, second = ({path for path, _ in flatten_with_path(each)} for each in (a, b))
    if first != second:
        raise ValueError(f"the structures have leaves at different places: {sorted(map(str, first ^ second))[0]}")


def lists_to_tuples(structure: Any) -> Any:
    """The structure with tuples for its lists. Keras: tree.lists_to_tuples."""
    return traverse(lambda part: tuple(part) if isinstance(part, list) else None, structure, top_down=False)


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """The structure in which parts, and leaves, are what the function makes of them; None leaves them as they are.

    top_down: what the function has made is not looked into; else inner parts come first. Keras: tree.traverse.
    """
    if top_down and (made := func(structure)) is not None:
        return made
    whole = structure
    if is_nested(structure):
        whole = _with(structure, [traverse(func, each, top_down) for _, each in _entries(structure)])
    if top_down or (made := func(whole)) is None:
        return whole
    return made


def drawn(structure: Any, leaf: Callable[[Any], str] = lambda _: "*") -> str:
    """A structure for messages: `{'a': *, 'b': [*, *]}`. fastdl's own."""
    if isinstance(structure, Mapping):
        return "{" + ", ".join(f"{key!r}: {drawn(each, leaf)}" for key, each in structure.items()) + "}"
    if is_nested(structure):
        inner = ", ".join(drawn(each, leaf) for each in structure)
        return f"[{inner}]" if isinstance(structure, list) else f"({inner}{',' * (len(structure) == 1)})"
    return leaf(structure)

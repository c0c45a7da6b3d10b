"""The structures in which a model takes its inputs and gives its outputs, and what people pass for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastdl import tree
from fastdl.base.arrays import is_frame
from fastdl.base.naming import free_name
from fastdl.errors import DataError, DataWarning, ShapeError, warn
from fastdl.models import data

MISMATCH = "The structure of `inputs` doesn't match the expected structure"


def unique(names: Sequence[str]) -> list[str]:
    free: list[str] = []
    for name in names:
        free.append(free_name(name, free))
    return free


def holds_arrays(value: Any) -> bool:
    """Whether it is a structure of arrays (batch, ...), and not one array that is written as lists."""
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list | tuple) and any(
        len(getattr(part, "shape", ())) > 1 or is_frame(part) or holds_arrays(part) for part in value
    )


def default_names(structure: Any) -> list[str]:
    """What the inputs of a model that names none are called: by the keys that they stand at, or by number."""
    if not tree.is_nested(structure):
        return ["input"]
    paths = [path for path, _ in tree.flatten_with_path(structure)]
    return unique(["_".join(map(str, path if isinstance(path[-1], str) else ("input", *path))) for path in paths])


def names_in(structure: Any, name_of: Callable[[Any], str]) -> list[str]:
    """A name for each leaf: the key that it stands at, or else what it is called by itself."""
    return unique(
        [
            path[-1] if path and isinstance(path[-1], str) else name_of(leaf)
            for path, leaf in tree.flatten_with_path(structure)
        ]
    )


def output_names(result: Any) -> list[str]:
    """The outputs' names: the keys of one mapping of them, else of the layers that made them."""
    if isinstance(result, Mapping) and not any(tree.is_nested(part) for part in result.values()):
        return [str(path[0]) for path, _ in tree.flatten_with_path(result)]
    return unique([tensor.made_by.layer.name if tensor.made_by else "output" for tensor in tree.flatten(result)])


def of_data(x: Any, one_array: bool) -> Any:
    """The structure of the first data of a model that knows none: with None for each array."""
    found = tree.traverse(
        lambda part: None if isinstance(part, Mapping) or (holds_arrays(part) and not one_array) else ..., x
    )
    return tree.map_structure(lambda _: None, found)


def is_shape(value: Any) -> bool:
    """Whether it is one shape, (None, 4), and not a structure of such."""
    return isinstance(value, list | tuple) and not any(map(tree.is_nested, value))


def shapes_in(value: Any) -> tuple[Any, list[tuple[Any, ...]]]:
    """The structure of what build and compute_output_shape are given, with None for each shape; and the shapes."""
    shapes: list[tuple[Any, ...]] = []

    def taken(part: Any) -> Any:
        if not is_shape(part):
            return None if tree.is_nested(part) else refuse(value)
        shapes.append(tuple(part))
        return ...

    structure = tree.traverse(taken, value)
    return tree.map_structure(lambda _: None, structure), shapes


def refuse(value: Any) -> Any:
    """ShapeError for what is no shape, nor a structure of such."""
    raise ShapeError(f"input_shape must be (None, sizes of a sample …), or a structure of such, not {value!r}")


# -- what people pass -------------------------------------------------------------------------------------


def values(what: str, x: Any, structure: Any, names: Sequence[str], quiet: bool = False) -> list[tuple[str, Any]]:
    """What belongs to each input of the structure, with what to call it. DataError for what cannot be told.

    A mapping may give the inputs of a list by their names, and a list those of a mapping whose keys are in order, with
    a warning (unless quiet), as in Keras.
    """
    paths = tree.flatten_with_path(structure)
    if isinstance(x, Mapping) and not isinstance(structure, Mapping):
        return _by_name(what, x, structure, names)
    if not tree.is_nested(structure):
        return [(what, x[0] if _is_list_of_one(x) else x)]
    if len(paths) == 1 and not isinstance(structure, Mapping) and not (holds_arrays(x) or _is_list_of_one(x)):
        return [(what, x)]
    found = [_at(x, structure, path) for path, _ in paths]
    if all(value is not _NOT_THERE for value in found) and not (isinstance(x, Mapping) and _has_more(x, structure)):
        return [(_called(what, path, name), value) for (path, _), name, value in zip(paths, names, found, strict=True)]
    return _in_another(what, x, structure, names, found, quiet)


_NOT_THERE = object()


def _at(x: Any, structure: Any, path: tree.Path) -> Any:
    """What of x stands at the path; _NOT_THERE unless x is nested as the structure is all the way."""
    for key in path:
        if isinstance(structure, Mapping):
            if not isinstance(x, Mapping) or key not in x:
                return _NOT_THERE
        elif not isinstance(x, list | tuple) or len(x) != len(structure):
            return _NOT_THERE
        x, structure = x[key], structure[key]
    return x


def _has_more(x: Mapping[Any, Any], structure: Any) -> bool:
    """Whether a mapping has keys that the structure has not."""
    return bool(set(x) - set(structure)) or any(
        _has_more(x[key], inner) for key, inner in structure.items() if isinstance(inner, Mapping)
    )


def _called(what: str, path: tree.Path, name: str) -> str:
    return f"{what}[{name!r}]" if len(path) < 2 else f"{what}{''.join(f'[{key!r}]' for key in path)}"


def _is_list_of_one(x: Any) -> bool:
    return isinstance(x, list | tuple) and len(x) == 1 and (x[0] is None or len(getattr(x[0], "shape", ())) > 1)


def _by_name(what: str, x: Mapping[Any, Any], structure: Any, names: Sequence[str]) -> list[tuple[str, Any]]:
    """Inputs that are no mapping, given by the names of their tensors."""
    if differ := set(map(str, x)) ^ set(names):
        wrong = sorted(differ)[0]
        raise DataError(
            f"{what} must have the entries {', '.join(names)}: {wrong!r} is wrong. {_told(x, structure, names)}"
        )
    return [(f"{what}[{name!r}]", x[name]) for name in names]


def _in_another(
    what: str, x: Any, structure: Any, names: Sequence[str], found: Sequence[Any], quiet: bool
) -> list[tuple[str, Any]]:
    """Inputs in another structure than the model's."""
    message = _told(x, structure, names)
    if isinstance(structure, Mapping) and isinstance(x, Mapping):
        if any(value is _NOT_THERE for value in found):
            keys = sorted(map(str, set(x) ^ set(structure))) or names
            raise DataError(f"{what} must have the entries {', '.join(names)}: {keys[0]!r} is wrong. {message}")
        given = found
    else:
        given = list(x) if isinstance(x, list | tuple) else [x]
        if any(isinstance(part, list | tuple | Mapping) and holds_arrays(part) for part in given):
            given = tree.flatten(x)
        if len(given) != len(names) or (isinstance(structure, Mapping) and list(structure) != sorted(structure)):
            count = len(given) if isinstance(x, list | tuple) else "one"
            raise DataError(
                f"{what} must be a list of {len(names)} arrays ({', '.join(names)}), not of {count}. {message}"
            )
    if not quiet:
        warn(message, DataWarning)
    return [(f"{what}[{name!r}]", value) for name, value in zip(names, given, strict=True)]


def _told(x: Any, structure: Any, names: Sequence[str]) -> str:
    expected = tree.drawn(tree.pack_sequence_as(structure, names), str)
    parts = x if holds_arrays(x) else "one array"
    return f"{MISMATCH}: expected {expected}, received {tree.drawn(parts, _drawn) if parts is x else parts}"


def _drawn(part: Any) -> str:
    return "frame" if is_frame(part) else f"{getattr(part, 'shape', '*')}"


def targets(what: str, y: Any, structure: Any, names: Sequence[str], needed: Sequence[int]) -> list[tuple[str, Any]]:
    """The targets of the outputs that are needed, with what to call them. DataError for what cannot be told.

    In the structure of the outputs; or in a list, or by name, of all of them or of those that are needed.
    """
    if not needed:  # what layers add to the loss is all there is
        return []
    paths = tree.flatten_with_path(structure)
    found = [_at(y, structure, path) for path, _ in paths]
    more = isinstance(y, Mapping) and isinstance(structure, Mapping) and _has_more(y, structure)
    if tree.is_nested(structure) and all(found[i] is not _NOT_THERE for i in needed) and not more:
        return [(_called(what, paths[i][0], names[i]), found[i]) for i in needed]
    wanted = [names[i] for i in needed]
    if isinstance(y, Mapping):
        y = {name: each for name, each in y.items() if name in wanted or name not in names}
    elif isinstance(y, list | tuple) and len(y) == len(names):
        y = [y[i] for i in needed]
    one_in_a_list = isinstance(y, list | tuple) and len(y) == 1 < len(names)
    return data.by_name(what, y, wanted, len(wanted) > 1 or one_in_a_list)

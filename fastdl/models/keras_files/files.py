""".keras archives and .weights.h5 files of models, written whole or not at all, and read without trust."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.files import check_target, write_atomically
from fastdl.base.naming import default_name
from fastdl.base.registry import custom_object_scope
from fastdl.base.scopes import having
from fastdl.base.version import VERSION
from fastdl.errors import KerasFileError, ModelFileError, UnknownObjectError
from fastdl.layers.context import values_from
from fastdl.layers.lookup import IntegerLookup, StringLookup
from fastdl.models import saving, tensor_file
from fastdl.models.keras_files import compiling, graphs, hdf5, objects, state
from fastdl.models.keras_files.archive import ASSETS, CONFIG, METADATA, WEIGHTS, Archive, packed
from fastdl.models.keras_files.hdf5 import Groups
from fastdl.models.model import Model

KERAS = "3.15.1"  # the version of Keras whose format this is
SMALL = 2**16  # numbers of a weight that a file may leave to its initializer
OURS = "feature_names", "class_names"  # what fastdl knows of a model besides, and Keras leaves alone


# -- writing ----------------------------------------------------------------------------------------------


def save(model: Any, target: Any, include_optimizer: bool = True) -> None:
    """Write the .keras file, to a path or into an open binary file. ValueError for what Keras has not."""
    hdf5.library()
    if not hasattr(target, "write"):
        check_target(target)
    content = _packed(model, include_optimizer)
    if hasattr(target, "write"):
        target.write(content)
    else:
        write_atomically(target, content)


def _packed(model: Model, include_optimizer: bool) -> bytes:
    with model.session.lock:
        told = objects.serialize_keras_object(model)
        groups, names = state.gather(model)
        if include_optimizer and (kept := compiling.gather(model)):
            groups[compiling.OPTIMIZER] = kept
        elif not include_optimizer:
            told.pop("compile_config", None)
        assets = dict(_assets(model))
        ours = {key: getattr(model, key) for key in OURS} if model.graph else {}
    about = {"keras_version": KERAS, "date_saved": datetime.now().strftime("%Y-%m-%d@%H:%M:%S")}
    about |= {"fastdl_version": VERSION, **{key: value for key, value in ours.items() if value}}
    members = {METADATA: json.dumps(about).encode(), CONFIG: json.dumps(told).encode()}
    return packed({**members, WEIGHTS: hdf5.written(groups, names), **assets})


def _assets(model: Model) -> Iterator[tuple[str, bytes]]:
    """What layers of one's own write into a folder."""
    for place in state.places(model):
        if not hasattr(place.layer, "save_assets"):
            continue
        with tempfile.TemporaryDirectory(prefix="fastdl-") as folder:
            place.layer.save_assets(folder)
            for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                inner = f"{place.path}/{file.relative_to(folder).as_posix()}".lstrip("/")
                yield f"{ASSETS}{inner}", file.read_bytes()


def save_weights(model: Any, path: Any, objects_to_skip: Iterable[Any] = ()) -> None:
    """Write a .weights.h5 file. ValueError before the model is built."""
    hdf5.library()
    check_target(path)
    if not model.built:
        raise ValueError(f"{model.name} has no weights yet: call build or fit before save_weights")
    with model.session.lock:
        groups, names = state.gather(model, objects_to_skip)
        if kept := compiling.gather(model):
            groups[compiling.OPTIMIZER] = kept
    write_atomically(path, hdf5.written(groups, names))


# -- reading ----------------------------------------------------------------------------------------------


@contextmanager
def _opened(source: Any) -> Iterator[tuple[BinaryIO, int, str]]:
    """The file, its size and its name, of a path or of what is open already. KerasFileError."""
    if hasattr(source, "read"):
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        yield source, size, str(getattr(source, "name", "the file"))
        return
    name = str(os.fspath(source))
    with tensor_file.opened(source, name, KerasFileError) as (file, size):
        yield file, size, name


def load(source: Any, custom_objects: Mapping[str, Any] | None, compile: bool, safe_mode: bool) -> Any:
    """The model of a .keras file, of a path or an open binary file."""
    hdf5.library()
    with _opened(source) as (file, size, name):
        archive = Archive(file, size, name)
        config = archive.json(CONFIG)
        about = archive.json(METADATA) if METADATA in archive.members else {}
        groups = hdf5.read(archive.read(WEIGHTS), name)
        assets = archive.assets()
        try:
            if not compile:
                config.pop("compile_config", None)
            _add_vocabularies(config, "", archive, assets, groups)
            with custom_object_scope(custom_objects), _weights_within(groups, name):
                model = objects.deserialize_keras_object(config, safe_mode=safe_mode)
            if not isinstance(model, Model):
                raise KerasFileError(f"{name}: it holds a {type(model).__name__}, not a model")
            state.restore(model, groups, name)
            if compile:
                compiling.restore(model, groups, name)
            _load_assets(model, archive, assets)
            for key in OURS:
                if about.get(key):
                    setattr(model, key, about[key])
        except (ModelFileError, MemoryError):
            raise
        except TypeError as error:
            raise UnknownObjectError(f"{name}: {error}") from error
        except Exception as error:  # settings that no layer, loss or optimizer takes
            raise KerasFileError(f"{name}: its settings cannot be used: {error}") from error
    return model


@contextmanager
def _weights_within(groups: Groups, name: str) -> Iterator[None]:
    """Nothing is allocated within for weights that the file does not hold, but for small ones."""
    shapes = Counter(array.shape for arrays in groups.values() for array in arrays.values())

    def value(draw: Callable[..., Array], shape: tuple[int, ...], dtype: Any) -> Array:
        if not shapes[shape] and np.prod(shape, dtype=float) > SMALL:
            raise KerasFileError(f"{name}: a layer needs a weight of shape {shape}, which the file does not hold")
        return draw(shape, dtype)

    with having(values_from, value):
        yield


def _add_vocabularies(
    config: Any, path: str, archive: Archive, assets: Mapping[str, str], groups: Mapping[str, Mapping[str, Array]]
) -> None:
    """Lookups of a model's layers get the vocabulary that Keras has put into the folder of assets: without one they
    could not tell the shape of what they give."""
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    counts: dict[str, int] = {}
    for layer in layers if isinstance(layers, list) else []:
        kind = str(layer.get("class_name")) if isinstance(layer, dict) else ""
        if kind == "InputLayer":
            continue
        base = default_name(kind)
        number = counts[base] = counts.get(base, -1) + 1
        place = f"{path}layers/{base}_{number}" if number else f"{path}layers/{base}"
        _add_vocabularies(layer, f"{place}/", archive, assets, groups)
        member = assets.get(f"{place}/{state.VOCABULARY}")
        if kind in (StringLookup.__name__, IntegerLookup.__name__) and member and isinstance(layer.get("config"), dict):
            lines = archive.read(member).decode().split("\n")
            while lines and not lines[-1]:
                lines.pop()
            tokens = lines if kind == StringLookup.__name__ else [int(line) for line in lines]
            layer["config"]["vocabulary"] = tokens
            if (weights := groups.get(place, {}).get("idf_weights")) is not None:
                layer["config"]["idf_weights"] = weights.tolist()


def _load_assets(model: Model, archive: Archive, assets: Mapping[str, str]) -> None:
    """Layers of one's own find their files in a folder, as they wrote them."""
    for place in state.places(model):
        if not hasattr(place.layer, "load_assets"):
            continue
        with tempfile.TemporaryDirectory(prefix="fastdl-") as folder:
            start = f"{place.path}/".lstrip("/")
            for path, member in assets.items():
                if path.startswith(start):
                    target = Path(folder, path.removeprefix(start))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))
            place.layer.load_assets(folder)


def load_weights(model: Any, source: Any, skip_mismatch: bool = False, objects_to_skip: Iterable[Any] = ()) -> None:
    """Copy in the weights of a .weights.h5 or .keras file, all or none. ValueError before the model is built."""
    hdf5.library()
    if not model.built:
        raise ValueError(f"{model.name} has no weights yet: call build or fit before load_weights")
    model.trace()
    with _opened(source) as (file, size, name):
        archive = str(source).endswith(saving.KERAS)
        content = Archive(file, size, name).read(WEIGHTS) if archive else file.read()
    with model.session.lock:
        state.restore(model, hdf5.read(content, name), name, skip_mismatch, objects_to_skip)


objects.FORMS += graphs.FORMS
objects.BESIDE += [graphs.build_config, compiling.tell]
objects.AFTER += [graphs.build, compiling.finish]
saving.KERAS_FILES.update(save=save, save_weights=save_weights, load_weights=load_weights)
saving.KERAS_FILES.update(graph=graphs.make_graph, stack=graphs.make_stack)

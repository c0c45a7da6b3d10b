"""FeatureSpace: how each column of a table is encoded, in one object. Keras's names, arguments, defaults and order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from fastdl import layers
from fastdl.base import arrays
from fastdl.base.arguments import whole
from fastdl.base.arrays import Array
from fastdl.base.columns import TEXT, column_dtype, is_column
from fastdl.base.naming import auto_name, unknown
from fastdl.compiler.graph import Tensor
from fastdl.errors import DataError, ModelFileError
from fastdl.layers.data_layer import column as read_column
from fastdl.layers.layer import CLASSES, Layer, deserialize, serialize
from fastdl.models import tensor_file

OUTPUT_MODES = ("concat", "dict")
Number = float  # which within FeatureSpace is a feature
LOOKUPS = layers.StringLookup, layers.IntegerLookup
BINNED = layers.Hashing, layers.HashedCrossing


@dataclass(frozen=True)
class Feature:
    """A column: its dtype ("string", an integer's or a float's), the layer that encodes it, and what that becomes.

    output_mode: "one_hot", rows of zeros and ones of the indices that the layer gives; else what it gives, "int" or
    "float". Keras: utils.Feature.
    """

    dtype: str
    preprocessor: Layer
    output_mode: str

    def get_config(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "preprocessor": serialize(self.preprocessor), "output_mode": self.output_mode}


@dataclass(frozen=True)
class Cross:
    """Columns that are put together by the hash of what they become. ValueError for fewer than two. Keras: Cross."""

    feature_names: tuple[str, ...]
    crossing_dim: int
    output_mode: str = "one_hot"

    def __post_init__(self) -> None:
        object.__setattr__(self, "feature_names", tuple(self.feature_names))
        whole("crossing_dim", self.crossing_dim)
        if len(self.feature_names) < 2:
            raise ValueError(f"a cross is of two features or more, not of {list(self.feature_names)}")
        if self.output_mode not in ("int", "one_hot"):
            raise ValueError(f"output_mode of a cross must be 'int' or 'one_hot', not {self.output_mode!r}")

    @property
    def name(self) -> str:
        return "_X_".join(self.feature_names)

    def get_config(self) -> dict[str, Any]:
        names, size = list(self.feature_names), self.crossing_dim
        return {"feature_names": names, "crossing_dim": size, "output_mode": self.output_mode}


class FeatureSpace:
    """Encodes a mapping of columns, or a frame, to one array, or to a mapping of arrays. Keras: utils.FeatureSpace.

    features: by column, a kind by name ("float", "float_rescaled", "float_normalized", "float_discretized",
    "integer_categorical", "string_categorical", "integer_hashed", "string_hashed"), or made by the method of that name,
    which takes arguments. crosses: tuples of columns, or made by `cross`. output_mode: "concat", features by name and
    then crosses by name side by side, or "dict". `adapt` it before it is used. ValueError.
    """

    nameable: ClassVar[bool] = False

    @classmethod
    def cross(cls, feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot") -> Cross:
        """A cross of features in crossing_dim bins (Keras)."""
        return Cross(tuple(feature_names), crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Layer, output_mode: str) -> Feature:
        """A column that is encoded by any layer (Keras)."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """Numbers as they are (Keras)."""
        return Feature("float32", layers.Identity(name=_named("float", name)), "float")

    @classmethod
    def float_rescaled(cls, scale: Number = 1.0, offset: Number = 0.0, name: str | None = None) -> Feature:
        """Numbers times scale plus offset (Keras)."""
        return Feature("float32", layers.Rescaling(scale, offset, name=_named("float_rescaled", name)), "float")

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """Numbers with mean 0 and variance 1, by layers.Normalization (Keras)."""
        return Feature("float32", layers.Normalization(axis=-1, name=_named("float_normalized", name)), "float")

    @classmethod
    def float_discretized(
        cls,
        num_bins: int | None = None,
        bin_boundaries: Sequence[Number] | None = None,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Numbers in bins, by layers.Discretization (Keras)."""
        layer = layers.Discretization(bin_boundaries, num_bins, name=_named("float_discretized", name))
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Whole numbers by layers.IntegerLookup (Keras)."""
        layer = layers.IntegerLookup(max_tokens, num_oov_indices, name=_named("integer_categorical", name))
        return Feature("int64", layer, output_mode)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Texts by layers.StringLookup (Keras)."""
        layer = layers.StringLookup(max_tokens, num_oov_indices, name=_named("string_categorical", name))
        return Feature("string", layer, output_mode)

    @classmethod
    def integer_hashed(cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None) -> Feature:
        """Whole numbers in bins, by layers.Hashing (Keras)."""
        return Feature("int64", layers.Hashing(num_bins, name=_named("integer_hashed", name)), output_mode)

    @classmethod
    def string_hashed(cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None) -> Feature:
        """Texts in bins, by layers.Hashing (Keras)."""
        return Feature("string", layers.Hashing(num_bins, name=_named("string_hashed", name)), output_mode)

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Iterable[Any] | None = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        if not isinstance(features, Mapping) or not features:
            raise ValueError("features must be a mapping of columns to kinds, as {'age': 'float_normalized'}")
        if output_mode not in OUTPUT_MODES:
            raise ValueError(f"output_mode must be 'concat' or 'dict', not {output_mode!r}")
        self.name, self.output_mode = name or auto_name("FeatureSpace"), output_mode
        self.crossing_dim = whole("crossing_dim", crossing_dim)
        self.hashing_dim = whole("hashing_dim", hashing_dim)
        self.num_discretization_bins = whole("num_discretization_bins", num_discretization_bins)
        self.features = {column: self._feature(column, kind) for column, kind in features.items()}
        self.crosses = [self._cross(each) for each in crosses or []]
        self.inputs = {
            column: layers.Input(
                (1,), dtype=feature.dtype if is_column(column_dtype(feature.dtype)) else None, name=column
            )
            for column, feature in self.features.items()
        }
        self.preprocessors = {column: feature.preprocessor for column, feature in self.features.items()}
        self.crossers = {
            cross.name: layers.HashedCrossing(cross.crossing_dim, name=cross.name) for cross in self.crosses
        }
        self._one_hot: dict[str, Layer] = {}
        self._adapted = not self._adaptable()
        self._encoded: Any = None

    def _feature(self, column: str, kind: Any) -> Feature:
        if isinstance(kind, Feature):
            return kind
        if isinstance(kind, Mapping):
            return Feature(kind["dtype"], _layer(kind["preprocessor"]), kind["output_mode"])
        arguments: dict[str, dict[str, int]] = {
            "float_discretized": {"num_bins": self.num_discretization_bins},
            "integer_hashed": {"num_bins": self.hashing_dim},
            "string_hashed": {"num_bins": self.hashing_dim},
        }
        if kind not in KINDS:
            raise ValueError(f"feature {column!r}: {unknown('kind', kind, KINDS)}")
        made: Feature = getattr(self, kind)(name=column, **arguments.get(kind, {}))
        return made

    def _cross(self, given: Any) -> Cross:
        if isinstance(given, Mapping):
            given = Cross(**given)
        cross = given if isinstance(given, Cross) else Cross(tuple(given), self.crossing_dim)
        for column in cross.feature_names:
            if column not in self.features:
                raise ValueError(f"crosses: {unknown('feature', column, self.features)}")
            if not _gives_indices(self.features[column].preprocessor):
                raise ValueError(f"crosses: {column!r} is a number, which has no bins: use 'float_discretized'")
        return cross

    # -- adapt --------------------------------------------------------------------------------------------

    def _adaptable(self) -> list[str]:
        """The columns whose layers learn from data."""
        return [column for column, feature in self.features.items() if _learns(feature.preprocessor)]

    def adapt(self, dataset: Any) -> None:
        """Let each layer learn from its column: of a mapping of columns, a frame, or an iterable of mappings or frames,
        alone or (x, y). Other columns are left out. DataError for one that is missing. Keras: FeatureSpace.adapt."""
        columns = self._columns(_joined(dataset, self.features), "the data to adapt to")
        for column in self._adaptable():
            self.preprocessors[column].adapt(columns[column])  # type: ignore[attr-defined]
        self._adapted, self._encoded, self._one_hot = True, None, {}  # there may be more or fewer indices now
        self.get_encoded_features()

    def _columns(self, data: Any, what: str) -> dict[str, Array]:
        """Each feature's column, (rows, 1). DataError."""
        table = {str(name): data[name] for name in data.columns} if arrays.is_frame(data) else data
        if not isinstance(table, Mapping):
            raise DataError(f"{what} must be a mapping of columns or a frame, not {type(data).__name__}")
        if missing := [name for name in self.features if name not in table]:
            raise DataError(f"{what} has no column {missing[0]!r}")
        columns, rows = dict[str, Array](), -1
        for name, source in self.inputs.items():
            kind = "string" if source.dtype == TEXT else "int64" if is_column(source.dtype) else "float"
            array = read_column(f"column {name!r}", table[name], (kind,))
            array = array[:, None] if array.ndim == 1 else array
            if array.shape[1:] != (1,) or rows not in (-1, len(array)):
                right = "(rows,) or (rows, 1)" if array.shape[1:] != (1,) else f"({rows},), as the others"
                raise DataError(f"column {name!r} must have shape {right}, not {array.shape}")
            columns[name], rows = array, len(array)
        return columns

    # -- encode -------------------------------------------------------------------------------------------

    def get_inputs(self) -> dict[str, Tensor]:
        """The symbolic inputs by column, for a Model (Keras)."""
        return dict(self.inputs)

    def get_encoded_features(self) -> Any:
        """The symbolic features of the inputs, for a Model: one tensor, or a mapping. ValueError before `adapt`."""
        self._require_adapted()
        if self._encoded is None:
            self._encoded = self._encode(self.inputs)
        return self._encoded

    def __call__(self, data: Any) -> Any:
        """The features of a mapping of columns or a frame: an array (rows, features), or a mapping of arrays; of single
        values one row of these. Other columns are left out. DataError; ValueError before `adapt`."""
        self._require_adapted()
        single = isinstance(data, Mapping) and all(_is_single(data.get(name, 0)) for name in self.features)
        table = {name: [value] for name, value in data.items() if name in self.features} if single else data
        result = self._encode(self._columns(table, "data"))
        if not single:
            return result
        return {name: array[0] for name, array in result.items()} if isinstance(result, dict) else result[0]

    def _require_adapted(self) -> None:
        if not self._adapted:
            raise ValueError(f"{self.name} has learned nothing yet: call adapt(data) first")

    def _encode(self, columns: Mapping[str, Any]) -> Any:
        """Tensors of tensors, arrays of arrays."""
        encoded = {name: self.preprocessors[name](value) for name, value in columns.items()}
        crossed = {
            cross.name: self.crossers[cross.name]([encoded[name] for name in cross.feature_names])
            for cross in self.crosses
        }
        modes = {name: feature.output_mode for name, feature in self.features.items()}
        modes |= {cross.name: cross.output_mode for cross in self.crosses}
        makers: dict[str, Layer] = {**self.preprocessors, **self.crossers}
        features = {}
        for name, value in [*sorted(encoded.items()), *sorted(crossed.items())]:
            if modes[name] == "one_hot":
                if name not in self._one_hot:
                    self._one_hot[name] = _one_hot_encoder(name, makers[name])
                value = self._one_hot[name](value)
            features[name] = value
        if self.output_mode == "dict":
            return features
        if raw := [name for name, value in features.items() if is_column(value.dtype)]:
            raise ValueError(f"feature {raw[0]!r} is not encoded: give it output_mode 'one_hot', or the space 'dict'")
        values = list(features.values())
        if len(values) == 1:
            return values[0]
        return layers.concatenate(values) if isinstance(values[0], Tensor) else np.concatenate(values, axis=-1)

    # -- files --------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the vocabularies and bins that were learned (Keras)."""
        return {
            "features": {column: feature.get_config() for column, feature in self.features.items()},
            "output_mode": self.output_mode,
            "crosses": [cross.get_config() for cross in self.crosses],
            "crossing_dim": self.crossing_dim,
            "hashing_dim": self.hashing_dim,
            "num_discretization_bins": self.num_discretization_bins,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A space with these arguments, to adapt (Keras)."""
        return cls(**config)

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write it with all that it has learned, for `load`. ValueError before `adapt`, or for layers of one's own."""
        self._require_adapted()
        self.get_encoded_features()
        tensors = {
            f"{column}/{i}": weight
            for column, layer in self.preprocessors.items()
            for i, weight in enumerate(layer.get_weights())
        }
        tensor_file.write(filepath, tensors, {"feature_space": self.get_config()})

    @classmethod
    def load(cls, filepath: str | os.PathLike[str]) -> Self:
        """The space that `save` wrote. ModelFileError for a file that is damaged, or holds none."""
        content = tensor_file.read(filepath)
        config = content.notes.get("feature_space")
        if not isinstance(config, dict):
            raise ModelFileError(f"{content.name}: it holds no FeatureSpace")
        try:
            space = cls.from_config(config)
            space._adapted = True
            space.get_encoded_features()
            for column, layer in space.preprocessors.items():
                weights = layer.weights
                layer.set_weights([content.take(f"{column}/{i}", w.shape, w.dtype) for i, w in enumerate(weights)])
        except (ModelFileError, MemoryError):
            raise
        except Exception as error:  # settings that no layer takes
            raise ModelFileError(f"{content.name}: its settings cannot be used: {error}") from error
        return space

    def __getstate__(self) -> dict[str, Any]:
        """All but what a model may be made of: for pickle and copy.deepcopy."""
        return {**vars(self), "_encoded": None}

    def __repr__(self) -> str:
        kinds = ", ".join(f"{column}: {type(layer).__name__}" for column, layer in self.preprocessors.items())
        return f"<FeatureSpace name={self.name}, {kinds}{'' if self._adapted else ', not adapted yet'}>"


KINDS = (
    "float",
    "float_rescaled",
    "float_normalized",
    "float_discretized",
    "integer_categorical",
    "string_categorical",
    "integer_hashed",
    "string_hashed",
)


def _named(kind: str, name: str | None) -> str:
    """Keras's name for the layer of a feature."""
    return f"{name or auto_name(kind)}_preprocessor"


def _layer(config: Mapping[str, Any]) -> Layer:
    if config.get("class_name") not in CLASSES:
        raise ValueError(unknown("layer", config.get("class_name"), CLASSES))
    layer = deserialize(config)
    if not isinstance(layer, Layer):
        raise ValueError(f"{layer!r} is no layer")
    return layer


def _gives_indices(layer: Layer) -> bool:
    return isinstance(layer, layers.DataLayer) and is_column(layer.encoded_dtype())


def _learns(layer: Layer) -> bool:
    """Whether there is something that it has to learn: it was not given to its constructor."""
    if isinstance(layer, LOOKUPS):
        return not layer.static
    if isinstance(layer, layers.Discretization):
        return layer.num_bins is not None
    if isinstance(layer, layers.Normalization):
        return layer.get_config()["mean"] is None
    return hasattr(layer, "adapt")


def _one_hot_encoder(name: str, layer: Layer) -> Layer:
    """What makes rows of zeros and ones of the indices that a feature's layer gives. ValueError for other layers."""
    if isinstance(layer, LOOKUPS):
        count = layer.vocabulary_size()
    elif isinstance(layer, layers.Discretization):
        count = layer.num_bins or len(layer.bin_boundaries or []) + 1
    elif isinstance(layer, BINNED):
        count = layer.num_bins
    else:
        raise ValueError(f"feature {name!r}: how many indices a {type(layer).__name__} gives is not known")
    if not _gives_indices(layer):
        raise ValueError(f"feature {name!r}: its {type(layer).__name__} is to give indices, output_mode='int'")
    return layers.CategoryEncoding(count, output_mode="multi_hot")


def _is_single(value: Any) -> bool:
    return isinstance(value, str | bytes | int | float | np.generic) or value is None


def _joined(dataset: Any, names: Iterable[str]) -> Any:
    """A mapping or a frame as it is; batches of such as one mapping. DataError."""
    if isinstance(dataset, Mapping) or arrays.is_frame(dataset) or not isinstance(dataset, Iterable):
        return dataset
    found: dict[str, list[Any]] = {name: [] for name in names}
    for batch in dataset:
        table = batch[0] if isinstance(batch, tuple) else batch
        for name, parts in found.items():
            if not (isinstance(table, Mapping) and name in table) and not arrays.is_frame(table):
                raise DataError(f"a batch to adapt to must be a mapping of columns with {name!r}, not {table!r:.80}")
            value = table[name]
            parts.append(np.atleast_1d(np.asarray(value, object if isinstance(value, str | list) else None)))
    if not next(iter(found.values())):
        raise DataError("there are no batches to adapt to")
    return {name: np.concatenate(parts) for name, parts in found.items()}

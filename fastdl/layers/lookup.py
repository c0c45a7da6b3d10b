"""StringLookup and IntegerLookup: the tokens of a column by number. Keras's names, arguments, defaults and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from fastdl.base.arguments import flag, whole
from fastdl.base.arrays import Array, Dtype
from fastdl.base.columns import integers, texts
from fastdl.compiler.graph import Shape
from fastdl.errors import DataError, FusionError
from fastdl.layers.data_layer import (
    INT64,
    MODES,
    DataLayer,
    checked_mode,
    column,
    dense,
    hot,
    hot_shape,
    pieces,
    write_hot,
)
from fastdl.layers.data_tensor import ColumnWriter, DataTensor, float_dtype
from fastdl.layers.fingerprints import bins
from fastdl.layers.hashing import checked_salt

OOV_METHODS = ("floormod", "farmhash")
NO_TOKEN = -(2**31)  # in a file: what Gather fails at, as no vocabulary has as many tokens
ML = "ai.onnx.ml"


class _Lookup(DataLayer):
    """Base of both: a subclass says what its tokens are.

    Indices in "int" mode: mask_token, if there is one, at 0; num_oov_indices places for tokens out of the vocabulary;
    then the vocabulary, most frequent first, of equally frequent ones those that sort last first. In other modes there
    is no place for the mask, whose rows are zeros.
    """

    token: type
    kind: str  # of its tokens, as columns have them

    def _keep(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        invert: bool,
        output_mode: str,
        pad_to_max_tokens: bool,
        sparse: bool,
        salt: Any,
    ) -> None:
        self.max_tokens = None if max_tokens is None else whole("max_tokens", max_tokens, 2)
        self.num_oov_indices = whole("num_oov_indices", num_oov_indices, 0)
        self.mask_token = self._token("mask_token", mask_token)
        self.oov_token = self._token("oov_token", oov_token)
        self.invert, self.output_mode = flag("invert", invert), checked_mode(output_mode, (*MODES, "tf_idf"))
        self.pad_to_max_tokens, self.sparse = flag("pad_to_max_tokens", pad_to_max_tokens), dense(sparse)
        self.salt = checked_salt(salt)
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise ValueError("pad_to_max_tokens needs max_tokens, the size to pad to")
        if self.invert and self.output_mode != "int":
            raise ValueError(f"output_mode must be 'int' where invert is true, not {output_mode!r}")
        self._tokens: list[Any] = []
        self._index: dict[Any, int] = {}
        self._idf: Array | None = None
        self.static = False  # whether the vocabulary was an argument
        self._from_file = False  # whether that was a file's name
        self._tells_special = False  # whether the vocabulary was given with the special tokens before it

    def _token(self, name: str, value: Any) -> Any:
        """ValueError unless it is one of the column's kind, or None."""
        right = isinstance(value, self.token | np.integer) if self.token is int else isinstance(value, self.token)
        if value is None or (right and not isinstance(value, bool)):
            return value if value is None else self.token(value)
        raise ValueError(f"{name} must be {'an integer' if self.token is int else 'a text'}, or None, not {value!r}")

    def _begin(self, vocabulary: Any, idf_weights: Any) -> None:
        if idf_weights is not None and self.output_mode != "tf_idf":
            raise ValueError("idf_weights are for output_mode 'tf_idf' alone")
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
            self.static, self._from_file = True, isinstance(vocabulary, str | Path)

    # -- vocabulary ---------------------------------------------------------------------------------------

    @property
    def _oov_start(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _start(self) -> int:
        """The index of the first token."""
        return self._oov_start + self.num_oov_indices

    def _special(self) -> list[Any]:
        """What stands before the vocabulary."""
        return [self.mask_token] * self._oov_start + [self.oov_token] * self.num_oov_indices

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens by index, the mask and those out of the vocabulary first (Keras)."""
        return [*(self._special() if include_special_tokens else []), *self._tokens]

    def vocabulary_size(self) -> int:
        """How many indices there are, those of the special tokens among them (Keras)."""
        return self._start + len(self._tokens)

    @property
    def vocabulary(self) -> list[Any] | None:
        """As `get_config` has it: as it was given, or the tokens that were learned; None before there are any, and of a
        file, which `serialize` reads (Keras)."""
        return None if self._from_file else self._told()["vocabulary"]

    @property
    def idf_weights(self) -> list[float] | None:
        """The weight of each of `vocabulary`; None but in "tf_idf" mode."""
        return None if self._from_file else self._told()["idf_weights"]

    def _told(self) -> dict[str, Any]:
        """The tokens and their weights, with the special ones before them only where they were given so."""
        first = 0 if self._tells_special else self._start
        size = self.vocabulary_size()
        weights = None if self._idf is None else [float(weight) for weight in self._idf[first:size]]
        return {
            "vocabulary": self.get_vocabulary()[first:] if self._tokens else None,
            "idf_weights": weights,
        }

    def saved_config(self) -> dict[str, Any]:
        return self.get_config() | self._told()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take these tokens, a list or array, or the lines of a text file; in "tf_idf" mode with their weights (Keras).

        The special tokens may stand at its beginning. ValueError for tokens that are there twice or too many, or that
        are the mask; DataError for what is no token.
        """
        if (idf_weights is None) == (self.output_mode == "tf_idf"):
            raise ValueError("idf_weights must be given in output_mode 'tf_idf', and in no other")
        if isinstance(vocabulary, str | Path):
            try:
                vocabulary = [self.token(line) for line in Path(vocabulary).read_text(encoding="utf-8").splitlines()]
            except (OSError, ValueError) as error:
                raise ValueError(f"vocabulary: {str(vocabulary)!r} is no text file of tokens: {error}") from None
        given = list(vocabulary)
        special = self._special()
        whole_ = given[: len(special)] == special
        tokens = given[len(special) :] if whole_ else given
        if not given or not tokens:
            raise ValueError("vocabulary must hold at least one token")
        self._assign(column("vocabulary", tokens, (self.kind,)).ravel().tolist(), self._weights(idf_weights, given))
        self._tells_special = bool(special) and whole_

    def _weights(self, idf_weights: Any, given: list[Any]) -> Array | None:
        """The weight of each index: special tokens without one have the mean of the others."""
        if idf_weights is None:
            return None
        weights = np.asarray(idf_weights, np.float64)
        if weights.shape != (len(given),):
            raise ValueError(f"idf_weights must be one for each of {len(given)} tokens, not of shape {weights.shape}")
        special = self._special()
        front = 0 if given[: len(special)] == special else len(special)
        return np.concatenate([np.full(front, weights.mean()), weights])

    def _assign(self, tokens: list[Any], idf: Array | None) -> None:
        index = dict(zip(tokens, range(self._start, self._start + len(tokens)), strict=True))
        if len(index) < len(tokens):
            twice = next(token for token, count in Counter(tokens).items() if count > 1)
            raise ValueError(f"vocabulary holds {twice!r} more than once")
        for name, token in (("mask_token", self.mask_token), ("oov_token", self.oov_token if self.invert else None)):
            if token is not None and token in tokens:
                raise ValueError(
                    f"vocabulary holds the {name} {token!r} at {tokens.index(token)}: it stands first, or not at all"
                )
        size = self._start + len(tokens)
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                f"vocabulary is of {size} tokens with special ones, more than max_tokens={self.max_tokens}"
            )
        if self.built and self.output_mode != "int" and self._depth(size) != self._depth(self.vocabulary_size()):
            raise ValueError(
                f"{self.name} is in a model that was built for {self.vocabulary_size()} tokens, not {size}: "
                "make a new layer, or set max_tokens and pad_to_max_tokens"
            )
        self._tokens, self._idf, self._index = tokens, idf, index

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the vocabulary from data, in one pass: an array, series or list, or an iterable of batches, alone or
        (x, y), of which `steps` are used. What was learned before is forgotten (Keras).

        ValueError where the vocabulary was given to the constructor; DataError for data that hold no tokens.
        """
        if self.static:
            raise ValueError(f"{self.name} was given its vocabulary: there is nothing to adapt")
        counts, documents, rows = Counter[Any](), Counter[Any](), 0
        for values in pieces(self.name, data, texts if self.token is str else integers, steps):
            counts.update(values.ravel().tolist())
            if self.output_mode == "tf_idf":
                rows += len(values)
                for document in values.reshape(len(values), -1).tolist():
                    documents.update(set(document))
        for special in (self.mask_token, self.oov_token):
            counts.pop(special, None)
        tokens = sorted(counts, key=lambda token: (counts[token], token), reverse=True)
        tokens = tokens[: None if self.max_tokens is None else max(self.max_tokens - self._start, 0)]
        idf = None
        if self.output_mode == "tf_idf":
            learned = np.log(1 + rows / (1 + np.array([documents[token] for token in tokens], np.float64)))
            idf = np.concatenate([np.full(self._start, learned.mean() if len(learned) else 0.0), learned])
        self._assign(tokens, idf)
        self._tells_special = False

    def kinds_of(self, place: int) -> tuple[str, ...]:
        return ("int64",) if self.invert else self.kinds

    # -- encoding -----------------------------------------------------------------------------------------

    def _depth(self, size: int) -> int:
        assert self.max_tokens or not self.pad_to_max_tokens
        return self.max_tokens if self.pad_to_max_tokens and self.max_tokens else size

    def encoded_shape(self, shapes: Sequence[Shape]) -> Shape:
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        if mode != "int" and not self._tokens and not self.pad_to_max_tokens:
            raise ValueError(f"{self.name} has no vocabulary, and so no size: adapt it first, or call set_vocabulary")
        return hot_shape(shapes[0], mode, self._depth(self.vocabulary_size()))

    def encoded_dtype(self) -> Dtype:
        if self.invert:
            return np.dtype(object) if self.token is str else INT64
        return INT64 if self.output_mode == "int" else float_dtype()

    def encode(self, arrays: Sequence[Array], dtype: Dtype) -> Array:
        (values,) = arrays
        if self.invert:
            return self._tokens_of(values)
        indices = self._indices(values)
        depth = self._depth(self.vocabulary_size())
        if self.output_mode != "tf_idf":
            return hot(indices, self.output_mode, depth, dtype)
        if self._idf is None:
            raise ValueError(f"{self.name} has no idf_weights: adapt it first, or call set_vocabulary")
        counts = hot(indices, "count", depth, dtype)
        return np.asarray(counts * self._padded_idf(depth).astype(dtype))

    def _padded_idf(self, depth: int) -> Array:
        assert self._idf is not None
        return np.pad(self._idf, (0, depth - len(self._idf)))

    def _indices(self, values: Array) -> Array:
        entries = values.ravel().tolist()
        index, unknown = self._index, self._oov_start if self.num_oov_indices == 1 else NO_TOKEN
        found = np.array([index.get(entry, unknown) for entry in entries], np.int64)
        masked = np.zeros(len(entries), bool)
        if self.mask_token is not None:
            masked = np.asarray(values.ravel() == self.mask_token)
            found[masked] = 0 if self.output_mode == "int" else -1
        outside = np.flatnonzero((found == NO_TOKEN) & ~masked)
        if outside.size and not self.num_oov_indices:
            row = int(outside[0]) // max(values[0].size if values.ndim > 1 else 1, 1)
            raise DataError(
                f"{self.name}'s input holds {entries[outside[0]]!r} in row {row}, which is not in the vocabulary: "
                "num_oov_indices=1 makes a place for such"
            )
        if outside.size:
            found[outside] = self._oov_start + self._oov_bins([entries[i] for i in outside])
        return found.reshape(values.shape)

    def _oov_bins(self, entries: list[Any]) -> Array:
        """Of tokens out of the vocabulary, which of the places for such they have."""
        return bins(map(str, entries), self.num_oov_indices, self.salt)

    def _tokens_of(self, indices: Array) -> Array:
        if self.oov_token is None:
            raise ValueError(f"{self.name} has no oov_token, which indices out of the vocabulary would become")
        names = self.get_vocabulary()
        entries = [names[i] if 0 <= i < len(names) else self.oov_token for i in indices.ravel().tolist()]
        result = np.empty(len(entries), object if self.token is str else np.int64)
        result[:] = entries
        return result.reshape(indices.shape)

    # -- files --------------------------------------------------------------------------------------------

    def onnx(self, graph: ColumnWriter, names: Sequence[str], tensor: DataTensor) -> str:
        if not self._tokens:
            raise FusionError(f"{self.name} has no vocabulary: adapt it before the export")
        own = "strings" if self.token is str else "int64s"
        if self.invert:
            places = list(range(self.vocabulary_size()))
            coder = _coder(places, "int64s", self.get_vocabulary(), own, self.oov_token)
            return graph.computed("LabelEncoder", names, self.name, ML, **coder)
        if self.num_oov_indices > 1:
            raise FusionError(
                f"{self.name} hashes tokens out of its vocabulary into {self.num_oov_indices} places, which ONNX has "
                "no operator for: make it with num_oov_indices=1"
            )
        keys, values = [*self._tokens], [*self._index.values()]
        size = depth = self._depth(self.vocabulary_size())
        if self.mask_token is not None:
            keys.append(self.mask_token)
            values.append(0 if self.output_mode == "int" else size)  # one that no class is
        unknown = self._oov_start if self.num_oov_indices else NO_TOKEN
        coder = _coder(keys, own, values, "int64s", unknown)
        index = graph.computed("LabelEncoder", names, self.name, ML, **coder)
        if not self.num_oov_indices:  # fails, as predict does, for a token that is not in the vocabulary
            places_ = graph.constant(np.arange(size + 1, dtype=np.int64), f"{self.name}.places")
            index = graph.computed("Gather", [places_, index], self.name)
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        result = write_hot(graph, index, tensor, mode, depth)
        if self.output_mode != "tf_idf":
            return result
        weights = graph.constant(self._padded_idf(depth).astype(tensor.dtype), f"{self.name}.idf_weights")
        return graph.computed("Mul", [result, weights], self.name)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A layer with these arguments, and their vocabulary, which `adapt` may replace (Keras)."""
        arguments = dict(config)
        vocabulary, idf_weights = arguments.pop("vocabulary", None), arguments.pop("idf_weights", None)
        layer = cls(**arguments)
        if isinstance(vocabulary, str):
            raise ValueError("a config names no file of a vocabulary: pass its tokens")
        if vocabulary is not None:
            layer.set_vocabulary(vocabulary, idf_weights)
        return layer


def _coder(keys: list[Any], key: str, values: list[Any], value: str, default: Any) -> dict[str, Any]:
    """The attributes of a LabelEncoder."""
    name = {"strings": "default_string", "int64s": "default_int64"}[value]
    return {f"keys_{key}": keys, f"values_{value}": values, name: default}


class StringLookup(_Lookup):
    """The index of each text, (...) of int64, or that in an output mode: see CategoryEncoding, and "tf_idf", counts
    times the logarithm of 1 + rows / (1 + rows that hold the token). Keras: layers.StringLookup.

    vocabulary: tokens, or a file of them; else `adapt` learns at most max_tokens, special ones counted.
    num_oov_indices: places for other texts, which FarmHash chooses among, with a salt SipHash; without any they are a
    DataError. With invert the texts of indices. What is missing (None, NaN) is "". ValueError.
    """

    token, kind = str, "string"
    kinds = ("string",)

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: int | Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if encoding != "utf-8":
            raise ValueError(f"encoding must be 'utf-8', not {encoding!r}: decode texts before")
        self.encoding = encoding
        self._keep(
            max_tokens, num_oov_indices, mask_token, oov_token, invert, output_mode, pad_to_max_tokens, sparse, salt
        )  # fmt: skip
        self._begin(vocabulary, idf_weights)


class IntegerLookup(_Lookup):
    """The index of each whole number, (...) of int64, or that in an output mode: as StringLookup for texts.

    Numbers out of the vocabulary are placed by their remainder, or with oov_method="farmhash" by the hash of their
    digits. Keras: layers.IntegerLookup. ValueError.
    """

    token, kind = int, "int64"
    kinds = ("int64",)

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: int | Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if vocabulary_dtype != "int64":
            raise ValueError(f"vocabulary_dtype must be 'int64', not {vocabulary_dtype!r}")
        if oov_method not in OOV_METHODS:
            raise ValueError(f"oov_method must be one of {', '.join(map(repr, OOV_METHODS))}, not {oov_method!r}")
        if salt is not None and oov_method != "farmhash":
            raise ValueError("salt is for oov_method='farmhash' alone")
        self.vocabulary_dtype, self.oov_method = vocabulary_dtype, oov_method
        self._keep(
            max_tokens, num_oov_indices, mask_token, oov_token, invert, output_mode, pad_to_max_tokens, sparse, salt
        )  # fmt: skip
        self._begin(vocabulary, idf_weights)

    def _oov_bins(self, entries: list[Any]) -> Array:
        if self.oov_method == "farmhash":
            return super()._oov_bins(entries)
        return np.asarray(np.array(entries, np.int64) % self.num_oov_indices)

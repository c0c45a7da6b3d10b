"""int8 and float16 after folding, by onnxruntime's own tools, and only as far as the caller's samples bear it.

What standardises the input is kept apart from int8: folded into the first dense layer, inputs of unequal scales
would share one scale. The tools themselves are called in narrow.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from fastdl.base.arrays import Array
from fastdl.base.printable import Printable
from fastdl.base.text import shown
from fastdl.errors import DataError, FusionError
from fastdl.fusion.files.model_file import ModelSource, read_model, set_metadata
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.graph.node import Node
from fastdl.fusion.narrow import to_float16, to_int8
from fastdl.fusion.pipeline import fuse
from fastdl.fusion.proof.feeds import Feeder, Samples
from fastdl.fusion.proof.measure import measure as measure_latency
from fastdl.fusion.report.report import latency_row, within_noise
from fastdl.fusion.runtime.bounds import bounded, given_bytes
from fastdl.fusion.runtime.labels import labels_of
from fastdl.fusion.runtime.runs import expand
from fastdl.fusion.runtime.session import Feed, Session

if TYPE_CHECKING:
    from rich.console import RenderableType

METADATA_KEY = "fastdl.quantization"
Kind = Literal["int8", "float16"]

# Most that may be lost, of what is measured: see QuantizationReport.
BARS = {
    "int8": {"accuracy": 0.005, "labels flipped": 0.01, "error": 0.05},
    "float16": {"accuracy": 0.001, "labels flipped": 0.002, "error": 0.005},
}
FEWEST = 32  # samples: fewer say nothing of one in a hundred
CALIBRATION = 1024  # rows, spread evenly over the samples
METHODS = ("MinMax", "Percentile", "Entropy")  # ways to choose a range, tried in turn until one passes
AFFINE = frozenset(("Add", "Sub", "Mul", "Div", "BatchNormalization", "ai.onnx.ml:Scaler"))
LOOKED_THROUGH = frozenset(("Cast", "Identity", "Dropout", "Flatten", "Reshape"))
CLASSIFIERS = frozenset(("Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "ai.onnx.ml:ZipMap"))


@dataclass(kw_only=True, repr=False)
class QuantizationReport(Printable):
    """What a narrower file costs and gains against the folded file in the model's own precision.

    gate: what was held against `bar`: "accuracy" (the share of right rows lost), "labels flipped" (share of rows)
    or "error" (root mean square over the output's standard deviation). Errors are over all floating-point outputs.
    """

    type: str
    method: str
    rows: int
    gate: str
    lost: float
    bar: float
    label_flips: int
    accuracy_before: float | None
    accuracy_after: float | None
    max_abs_error: float
    rms_error: float
    bytes_before: int
    bytes_after: int
    operators_after: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    latency: dict[str, dict[str, float]] = field(default_factory=dict)

    def digest(self) -> str:
        """One short line of JSON for the model's metadata."""
        told: dict[str, Any] = {key: getattr(self, key) for key in ("type", "method", "rows", "gate", "label_flips")}
        return json.dumps(told | {"lost": float(f"{self.lost:.3g}")})

    def __repr__(self) -> str:
        size = f"{self.bytes_before} bytes, {self.bytes_after} after"
        return f"<QuantizationReport: {self.type}, {size}, {self.gate} lost {self.lost:.2g} of {self.bar:g}>"

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        sizes = Table("", "folded", self.type, title=f"Quantisation to {self.type}", title_justify="left")
        sizes.add_row("bytes", f"{self.bytes_before:,}", f"{self.bytes_after:,}")
        if self.accuracy_before is not None:
            sizes.add_row("accuracy", f"{self.accuracy_before:.4f}", f"{self.accuracy_after:.4f}")
        for batch, times in self.latency.items():
            sizes.add_row(*latency_row(batch, times))
        lines = [
            f"On {self.rows} rows ({self.method}): {self.label_flips} labels flipped, error {self.max_abs_error:.1e} "
            f"at most, {self.rms_error:.1e} of the spread. Lost: {self.gate} {self.lost:.4f}, of {self.bar:g} allowed."
        ]
        if self.kept:
            lines.append(f"Kept apart, unfolded: {', '.join(map(shown, self.kept))}.")
        slower = [batch for batch, times in self.latency.items() if times["speedup"] < 1 and not within_noise(times)]
        if slower:
            lines.append(f"Slower than the folded file here at {' and '.join(slower).replace('_', ' ')}.")
        return Group(sizes, *map(Text, lines))


@memory_errors()
def quantize(
    source: ModelSource,
    *,
    samples: Samples,
    labels: npt.ArrayLike | None = None,
    type: Kind = "int8",
    tolerance: float | None = None,
    measure: bool = True,
    limited: bool = True,
) -> tuple[ModelProto, QuantizationReport]:
    """Fold, prove, and narrow to int8 or float16; the model and what it costs on the samples.

    samples: at least 32 rows; int8 calibrates on up to 1024 of them, and all are measured. labels: the right class
    of each row. tolerance: the most that may be lost, in place of 0.5 % of accuracy (with labels), 1 % of labels
    flipped (classifiers), 0.05 of the output's spread (else); float16 0.1 %, 0.2 %, 0.005. Inputs and outputs
    stay as they are. limited: as for `fuse`. Raises FusionError when more is lost or the tools fail; ModelFileError,
    DataError.
    """
    if type not in BARS:
        raise ValueError(f"type must be one of {', '.join(BARS)}; got {type!r}")
    plain = read_model(source, limited=limited)
    args = samples, labels, type, tolerance, measure
    made: tuple[ModelProto, QuantizationReport] = bounded(
        _quantize, [plain], *args, given=given_bytes(samples), rows=_given_rows(samples), limited=limited
    )
    return made


def _quantize(
    plain: ModelProto,
    samples: Samples,
    labels: npt.ArrayLike | None,
    type: Kind,
    tolerance: float | None,
    measure: bool,
) -> tuple[ModelProto, QuantizationReport]:
    kept = _input_affines(plain) if type == "int8" else []
    folded, _ = fuse(plain, samples=samples, measure=False, keep=kept, limited=False)
    feeder = Feeder(folded)
    feeds = list(feeder.samples(samples))
    rows_of_samples = len(next(iter(samples.values())) if isinstance(samples, Mapping) else samples)  # type: ignore[arg-type]
    trial = _Trial(folded, feeds, labels, type, tolerance, sum(map(_rows, feeds)) - rows_of_samples)
    if trial.rows < FEWEST:
        raise DataError(f"{trial.rows} samples are too few to judge by: give at least {FEWEST}")
    failed: list[str] = []
    for method in METHODS if type == "int8" else ("float16",):
        if type == "int8":
            narrow = to_int8(folded, _calibration(feeds, feeder.fixed_batch is not None), method, kept)
        else:
            narrow = to_float16(folded)
        report = trial.judge(narrow, method)
        if report.lost <= report.bar:
            break
        failed.append(f"{report.lost:.4f} ({method})")
    else:
        raise FusionError(
            f"{type} loses too much on these samples: {report.gate} {', '.join(failed)}, more than {report.bar:g}"
        )
    report.kept = [label for node in folded.graph.node if (label := Node(node).label) in kept]
    if measure:
        report.latency = measure_latency(folded, narrow, samples)
    set_metadata(narrow, METADATA_KEY, report.digest())
    report.bytes_after = narrow.ByteSize()
    return narrow, report


def _given_rows(samples: Samples) -> int:
    """Samples, whose outputs are all kept to be compared."""
    parts = samples.values() if isinstance(samples, Mapping) else [samples]
    return max((shape[0] for part in parts if (shape := getattr(part, "shape", ()))), default=1)


class _Trial:
    """What the folded model gives for the samples, to hold others against."""

    def __init__(
        self,
        folded: ModelProto,
        feeds: list[Feed],
        labels: npt.ArrayLike | None,
        type: Kind,
        tolerance: float | None,
        repeated: int = 0,
    ) -> None:
        self._folded, self._feeds, self._type, self._tolerance = folded, feeds, type, tolerance
        # The last feed of a model of fixed batch begins with rows that the one before it ended with.
        self._repeated = repeated
        self.rows = sum(map(_rows, feeds)) - repeated
        self._want = self._run(folded)
        _require_finite(self._want)
        self._truth = None if labels is None else np.asarray(labels).reshape(-1)
        if self._truth is not None and len(self._truth) != self.rows:
            raise DataError(f"{len(self._truth)} labels for {self.rows} samples")
        self._labels = _first_labels(self._want)
        if self._truth is not None:
            _require_comparable(self._truth, self._labels)
            if not _classifies(folded) and all(a.dtype.kind == "f" and a.shape[1:] == (1,) for a in self._want):
                raise DataError("labels were given, but the model gives one value a row, no class: leave them out")
            if self._truth.dtype.kind == "f" and not np.array_equal(self._truth, np.floor(self._truth)):
                raise DataError("labels must be whole numbers, each the number of a class")

    def judge(self, narrow: ModelProto, method: str) -> QuantizationReport:
        """Run it on the samples, and say what is lost."""
        got = self._run(narrow)
        labels = _first_labels(got)
        flips = 0 if labels is None or self._labels is None else int((labels != self._labels).sum())
        pairs = [(a, b.astype(np.float64)) for a, b in zip(got, self._want, strict=True) if b.dtype.kind == "f"]
        most = max((float(np.abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)
        rms = max((float(np.sqrt(np.mean((a - b) ** 2)) / (b.std() or 1.0)) for a, b in pairs if b.size), default=0.0)
        before = after = None
        if self._truth is not None and labels is not None:
            before, after = (float(np.mean(side == self._truth)) for side in (self._labels, labels))
            gate, lost = "accuracy", before - after
        elif _classifies(self._folded):
            gate, lost = "labels flipped", flips / self.rows
        else:
            gate, lost = "error", rms
        if not (np.isfinite(most) and np.isfinite(rms)):
            lost = float("inf")
        return QuantizationReport(
            type=self._type,
            method=method,
            rows=self.rows,
            gate=gate,
            lost=lost,
            bar=BARS[self._type][gate] if self._tolerance is None else self._tolerance,
            label_flips=flips,
            accuracy_before=before,
            accuracy_after=after,
            max_abs_error=most,
            rms_error=rms,
            bytes_before=self._folded.ByteSize(),
            bytes_after=narrow.ByteSize(),
            operators_after=[node.op_type for node in narrow.graph.node],
        )

    def _run(self, model: ModelProto) -> list[Array]:
        try:
            session = Session(model.SerializeToString())
            parts = [expand(session.run(None, feed)) for feed in self._feeds]
        except MemoryError:
            raise
        except Exception as error:
            line = str(error).splitlines()[0]
            raise FusionError(f"onnxruntime does not run the {self._type} file: {line}") from error
        parts = [[np.atleast_1d(a) for a in part] for part in parts]
        parts[-1] = [a[self._repeated :] for a in parts[-1]]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _first_labels(outputs: list[Array]) -> Array | None:
    return next((labels for output in outputs if (labels := labels_of(output)) is not None), None)


def _require_finite(outputs: list[Array]) -> None:
    """DataError that names the first sample for which the model gives no finite numbers: nothing compares with them."""
    for output in outputs:
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            row = int(np.flatnonzero(~np.isfinite(output.reshape(len(output), -1)).all(axis=1))[0])
            raise DataError(f"the model gives NaN or Inf for row {row} of the samples: leave such rows out")


def _require_comparable(truth: Array, labels: Array | None) -> None:
    if labels is None:
        raise DataError("labels were given, but the model gives no label a row")
    if (truth.dtype.kind in "UO") != (labels.dtype.kind in "UO") or truth.dtype.kind == "c":
        raise DataError(f"labels are {truth.dtype}, the model's are {labels.dtype}")


def _classifies(model: ModelProto) -> bool:
    """Whether any output comes from an operator that ends classifiers."""
    index = GraphIndex(model)
    makers = (index.producer(output) for output in index.graph_outputs)
    return any(node is not None and node.op in CLASSIFIERS for node in makers)


def _input_affines(model: ModelProto) -> list[str]:
    """Labels of the nodes that only shift and scale an input, between it and the first dense layer."""
    index, labels = GraphIndex(model), list[str]()
    values = [value for value in index.graph_inputs if index.stored(value) is None]
    seen = set(values)  # a value read twice by one node, again and again, must not double the way
    while values:
        for node, _ in index.uses(values.pop()):
            if not node.outputs or node.outputs[0] in seen:
                continue
            seen.add(node.outputs[0])
            if node.op in AFFINE and all(index.stored(name) is not None for name in _others(index, node)):
                labels.append(node.label)
                values.append(node.outputs[0])
            elif node.op in LOOKED_THROUGH:
                values.append(node.outputs[0])
    return list(dict.fromkeys(labels))


def _others(index: GraphIndex, node: Any) -> list[str]:
    """The inputs of an affine node beside the one that comes from the graph's input."""
    moving = next((name for name in node.inputs if index.stored(name) is None), None)
    return [name for name in node.inputs if name and name != moving]


def _calibration(feeds: list[Feed], fixed: bool) -> list[Feed]:
    """Up to 1024 rows, spread evenly; whole batches of a model that states its batch size."""
    stride = -(-sum(map(_rows, feeds)) // CALIBRATION)
    return feeds[::stride] if fixed else [{name: a[::stride] for name, a in feed.items()} for feed in feeds]


def _rows(feed: Feed) -> int:
    return len(next(iter(feed.values())))

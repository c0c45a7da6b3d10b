"""The base of losses, those of single numbers, and functions of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastdl import _ext, config
from fastdl.base.arrays import Array, Dtype, refuse_masked
from fastdl.base.configured import Configured, is_fastdls
from fastdl.base.dtypes import dtype_name
from fastdl.base.naming import snake_case
from fastdl.base.weighting import reduced, same_rank
from fastdl.compiler.graph import NoTruthError, Tensor
from fastdl.compiler.program import Terminal
from fastdl.ops import functions as numeric
from fastdl.ops.numeric import array_of, symbolic, tensor_of
from fastdl.ops.per_sample import PerSampleLoss
from fastdl.ops.terminal import Own, PerSample, on_arrays, traced

AVERAGE = "sum_over_batch_size"
REDUCTIONS = AVERAGE, "mean", "sum", "mean_with_sample_weight", "none", None


class Loss(Configured):
    """Base: the mean over the batch, divided by its size also where samples are weighted. `sparse`: targets are labels.

    reduction: "sum_over_batch_size" or "mean", "sum", "mean_with_sample_weight" (divided by the sum of the weights), or
    "none": on arrays each sample's. loss(y_true, y_pred) is that on arrays, `call` gives each sample's. One of your own
    overrides `call`, made of fastdl.ops, or `per_sample`, by numpy. dtype: what arrays are taken as, and the loss given
    as, when it is called: float64, or float32 for all others; models have their own.
    """

    sparse: ClassVar[bool] = False
    targets: ClassVar[tuple[float, float]] = (-np.inf, np.inf)  # what it is defined for, ends included
    distributions: ClassVar[bool] = False  # whether each row of targets should sum to 1
    whole_batch: ClassVar[bool] = False  # whether samples of a batch have no losses of their own
    reduction: str | None = AVERAGE
    dtype: str = "float32"
    axis: int = -1  # the classes', or what else it compares as one
    unsaid: ClassVar[tuple[str, ...]] = ("dtype",)  # what configs leave out where it is the default, as Keras's do
    _name: str | None = None

    def __init__(self, name: str | None = None, reduction: str | None = AVERAGE, dtype: Any = None) -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}, not {reduction!r}")
        self._name, self.reduction, self.dtype = name, reduction, dtype_name(dtype)

    @property
    def name(self) -> str:
        """As it was named, or the class's name in snake case, as Keras spells it: `mean_squared_error`."""
        return str(self._name or snake_case(type(self).__name__))

    def per_sample(self, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        """Each sample's loss (batch,) and its gradient (batch, outputs), by numpy; both given as (batch, outputs)."""
        raise NotImplementedError

    def terminal(self, features: int) -> Terminal:
        """The kernel of predictions of so many features."""
        return Own(self.per_sample)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        """The tensor that the kernel reads, the output or the logits behind it, and the kernel. Of a loss of one's own
        whose `call` is made of ops: what that gives. TypeError if it is not."""
        if self.own_call:
            return traced(self.call, output)
        self.check_axis(output)
        return output, self.terminal(output.channels)

    @property
    def free_targets(self) -> bool:
        """Whether targets may have another shape than the output: a `call` of one's own says what it makes of both."""
        return self.own_call

    @property
    def own_call(self) -> bool:
        """Whether `call` is one's own."""
        return not is_fastdls(type(self).call)

    def check_axis(self, output: Tensor) -> None:
        """ValueError for an axis other than the output's last one."""
        if self.axis not in (-1, len(output.shape) - 1):
            raise ValueError(f"{self.name}: axis must be the last one's (-1) of {output.shape}, not {self.axis}")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Each sample's loss. y_pred: (…, features); y_true alike, or labels (…). Of tensors a tensor."""
        if symbolic(y_true, y_pred):
            return self._of_tensors(tensor_of(y_true), tensor_of(y_pred))
        for name, value in (("y_true", y_true), ("y_pred", y_pred)):
            refuse_masked(name, value)
        target, predicted = np.asarray(y_true), np.asarray(y_pred)
        if not self.sparse:
            target, predicted = same_rank(target, predicted)
        if self.axis != -1:
            target = np.moveaxis(target, self.axis, -1) if target.ndim == predicted.ndim else target
            predicted = np.moveaxis(predicted, self.axis, -1)
        terminal = self.terminal(predicted.shape[-1] if predicted.ndim else 1)
        return on_arrays(terminal, target, predicted)[0]

    def _of_tensors(self, y_true: Tensor, y_pred: Tensor) -> Any:
        """As `call`, by the same kernel. TypeError for a loss of one's own that computes by numpy."""
        terminal = self.terminal(y_pred.channels)
        if not isinstance(terminal, PerSample):
            raise TypeError(f"{self.name} computes by numpy: on tensors it has no gradient")
        return PerSampleLoss(y_true, y_pred, terminal, self.name).output

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of arrays, a number of its dtype, or of tensors; each sample's without a reduction. ShapeError."""
        if symbolic(y_true, y_pred):
            values = self.call(y_true, y_pred)
            return self._reduced(values if sample_weight is None else values * sample_weight, sample_weight)
        kind = np.dtype(np.float64 if self.dtype == "float64" else np.float32)
        y_true, y_pred = as_kind("y_true", y_true, kind), as_kind("y_pred", y_pred, kind)
        values = np.asarray(self.call(y_true, y_pred), np.float64)
        return kind.type(reduced(values, sample_weight, self.reduction, self.counted(y_true, values)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments (Keras)."""
        defaults = {name: each.default for name, each in inspect.signature(type(self)).parameters.items()}
        defaults["dtype"] = config.floatx()
        given = super().get_config()
        return {name: each for name, each in given.items() if name not in self.unsaid or each != defaults[name]}

    def _reduced(self, values: Any, weight: Any) -> Any:
        """The same of tensors."""
        if self.reduction in (None, "none"):
            return values
        if self.reduction == "mean_with_sample_weight" and weight is not None:
            return numeric.sum(values) / numeric.sum(weight)
        return numeric.sum(values) if self.reduction == "sum" else numeric.mean(values)

    def counted(self, y_true: Any, values: Any) -> Array | None:
        """Which samples count, by their targets and losses, if not all do. fastdl's own."""
        return None


def as_kind(name: str, value: Any, kind: Dtype) -> Array:
    """Numbers as an array of that kind, others as an array as they are. DataError for what is masked."""
    refuse_masked(name, value)
    array = np.asarray(value)
    return array.astype(kind) if array.dtype.kind in "biuf" else array


class _Plain(Loss):
    """A loss without arguments of its own."""

    def __init__(self, reduction: str | None = AVERAGE, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, reduction, dtype)


class _Elementwise(_Plain):
    """A loss of the kernel table's FDL_LOSSES: the mean over the outputs. `own` is the attribute that it depends on."""

    kind: ClassVar[str]
    own: ClassVar[str] = ""

    def terminal(self, features: int) -> PerSample:
        own = float(getattr(self, self.own)) if self.own else 0.0
        return PerSample("element_loss", mean=True, more={"loss": _ext.LOSSES[self.kind]}, own=own)


class MeanSquaredError(_Elementwise):
    """(y - target)²."""

    aliases = "mse", "MSE"
    kind = "squared"


class MeanAbsoluteError(_Elementwise):
    """|y - target|."""

    aliases = "mae", "MAE"
    kind = "absolute"


class MeanAbsolutePercentageError(_Elementwise):
    """100 |y - target| / |target|."""

    aliases = "mape", "MAPE"
    kind = "percentage"


class MeanSquaredLogarithmicError(_Elementwise):
    """(log(1 + y) - log(1 + target))², negative numbers taken as zero."""

    aliases = "msle", "MSLE"
    kind, targets = "squared_log", (0.0, np.inf)


class Huber(_Elementwise):
    """Half the square of the error up to delta, straight on from there (Huber 1964)."""

    kind, own = "huber", "delta"
    unsaid = "dtype", "delta"

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = AVERAGE,
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        if not delta > 0:
            raise ValueError(f"delta must be positive, not {delta}")
        self.delta = float(delta)


class LogCosh(_Elementwise):
    """log cosh(y - target)."""

    kind = "log_cosh"


class Poisson(_Elementwise):
    """y - target log y."""

    kind, targets = "poisson", (0.0, np.inf)


class Hinge(_Elementwise):
    """max(1 - target y, 0). Targets: -1 and 1; 0 is taken as -1."""

    kind, targets = "hinge", (-1.0, 1.0)


class SquaredHinge(Hinge):
    """max(1 - target y, 0)², targets as Hinge's."""

    kind = "squared_hinge"


class CategoricalHinge(_Plain):
    """max(1 + the largest wrong output - the right one, 0). Targets: (batch, classes), one-hot."""

    targets = 0.0, 1.0

    def terminal(self, features: int) -> PerSample:
        return PerSample("categorical_hinge")


class KLDivergence(_Plain):
    """Sum of target log(target / y): how far y's distribution is from the target's (Kullback and Leibler 1951)."""

    aliases = "kld", "KLD"
    targets = 0.0, 1.0

    def terminal(self, features: int) -> PerSample:
        return PerSample("element_loss", more={"loss": _ext.LOSSES["divergence"]})


class CosineSimilarity(Loss):
    """Minus the cosine of the angle between y and the target: -1 where they point the same way."""

    unsaid = "dtype", "axis"

    def __init__(
        self, axis: int = -1, reduction: str | None = AVERAGE, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = int(axis)

    def terminal(self, features: int) -> PerSample:
        return PerSample("cosine_similarity", scale=-1.0)


class Function(Loss):
    """A function as a loss: fn(y_true, y_pred) → each sample's loss, (batch,) or (batch, …), of which the mean counts.

    Made of fastdl.ops and of operators (+, *, …), it is compiled into the program. Else it is a numpy function of
    (batch, outputs) of the model's dtype that gives (loss, gradient): it takes the GIL at each batch, and is slower.
    """

    nameable = False

    def __init__(self, fn: Callable[[Array, Array], Any], name: str | None = None) -> None:
        super().__init__(str(name or getattr(fn, "__name__", type(fn).__name__)))
        self.fn = fn
        self._by_numpy: Exception | None = None  # why it was not compiled, once that was tried

    @property
    def free_targets(self) -> bool:
        """Always."""
        return True

    def terminal(self, features: int) -> Own:
        return Own(self.fn)

    def attach(self, output: Tensor) -> tuple[Tensor, Terminal]:
        if self._by_numpy is None:
            try:
                return traced(self.fn, output)
            except NoTruthError:
                raise
            except Exception as error:  # it computes by numpy, or fails there as well, and says why
                self._by_numpy = error.with_traceback(None)
        return output, Own(self.fn, self._by_numpy)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What the function gives; of one that gives its gradient as well, without that."""
        given: list[Any] = [x if isinstance(x, Tensor) else array_of(x) for x in (y_true, y_pred)]
        value = self.fn(*given)
        return value[0] if isinstance(value, tuple) else value

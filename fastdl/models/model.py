"""Model: compile, fit, evaluate, predict. The loops run over slices of an epoch; the work is in programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fastdl import optimizers
from fastdl.base.arguments import flag, shown, whole
from fastdl.base.configured import refuse_overrides
from fastdl.base.messages import say
from fastdl.base.naming import no_attribute
from fastdl.base.registry import custom_object_scope
from fastdl.compiler.feeds import X_FEED
from fastdl.compiler.program import Program
from fastdl.errors import ADVICE, DivergenceWarning, warn
from fastdl.metrics import Metric
from fastdl.models import batches, saving
from fastdl.models.batches import Source
from fastdl.models.callback_list import CallbackList, Callbacks
from fastdl.models.history import History
from fastdl.models.network import Network, batch_rows
from fastdl.models.objective import Compiled
from fastdl.models.progress import Progress, describe
from fastdl.models.scale import warn_of_scale
from fastdl.models.state_tree import assign_state_tree, state_tree_of
from fastdl.models.subclassing import become, is_of_tensors
from fastdl.models.terms import checked, checked_losses, checked_share
from fastdl.optimizers import Optimizer

if TYPE_CHECKING:
    from fastdl.fusion import FusionReport

COMPILE = "optimizer", "loss", "loss_weights", "metrics", "weighted_metrics"
# what of Keras's Model a subclass cannot override here, for a compiled program trains it: what to use in its place
REPLACED = {
    "train_step": "a loss of your own, add_loss, or train_on_batch in a loop of your own",
    "test_step": "a loss or metrics of your own",
    "predict_step": "layers of your own, or call",
    "compute_loss": "a loss of your own, or add_loss",
    "compute_metrics": "metrics of your own",
    "make_train_function": "callbacks",
    "make_test_function": "callbacks",
    "make_predict_function": "callbacks",
}


class Model(Network):
    """A network that is trained; a layer itself, for models of models. Keras: Model.

    Model(inputs, outputs) is made of symbolic tensors (see Functional). A subclass makes layers in its __init__ and
    calls them in its `call`.
    """

    nameable = False
    _of_tensors: ClassVar[Any]  # Functional, which stands above: what Model(inputs, outputs) makes

    def __init_subclass__(cls, of_tensors: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_overrides(cls, REPLACED)
        if of_tensors:
            Model._of_tensors = cls

    def __new__(cls, *args: Any, **options: Any) -> Any:
        return super().__new__(Model._of_tensors if cls is Model and is_of_tensors(args, options) else cls)

    def __init__(
        self, *args: Any, name: str | None = None, dtype: Any = None, trainable: bool = True, **options: Any
    ) -> None:
        if is_of_tensors(args, options):
            become(type(self), Model, Model._of_tensors)
            Model._of_tensors.__init__(self, *args, name=name, trainable=trainable, **options)
            return
        super().__init__(name=name, dtype=dtype, trainable=trainable, **options)
        self.loss: Any = None  # a Loss, or one for each output
        self.history: History | None = None
        self.stop_training = self.stop_evaluating = False  # a callback sets them
        self.initial_epoch = 0  # of the fit that runs; a callback that goes on with another sets it when it begins
        self._diverged = False  # in the last train_on_batch

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """A model of this class of what `get_config` told, with weights of its own (Keras).

        custom_objects: classes and functions of one's own that the config names, by name.
        """
        with custom_object_scope(custom_objects):
            graph = "calls" in config or "input_layers" in config
            return cls._of_tensors.revived(cls, config) if graph else super().from_config(config)

    @property
    def optimizer(self) -> Optimizer | None:
        """What it was compiled with; None before."""
        return self.session.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer | None) -> None:
        self.session.optimizer = optimizer

    # -- compile ------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer | type[Optimizer] = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        **unknown: Any,
    ) -> None:
        """Choose optimizer, loss and metrics: Keras names, objects, or numpy functions of your own (see losses.Function
        and metrics.MeanMetricWrapper). weighted_metrics heed the samples' weights. With several outputs each may be a
        list or a mapping by name, one for each; loss_weights multiply the losses in their sum. ValueError.

        steps_per_execution: how many batches callbacks hear of at once, and the least that an epoch of steps_per_epoch
        takes. run_eagerly, jit_compile and auto_scale_loss are taken, and of no effect.
        """
        for name in unknown:
            raise TypeError(no_attribute("compile has no argument", name, COMPILE))
        losses, shares = checked_losses(loss), checked(checked_share, loss_weights)
        self.steps_per_execution = steps_per_execution
        self.session.compile(optimizers.get(optimizer), Compiled(losses, shares, metrics, weighted_metrics))
        self.loss = losses
        self._graph = None  # what is trainable may have changed
        if self._samples is not None and self.layers:
            self.trace()

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called (Keras)."""
        return self.session.optimizer is not None

    @property
    def steps_per_execution(self) -> int:
        """How many batches callbacks hear of at once (Keras)."""
        return self.session.steps_per_execution

    @steps_per_execution.setter
    def steps_per_execution(self, steps: int) -> None:
        self.session.steps_per_execution = whole("steps_per_execution", steps)

    @property
    def metrics(self) -> list[Metric]:
        """The loss as a mean, what it was compiled with as one object, and the outputs' losses if there are several, as
        Keras has them; none before `compile`."""
        return self.session.metrics

    @property
    def metrics_names(self) -> list[str]:
        """Their names (Keras)."""
        return [metric.name for metric in self.metrics]

    def get_state_tree(self, value_format: str = "backend_tensor") -> dict[str, Any]:
        """The arrays of all variables (trained, kept, the optimizer's, the metrics'), nested by the parts of their
        paths, in numpy whatever value_format says. ValueError for two of one path. Keras: Model.get_state_tree."""
        return state_tree_of(self, value_format)

    def set_state_tree(self, state_tree: Mapping[str, Any]) -> None:
        """Copy in what `get_state_tree` gave, or a part of it. ValueError for what does not fit, before anything is
        changed. Keras: Model.set_state_tree."""
        assign_state_tree(self, state_tree)

    def reset_metrics(self) -> None:
        """Metrics forget what they have counted (Keras)."""
        for metric in self.metrics:
            metric.reset_state()

    # -- fit ----------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callbacks = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        check_input: bool = True,
    ) -> History:
        """Train. x: (rows, *input shape), y: labels or targets; last batch may be smaller. Keras: Model.fit.

        Or x is an iterable of batches (x, y) or (x, y, sample_weight). An epoch is one pass, or the next
        steps_per_epoch batches of one, up to its end. validation_split takes the last share of the rows, before
        shuffling; validation_data is (x, y), (x, y, sample_weight) or such an iterable, validation_steps how many
        batches of it are used, validation_freq after how many epochs, or after which, counted from 1. sample_weight:
        (rows,); class_weight: by label, 1 for those not named. check_input=False skips the search for NaN and
        infinities. callbacks: see fastdl.callbacks. DataError, ShapeError, before any weight is touched, or at the
        batch that is wrong.
        """
        batch_rows(batch_size)
        whole("epochs", epochs)
        whole("initial_epoch", initial_epoch, 0)
        verbosity, validated = shown("verbose", verbose), batches.validates(validation_freq)
        shuffle, check_input = flag("shuffle", shuffle), flag("check_input", check_input)
        source, held_out = batches.for_fit(
            batches.Pass(self.session, batch_size, check_input, class_weight, shuffle, training=True),
            (x, y, sample_weight),
            steps_per_epoch,
            validation_data,
            validation_steps,
            validation_split,
            None if validation_batch_size is None else whole("validation_batch_size", validation_batch_size),
        )
        optimizer, objective = self.session.compiled()
        if isinstance(source, batches.Rows) and not optimizer.iterations:
            warn_of_scale(self.trace(), self.input_names, objective, source.feeds)
        hooks = CallbackList(callbacks)
        return self._fit(source, held_out, hooks, range(initial_epoch, epochs), validated, verbosity)

    def _fit(
        self,
        source: Source,
        held_out: Source | None,
        hooks: CallbackList,
        asked: range,
        validated: Callable[[int], bool],
        verbosity: int,
    ) -> History:
        """The epochs that were asked for on a source; those `validated` are judged by what is held out."""
        epochs = asked.stop
        optimizer, _ = self.session.compiled()
        history = hooks.history()
        hooks.watch()
        with self.session.exclusive():
            self.history, self.stop_training, logs = history, False, dict[str, float]()
            hooks.begin(self, verbose=verbosity, epochs=epochs, steps=source.steps)
            hooks.tell("set_validation_data", held_out.feeds if isinstance(held_out, batches.Rows) else None)
            self.initial_epoch = asked.start
            optimizer.resume()
            hooks.tell("on_train_begin", {})
            for epoch in range(self.initial_epoch, epochs):
                with Progress(epoch, epochs, source.steps, verbosity) as progress:
                    hooks.tell("on_epoch_begin", epoch, {})
                    logs = self._epoch(source, epoch - asked.start, progress, hooks)
                    if held_out is not None and validated(epoch):
                        tested = self._test(held_out, hooks)
                        logs |= {f"val_{name}": value for name, value in tested.items()}
                    hooks.tell("on_epoch_end", epoch, logs)
                    progress.finish(logs)
                if self.stop_training:
                    break
            if optimizer.use_ema:
                optimizer.finalize_variable_values(self.trainable_weights)
            hooks.tell("on_train_end", logs)
        return history

    def _epoch(self, source: Source, epoch: int, progress: Progress, hooks: CallbackList) -> dict[str, float]:
        session, programs, steps, rows, logs = self.session, set[Program](), 0, 0, dict[str, float]()
        session.compiled()[1].reset()
        for slice_, feeds, index in source.train(epoch, hooks.most("train")):
            programs.add(slice_.program)
            hooks.batch_begins("train", steps)
            session.train(slice_, feeds, index)
            steps, rows = steps + slice_.steps, rows + slice_.steps * slice_.program.batch
            logs = session.logs(programs)
            hooks.batch_ends("train", steps - 1, logs)
            hooks.tell("on_train_slice_end", steps - 1, dict(logs))
            progress.update(steps, rows, logs)
            if self.stop_training:
                break
        hooks.pass_ends("train")
        return session.ended(programs, logs, trained=True)

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch: its loss, or [loss, metrics …], before the step. Keras: Model.train_on_batch."""
        session = self.session
        inputs = session.feeding.inputs(x, learns=True)
        feeds = session.feeds(inputs, y, sample_weight, class_weight=class_weight)
        optimizer, objective = session.compiled()
        with session.exclusive():
            objective.reset()
            optimizer.resume()
            for slice_ in session.slices("train", feeds, len(feeds[X_FEED])):
                session.train(slice_, feeds, None)
            logs = session.logs([slice_.program])
        diverged, self._diverged = self._diverged, not math.isfinite(logs["loss"])
        if self._diverged and not diverged:
            what = f"loss became {logs['loss']} at step {optimizer.iterations}"
            warn(f"training of {self.name} diverged: {what}; {ADVICE}", DivergenceWarning)
        return _results(logs, return_dict, objective.first)

    # -- evaluate, predict --------------------------------------------------------------------------------

    def _test(self, source: Source, hooks: CallbackList) -> dict[str, float]:
        """A pass in inference."""
        session, programs, self.stop_evaluating = self.session, set[Program](), False
        _, objective = session.compiled()
        with session.lock:
            objective.reset()
            hooks.tell("on_test_begin", {})
            with session.testing():
                for i, (slice_, feeds, _) in enumerate(source.test(hooks.most("test"))):
                    programs.add(slice_.program)
                    hooks.batch_begins("test", i)
                    session.test(slice_, feeds)
                    logs = session.logs(programs)
                    hooks.batch_ends("test", i, logs)
                    if self.stop_evaluating:
                        break
            hooks.pass_ends("test")
            logs = session.ended(programs, logs)
            hooks.tell("on_test_end", logs)
            return logs

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callbacks = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss, or [loss, metrics …], in inference, of arrays, or of an iterable of batches as in `fit`. Keras:
        Model.evaluate.

        batch_size is how many rows on_test_batch_end hears of at once; it has no effect without such a callback, or
        steps: as many batches are used.
        """
        batch_rows(batch_size)
        steps, aloud = batches.checked_steps("steps", steps), shown("verbose", verbose, 0)
        return_dict = flag("return_dict", return_dict)
        hooks = CallbackList(callbacks)
        source = batches.source(batches.Pass(self.session, batch_size), (x, y, sample_weight), steps)
        hooks.begin(self, verbose=int(aloud > 0), epochs=1, steps=source.steps)
        logs = self._test(source, hooks)
        if aloud:
            say(describe(logs))
        return _results(logs, return_dict, self.session.compiled()[1].first)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """As evaluate. Keras: Model.test_on_batch."""
        return self.evaluate(x, y, sample_weight=sample_weight, return_dict=return_dict)

    # -- statistics -------------------------------------------------------------------------------------------

    def recalibrate_batch_norm(self, x: Any) -> None:
        """Batch norm's moving averages become the mean and variance, exact and biased, over all rows of x.

        In one pass with all rows as one batch, dropout and noise off, so that each layer's statistics are those of what
        it will read in inference; memory: the activations of all rows. Frozen layers stay as they are. ShapeError.
        """
        self.session.recalibrate(self.session.feeding.inputs(x))

    # -- files --------------------------------------------------------------------------------------------

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **options: Any) -> None:
        """Write the model, how it was compiled and where training stands: see load_model. Keras: Model.save.

        Its name ends in .fastdl or .safetensors, which that is; or in .keras (needs h5py), for Keras 3 too, which an
        open binary file is written as. include_optimizer=False leaves out how it was compiled. ValueError for other
        endings, and for what the file could not hold; OSError leaves the old file.
        """
        saving.save(self, filepath, overwrite, zipped, **options)

    def save_weights(self, filepath: str | Path, overwrite: bool = True, **options: Any) -> None:
        """Write the weights alone; layers may be of one's own. Keras: Model.save_weights.

        A .fastdl file, or .weights.h5 as Keras's (needs h5py), without those of objects_to_skip, a list of layers.
        """
        saving.save_weights(self, filepath, overwrite, **options)

    def load_weights(self, filepath: str | Path, skip_mismatch: bool = False, **options: Any) -> None:
        """Copy in what `save_weights` or `save` wrote, or Keras's, all or none. ModelFileError. Keras:
        Model.load_weights. Of Keras's files alone, skip_mismatch: layers that do not fit stay as they are, with a
        warning; and objects_to_skip as in `save_weights`.
        """
        saving.load_weights(self, filepath, skip_mismatch, **options)

    def to_json(self) -> str:
        """The layers and their settings, for models.model_from_json. Keras: Model.to_json."""
        return saving.to_json(self)

    def __getstate__(self) -> dict[str, Any]:
        """All but what is made again when it is needed: for pickle and copy.deepcopy."""
        made_again = "_graph", "_others", "_called"
        return {name: value for name, value in vars(self).items() if name not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._graph = self._called = None
        self._others = {}

    # -- export -------------------------------------------------------------------------------------------

    def export(
        self,
        path: str | Path,
        format: str = "onnx",
        *,
        fuse: bool = True,
        verify: Any = None,
        class_names: Sequence[str] | None = None,
    ) -> FusionReport:
        """Write the model as ONNX, folded and proven; returns the report.

        fuse=False writes the plain graph. verify: samples to prove it on, beside random ones. class_names, the model's
        own if None, go into the file's metadata: one a column, or two for a sigmoid, the name of 0 first. FusionError
        if the folded graph does not compute the same: then nothing is written. NotImplementedError for another of
        Keras's formats. While another thread trains the model it waits for the end of that, as save and predict do.
        """
        from fastdl.models.exporting import export

        return export(self, path, format, fuse, verify, class_names)


def _results(logs: dict[str, float], return_dict: bool, first: Sequence[str]) -> Any:
    """The logs, or their values: of the names that come first, and then by name, as in Keras."""
    if return_dict:
        return logs
    names = [name for name in dict.fromkeys(first) if name in logs]
    values = [logs[name] for name in [*names, *sorted(logs.keys() - set(names))]]
    return values if len(values) > 1 else values[0]

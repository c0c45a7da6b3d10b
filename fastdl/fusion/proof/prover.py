"""The proof: plain and fused graphs against the float64 truth, with onnxruntime's optimiser on and off.

A fusion passes when its error is at most max(4 × the plain graph's own error, a floor of about 8 ulp of the output's
largest magnitude). The floor rises, to 4 × itself at most, to 4 × what rounding the inputs to their own type moves the
outputs by, and to what rounding the fused graph's own sums may move them by (rounding.py): no sum in that type is
better. Errors are pooled over all random batches, and apart from them over the caller's samples; columns are looked at
one by one too, so that a large one hides nothing in a small one.

A truth that the plain graph itself is far from is not trusted alone: then the fused graph must also be as near to the
plain one as that is to itself, optimised or on inputs that are rounded otherwise.

What a proof may take is its budget. Two batches are always run; more of them while the budget lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import process_time
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto

from fastdl.base.arrays import Array
from fastdl.errors import FusionError
from fastdl.fusion.files.model_file import ModelSource, read_model
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.graph.weights import AnyModel, Lean
from fastdl.fusion.proof.feeds import Feeder, Samples
from fastdl.fusion.proof.result import Proof
from fastdl.fusion.proof.tally import FACTOR, FLOORS, INPUTS, Output, Tally, Tie, label_flips
from fastdl.fusion.proof.ties import Decision, decisions
from fastdl.fusion.proof.truth import NoTruth, Truth
from fastdl.fusion.runtime.bounds import bounded, given_bytes, limits
from fastdl.fusion.runtime.runs import Outputs, Run, expand, line, runner
from fastdl.fusion.runtime.session import Feed

SECONDS = 10.0  # of processor time, unless the caller says otherwise
NEEDED = 10.0  # times the budget: what the batches may take that no proof is without
ROOM = 2**28  # bytes of outputs that are kept to be compared
DISTRUST = 2e-2  # relative error of the plain graph from which the truth may be what is wrong
NARROW = 10.0  # times the floor: the bar where nothing but onnxruntime evaluates the graph
RANDOM, GIVEN = "random inputs", "the given samples"


@memory_errors()
def verify(
    first: ModelSource,
    second: ModelSource,
    *,
    samples: Samples | None = None,
    tolerance: float | None = None,
    budget: float | None = None,
    limited: bool = True,
) -> Proof:
    """Prove that `second` computes what `first` does, whoever made them; the errors measured.

    Each a path, bytes or ModelProto. samples, tolerance, budget, limited: as for `fuse`. Raises FusionError when they
    differ, in their inputs and outputs too, or when it cannot be told; ModelFileError, DataError.
    """
    models = [Lean.apart(read_model(source, limited=limited)) for source in (first, second)]
    plain, other = (model.proto for model in models)
    for what, pair in (("inputs", (_inputs(plain), _inputs(other))),
                       ("outputs", (list(plain.graph.output), list(other.graph.output)))):  # fmt: skip
        one, two = ([_signature(info) for info in infos] for infos in pair)
        if one != two:
            raise FusionError(f"the {what} differ: {', '.join(one)} in one, {', '.join(two)} in the other")
    args = samples, tolerance, budget
    proof: Proof = bounded(prove, models, *args, given=given_bytes(samples), limited=limited)
    return proof


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    stored = {t.name for t in model.graph.initializer}
    return [info for info in model.graph.input if info.name not in stored]


def _signature(info: ValueInfoProto) -> str:
    """Name and element type: what a caller relies on. Shapes are compared when the graphs run."""
    kind = info.type.WhichOneof("value") or "nothing"
    element = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type) if kind == "tensor_type" else kind
    return f"{info.name!r} ({element.lower()})"


def prove(
    plain: AnyModel,
    fused: AnyModel,
    samples: Samples | None = None,
    tolerance: float | None = None,
    budget: float | None = None,
) -> Proof:
    """Run both graphs and return the measured errors.

    `tolerance`: largest relative error to accept, in place of the bar above. budget: as for `fuse`. Raises FusionError
    when the fused graph is not as exact, or when there is no way to tell.
    """
    return Prover(plain, samples, tolerance, budget).prove(GraphIndex(fused), lambda: Lean.of(fused))


class Unprovable(FusionError):
    """The plain graph itself is why there is no proof, whatever is folded."""


@dataclass
class _Batch:
    """One batch, and what it ought to give and the graphs do give for it, optimised and not (`…_off`)."""

    group: str
    feed: Feed
    plain: Outputs
    scores: Sequence[Any] = ()
    want: Outputs | None = None  # None where there is no float64 truth
    places: Sequence[int] = ()  # of each output of the graph, the position of its first array
    plain_off: Outputs = field(default_factory=list)
    fused: Outputs = field(default_factory=list)
    fused_off: Outputs = field(default_factory=list)

    def outputs(self, truth: bool) -> list[Output]:
        """One output after the other. Without a truth, the plain graph as it stands is taken for it."""
        want = self.want if truth and self.want is not None else self.plain_off
        return [Output(*each) for each in
                zip(want, self.plain, self.plain_off, self.fused, self.fused_off, strict=True)]  # fmt: skip


class Prover:
    """Proves one fused graph after another to compute what `plain` does; what `plain` gives is computed once."""

    def __init__(
        self,
        plain: AnyModel,
        samples: Samples | None = None,
        tolerance: float | None = None,
        budget: float | None = None,
        index: GraphIndex | None = None,
    ) -> None:
        """index: of the plain graph, unchanged."""
        self._plain, self._samples, self._tolerance = plain, samples, tolerance
        self._index = index or GraphIndex(plain)
        self._names = [output.name for output in Lean.of(plain).proto.graph.output]
        self._feeder = Feeder(plain, self._index)
        # Unless stated, with room for what the child process may take in which a costly small graph runs
        most = 0.6 * limits(self._index.bytes, given_bytes(samples)).seconds
        self._seconds = min(SECONDS, most) if budget is None else budget
        self._start = process_time()
        self._later = 0.0  # seconds that runs which are still to come are told to take
        self._batches: list[_Batch] = []
        self._scores: list[str] | None = None
        self._truth: Truth | None = None
        self._proof = Proof()  # what is told of every proof
        self._moved: dict[str, list[float]] = {}
        self._lost: dict[str, list[float]] = {}  # the same by the rounding of the fused graph's sums
        self._fused: Lean | None = None

    def prove(self, index: GraphIndex, write: Callable[[], Lean]) -> Proof:
        """The errors of one. Raises FusionError where they are too large, or where there is no way to tell.

        index: of the fused graph; write: gives it, once the plain graph has run, which needs the room.
        """
        decided = decisions(self._names, self._index, index)
        scores = [decision.scores for decision in decided.values()]
        if self._scores != scores:
            try:
                self._run_plain(scores)
            except FusionError as error:
                raise Unprovable(str(error)) from error
            self._scores = scores
        proof = replace(self._proof)
        fused = self._fused = write()
        self._lost.clear()
        Lean.of(self._plain).release()  # it has run, and is rarely needed again
        for optimise in (True, False):  # one session at a time: each may hold the weights again
            run = runner(fused, optimise)
            for batch in self._batches:
                try:
                    outputs = run(batch.feed)
                except MemoryError:
                    raise
                except Exception as error:
                    raise FusionError(f"the fused graph does not run: {line(error)}") from error
                if optimise:
                    batch.fused = outputs
                else:
                    batch.fused_off = outputs
            del run
        proof.samples = sum(rows_of(batch.feed) for batch in self._batches)
        for group in (RANDOM, GIVEN):
            if chosen := [batch for batch in self._batches if batch.group == group]:
                self._judge(group, chosen, proof, decided)
        return proof

    # --- what the plain graph gives ----------------------------------------------------------------

    def _run_plain(self, scores: list[str]) -> None:
        self._scores, self._batches, self._moved, self._proof = None, [], {}, Proof()
        run = runner(self._plain, True)
        try:
            self._truth = Truth(self._plain, scores, index=self._index, tick=self._tick)
        except NoTruth:
            self._truth = None
        drawn = self._drawn()
        given = [] if self._samples is None else [(GIVEN, feed) for feed in self._feeder.samples(self._samples)]
        # The two that every proof has, then what the caller gives, then the rest.
        self._take(run, [*drawn[:2], *given, *drawn[2:]], needed=max(2, len(drawn[:2]) + bool(given)))
        del run
        run = runner(self._plain, False)
        for batch in self._batches:
            batch.plain_off = run(batch.feed)
        if self._truth is None:
            self._proof.float32_operators = ["all"]
        elif self._truth.narrow:
            self._proof.float32_operators = sorted(self._truth.narrow)

    def _drawn(self) -> list[tuple[str, Feed]]:
        """Random feeds; none when the plain graph takes samples alone."""
        try:
            return [(RANDOM, feed) for feed in self._feeder.random()]
        except FusionError:
            if self._samples is None:
                raise
            return []

    def _take(self, run: Run, feeds: Sequence[tuple[str, Feed]], needed: int) -> None:
        """Run the plain graph and the truth on one batch after another, until the budget ends."""
        took: list[tuple[int, float]] = []  # rows, and seconds that they take in all
        taken = left = 0
        why = ""
        for position, (group, feed) in enumerate(feeds):
            rows = rows_of(feed)
            if position >= needed:
                late = process_time() - self._start + self._later + _told(took, rows) > self._seconds
                if late or taken > ROOM:
                    why = f"the budget of {self._seconds:g} s" if late else f"more than {ROOM >> 20} MB of outputs"
                    left += rows
                    continue
            start = process_time()
            try:
                plain = run(feed)
            except MemoryError:
                raise
            except Exception as error:
                if group == RANDOM and self._samples is not None:
                    continue
                hint = ", so give samples" if group == RANDOM else ""
                raise FusionError(f"the graph does not run on {group}{hint}: {line(error)}") from error
            later = 3 * (process_time() - start)  # three sessions are still to come
            self._batches.append(self._with_truth(_Batch(group, feed, plain)))
            taken += 3 * sum(array.nbytes for array in plain)
            took.append((rows, process_time() - start + later))
            self._later += later
        if why:
            self._proof.cut = f"{left} rows were left out: they would take {why}"

    def _with_truth(self, batch: _Batch) -> _Batch:
        if self._truth is not None:
            try:
                given = self._truth(batch.feed)
            except NoTruth:
                self._truth = None
                return batch
            names = len(self._names)
            batch.want, batch.scores = expand(given[:names]), given[names:]
            batch.places = [len(expand(given[:position])) for position in range(names)]
        return batch

    def _tick(self) -> None:
        if process_time() - self._start > NEEDED * self._seconds:
            raise FusionError(
                f"the proof takes more than {NEEDED * self._seconds:.0f} s of processor time, {NEEDED:.0f} times its "
                f"budget of {self._seconds:g} s, for the two batches that it needs: a larger budget lifts that"
            )

    # --- what the fused graph may be off by --------------------------------------------------------

    def _judge(self, group: str, chosen: list[_Batch], proof: Proof, decided: dict[int, Decision]) -> None:
        tallies = [Tally(y.dtype) for y in chosen[0].plain]
        for batch in chosen:
            proof.label_flips += sum(map(label_flips, batch.plain, batch.fused))
            ties = self._ties(batch, decided)
            for position, (tally, output) in enumerate(
                zip(tallies, batch.outputs(self._truth is not None), strict=True)
            ):
                tally.add(output, proof, ties.get(position))
        for position, tally in enumerate(tallies):
            own, off = tally.off()
            bar = self._bar(group, position, tally, own, off)
            if tally.odd:
                raise FusionError(f"on {group} the fused graph is wrong: {tally.odd}")
            if not off <= bar:
                raise FusionError(
                    f"on {group} the fused graph is off by {off:.2e} relative, more than {bar:.2e} "
                    f"(the unfused graph is off by {own:.2e})"
                )
            if self._tolerance is None and (column := tally.worst_column()) is not None:
                raise FusionError(
                    f"on {group} column {column[0]} of the fused graph is off by {column[1]:.2e} relative, "
                    f"more than {column[2]:.2e}"
                )
            proof.max_rel_error = max(proof.max_rel_error, off)
            proof.max_abs_error = max(proof.max_abs_error, tally.fused)
            proof.unfused_rel_error = max(proof.unfused_rel_error, own)
            if self._tolerance is None and own > DISTRUST and tally.dtype.kind == "f":
                self._require_near(group, position, chosen)

    def _bar(self, group: str, position: int, tally: Tally, own: float, off: float) -> float:
        if self._tolerance is not None:
            return self._tolerance
        bar = max(FACTOR * own, tally.floor * (NARROW if self._truth is None else 1))
        if off <= bar or off > INPUTS * tally.floor:
            return bar
        least = max(FACTOR * self._by_inputs(group)[position], self._by_sums(group)[position])
        return max(bar, min(least / (tally.scale or 1.0), INPUTS * tally.floor))

    def _by_inputs(self, group: str) -> list[float]:
        """How far rounding the inputs moves each output of the truth, at most: 0 where there is no truth."""
        if group not in self._moved:
            worst: list[float] = []
            for batch in (batch for batch in self._batches if batch.group == group):
                if self._truth is None or batch.want is None:
                    return [0.0] * len(batch.plain)
                moved = expand(self._truth(_rounded(batch.feed))[: len(self._names)])
                parts = [_distance(a, b) for a, b in zip(moved, batch.want, strict=True)]
                worst = [max(pair) for pair in zip(worst or parts, parts, strict=True)]
            self._moved[group] = worst
        return self._moved[group]

    def _by_sums(self, group: str) -> list[float]:
        """How far rounding its sums may move each output of the fused graph: 0 where there is no truth of it."""
        if group not in self._lost and self._fused is not None:
            self._lost[group] = [0.0] * len(self._batches[0].plain)
            try:
                exact, rounded = (
                    Truth(self._fused, tick=self._tick, rounds=rng) for rng in (None, np.random.default_rng(2))
                )
                for batch in (batch for batch in self._batches if batch.group == group):
                    pairs = zip(expand(rounded(batch.feed)), expand(exact(batch.feed)), strict=True)
                    parts = [_distance(one, other) for one, other in pairs]
                    self._lost[group] = [max(pair) for pair in zip(self._lost[group], parts, strict=True)]
            except NoTruth:
                pass
        return self._lost[group]

    def _require_near(self, group: str, position: int, chosen: list[_Batch]) -> None:
        """The fused graph must be as near to the plain one as that is to itself, rounded otherwise."""
        run = runner(self._plain, False)
        scale = noise = off = 0.0
        for batch in chosen:
            base = batch.plain_off[position]
            moved = {name: _narrowed(value, batch.feed[name]) for name, value in _rounded(batch.feed).items()}
            noise = max(noise, _distance(batch.plain[position], base), _distance(run(moved)[position], base))
            off = max(off, *(_distance(y[position], base) for y in (batch.fused, batch.fused_off)))
            scale = max(scale, float(np.abs(base[np.isfinite(base)]).max(initial=0.0)))
        floor = FLOORS.get(chosen[0].plain[position].dtype, 0.0)
        bar = max(FACTOR * noise, NARROW * floor * scale)
        if off > bar:
            raise FusionError(
                f"on {group} the fused graph is off by {off / (scale or 1):.2e} relative to the unfused one, more than "
                f"{bar / (scale or 1):.2e}; the float64 truth of this graph is not one: the unfused graph is far off it"
            )

    def _ties(self, batch: _Batch, decided: dict[int, Decision]) -> dict[int, Tie]:
        """For outputs that are decided by scores, what labels may differ."""
        ties: dict[int, Tie] = {}
        if batch.want is None:
            return ties
        for (position, decision), scores in zip(decided.items(), batch.scores, strict=True):
            reach = 2 * FLOORS.get(decision.dtype, 0.0)
            ties[batch.places[position]] = partial(decision.tied, np.asarray(scores), reach=reach)
        return ties


def rows_of(feed: Feed) -> int:
    """How many rows a feed has: 1 where its inputs are single numbers."""
    return next((array.shape[0] for array in feed.values() if array.ndim), 1)


def _told(took: Sequence[tuple[int, float]], rows: int) -> float:
    """Seconds that a batch of so many rows will take, by what the last two of unequal size took."""
    *before, (last, seconds) = took
    other = next(((n, s) for n, s in reversed(before) if n != last), (0, 0.0))
    return max(0.0, seconds + (seconds - other[1]) / ((last - other[0]) or 1) * (rows - last))


def _rounded(feed: Feed) -> Feed:
    """The inputs in float64, each off by up to half a unit of its own type's last place."""
    rng = np.random.default_rng(1)
    return {
        name: value.astype(np.float64) * (1 + np.finfo(value.dtype).eps / 2 * rng.uniform(-1, 1, value.shape))
        if value.dtype.kind == "f"
        else value
        for name, value in feed.items()
    }


def _narrowed(value: Array, like: Array) -> Array:
    """In the type that the graph takes, one unit of the last place beside where it was rounded to the same."""
    narrow = value.astype(like.dtype)
    if like.dtype.kind != "f":
        return narrow
    beside = np.nextafter(like, np.where(value > like, np.inf, -np.inf).astype(like.dtype))
    return np.where(narrow == like, beside, narrow)


def _distance(one: Array, other: Array) -> float:
    if one.dtype.kind != "f" or one.shape != other.shape:
        return 0.0
    with np.errstate(invalid="ignore"):
        off = np.abs(one.astype(np.float64) - other)
    return float(off[np.isfinite(off)].max(initial=0.0))

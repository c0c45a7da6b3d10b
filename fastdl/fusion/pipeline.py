"""The folds in order, run until none applies, and `fuse`, which proves what they did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType

import onnx
from onnx import ModelProto

from fastdl.base.arrays import Array
from fastdl.errors import FusionError
from fastdl.fusion.files.model_file import ModelSource, read_model, set_metadata
from fastdl.fusion.folds import RULES
from fastdl.fusion.folds.constant import store_all
from fastdl.fusion.folds.rule import Fold, Refusal, Rule
from fastdl.fusion.graph.again import infer_again
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.memory import copied, memory_errors
from fastdl.fusion.graph.node import Refused
from fastdl.fusion.graph.weights import Lean
from fastdl.fusion.heads import Head, choose_head
from fastdl.fusion.proof.feeds import Feeder, Samples
from fastdl.fusion.proof.measure import measure as measure_latency
from fastdl.fusion.proof.prover import Prover, Unprovable
from fastdl.fusion.proof.result import Proof
from fastdl.fusion.report.report import FusionReport
from fastdl.fusion.runtime.bounds import bounded, given_bytes

METADATA_KEY = "fastdl.fusion"
Kept = dict[tuple[Rule, str], str]  # folds that are not to be done: by rule and node, why
OLDEST_OPSET = 7  # before it, broadcasting and BN's modes were stated otherwise; onnxruntime starts here too


@memory_errors()
def fuse(
    source: ModelSource,
    *,
    output: Head | None = None,
    samples: Samples | None = None,
    tolerance: float | None = None,
    verify: bool = True,
    measure: bool = True,
    keep: Collection[str] = (),
    budget: float | None = None,
    limited: bool = True,
) -> tuple[ModelProto, FusionReport]:
    """A smaller model that computes the same, and the report of it. The source is not changed.

    source: path, bytes or ModelProto. samples: array, or mapping of input name to array, to prove on as well.
    output: "probabilities", "logits" or "labels", to be given under the names of the outputs (see choose_head).
    tolerance: largest relative error to accept, not max(4 × the unfused graph's own, 1e-6 for float32).
    keep: labels of nodes that are not to be folded forward (an input's standardisation, say).
    budget: seconds of processor time (default: 10) after which the proof takes no more rows than the two batches it
    needs, which may take ten times as long; the report says what was left out.
    limited: a graph that may cost more than its size tells is run in a child process with limits of memory and
    time, in proportion to the file, and one of more than 10,000 nodes is refused; False for one that you trust.
    Names, dynamic batch, doc strings, metadata, opset, IR and model version are kept. A graph in which
    nothing can be folded comes back as it was. Raises ModelFileError (unreadable), FusionError (not
    proven, or an output that the model cannot give), DataError (samples that do not fit).
    """

    def again() -> dict[str, Array]:
        return Lean.apart(read_model(source, limited=limited)).weights

    plain = Lean.apart(read_model(source, limited=limited), again)
    args = (output, samples, tolerance, verify, measure, keep, budget)
    runs = limited and (verify or measure)
    fused, report = bounded(_fuse, [plain], *args, given=given_bytes(samples), limited=runs)
    del plain  # its weights, before those of the fused model are copied into it
    return fused.joined(), report


def _fuse(
    plain: Lean,
    output: Head | None,
    samples: Samples | None,
    tolerance: float | None,
    verify: bool,
    measure: bool,
    keep: Collection[str],
    budget: float | None,
) -> tuple[Lean, FusionReport]:
    wanted = plain if output is None else choose_head(plain, output)
    index = GraphIndex(wanted)
    if verify and samples is not None:
        next(Feeder(wanted, index).samples(samples))  # those that do not fit are refused, whether or not anything folds
    proof = None
    if verify:
        prover = partial(Prover, wanted, samples, tolerance, budget, index)
        proof, folded = _prove_or_retreat(wanted, index, prover, keep)
    else:
        folded = _fold(wanted, _kept(keep), index)
    fused = folded.write()
    report = FusionReport.of(index if wanted is plain else GraphIndex(plain), GraphIndex(fused))
    report.folds, report.refusals, report.proof = folded.folds, folded.refusals, proof
    if not folded.folds:
        return fused, report
    if measure:
        report.latency = measure_latency(plain, fused, samples)
    set_metadata(fused.proto, METADATA_KEY, report.digest())
    report.bytes_after = fused.byte_size()
    return fused, report


@dataclass
class _Folded:
    """An index in which all is folded; what was folded, and of the last round what was refused."""

    index: GraphIndex
    done: list[tuple[Rule, Fold]]
    refusals: list[Refusal]

    @property
    def folds(self) -> list[Fold]:
        return [fold for _, fold in self.done]

    @cached_property
    def _lean(self) -> Lean:
        if self.done:
            return self.index.to_model()
        unchanged = self.index.lean  # to the byte: there is nothing to prove
        return Lean(copied(unchanged.proto), dict(unchanged.weights))

    def write(self) -> Lean:
        """The folded model, computed when it is first asked for: until then its weights take no room."""
        return self._lean


def _prove_or_retreat(
    plain: Lean, index: GraphIndex, make: Callable[[], Prover], keep: Collection[str]
) -> tuple[Proof | None, _Folded]:
    """Prove all folds, or else leave out lossy ones, from the input on, until the rest is proven.

    A BN in front of a dense layer centres values that lie far from zero (a year, a temperature in kelvin);
    folded, the dense layer sums them uncentred and may lose digits. Only measuring tells whether it does.
    Each time that it fails, twice as many are left out. The proof is None where nothing was folded. Raises
    FusionError when no such choice is proven.
    """
    kept = _kept(keep)
    order = {node.label: position for position, node in enumerate(index.nodes)}
    prover: Prover | None = None
    count = 1
    while True:
        folded = _fold(plain, kept, index)
        if not folded.folds:
            return None, folded
        prover = prover or make()
        try:
            return prover.prove(folded.index, folded.write), folded
        except FusionError as error:
            folds = folded.done
            lossy = sorted((each for each in folds if each[0].lossy), key=lambda each: order.get(each[1].node, 0))
            if isinstance(error, Unprovable):  # leaving out some is no help
                count = len(folds)
            if not lossy or (len(lossy) < len(folds) and count == len(folds)):
                raise
            kept |= {(rule, fold.node): f"folded, it failed the proof: {error}" for rule, fold in lossy[:count]}
            count *= 2


def _kept(labels: Collection[str]) -> Kept:
    return {(rule, label): "it is kept, as was asked" for rule in RULES if rule.lossy for label in labels}


def fold_all(
    model: ModelProto,
    kept: Mapping[tuple[Rule, str], str] = MappingProxyType({}),
    like: GraphIndex | None = None,
) -> tuple[ModelProto, list[Fold], list[Refusal]]:
    """A folded copy, unproven, with what was folded and, of the last round, what was refused.

    kept: rules and labels of nodes that are not to be folded so, each with the reason. like: an index of the
    model, which is not changed.
    """
    folded = _fold(Lean.of(model), kept, like)
    return folded.write().joined(), folded.folds, folded.refusals


def _fold(model: Lean, kept: Mapping[tuple[Rule, str], str], like: GraphIndex | None) -> _Folded:
    index = GraphIndex(model, like)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= index.opset <= newest:
        reason = f"opset {index.opset} is not one of {OLDEST_OPSET} to {newest}"
        return _Folded(index, [], [Refusal("(graph)", "all", reason)])
    known = {node.label for node in index.nodes}
    done: list[tuple[Rule, Fold]] = []
    while True:
        refusals: list[Refusal] = []
        before = len(done)
        for rule in RULES:
            start = len(done)
            for node in index.nodes[::-1] if rule.forward else [*index.nodes]:
                if node.removed:
                    continue
                label = node.label
                if kept and (rule, label) in kept:
                    refusals.append(Refusal(label, rule.name, kept[rule, label]))
                    continue
                try:
                    into = rule.fold(index, node)
                except Refused as reason:
                    refusals.append(Refusal(label, rule.name, str(reason)))
                    continue
                if into is not None:
                    done.append((rule, Fold(rule.name, label, into)))
            if rule.shapes and len(done) > start:
                infer_again(index)
        if len(done) == before:
            break
    refusals = [refusal for refusal in refusals if refusal.node in known]  # of the file's own nodes
    if done:
        index.prune()
        store_all(index)
    index.forget()
    return _Folded(index, done, refusals)

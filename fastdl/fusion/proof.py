"""The proof: plain and fused graphs against the float64 truth, with onnxruntime's optimiser on and off.

A fusion passes when its error is at most max(4 × the plain graph's own error, a floor of about 8 ulp of the
output's largest magnitude). Errors are pooled over all random batches, and apart from them over the caller's
samples, so that one lucky row of the plain graph does not set the bar.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, ValueInfoProto

from ..errors import FusionError
from .bounds import bounded, given_bytes
from .feeds import Feed, Feeder, Samples
from .index import subgraphs
from .labels import labels_of
from .model_file import ModelSource, read_model
from .report import Proof
from .session import load_onnxruntime, open_session
from .ties import Decision, Flags, decisions
from .truth import Truth

FACTOR = 4.0
FLOORS = {np.dtype(np.float16): 8e-3, np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
PATIENCE = 5.0  # seconds for a graph that loops, which may never end
ULP_REACH = 2.0**-10  # an ulp is taken at no less than this share of the output's largest magnitude

Outputs = list[npt.NDArray[Any]]
Run = Callable[[Feed], Outputs]
Tie = Callable[[npt.NDArray[Any], npt.NDArray[Any]], Flags]  # of the labels wanted and given


@dataclass
class _Tally:
    """Pooled over batches, for one output: largest magnitude, and largest absolute errors."""

    dtype: np.dtype[Any]
    scale: float = 0.0
    plain: float = 0.0
    fused: float = 0.0


def verify(
    first: ModelSource,
    second: ModelSource,
    *,
    samples: Samples | None = None,
    tolerance: float | None = None,
    limited: bool = True,
) -> Proof:
    """Prove that `second` computes what `first` does, whoever made them; the errors measured.

    Each a path, bytes or ModelProto. samples, tolerance, limited: as for `fuse`. Raises FusionError when they
    differ, in their inputs and outputs too, or when it cannot be told; ModelFileError, DataError.
    """
    plain, other = read_model(first), read_model(second)
    for what, pair in (("inputs", (_inputs(plain), _inputs(other))),
                       ("outputs", (list(plain.graph.output), list(other.graph.output)))):  # fmt: skip
        one, two = ([_signature(info) for info in infos] for infos in pair)
        if one != two:
            raise FusionError(f"the {what} differ: {', '.join(one)} in one, {', '.join(two)} in the other")
    args = samples, tolerance
    proof: Proof = bounded(prove, [plain, other], *args, given=given_bytes(samples), limited=limited)
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
    plain: ModelProto, fused: ModelProto, samples: Samples | None = None, tolerance: float | None = None
) -> Proof:
    """Run both graphs and return the measured errors.

    `tolerance`: largest relative error to accept, in place of the bar above. Raises FusionError when the
    fused graph is not as exact, or when there is no way to tell.
    """
    feeder = Feeder(plain)
    runs = [_runner(model, optimise) for model in (plain, fused) for optimise in (True, False)]
    proof = Proof()
    drawn = _drawable(feeder, runs[0], samples is None)
    groups: list[tuple[str, list[Feed]]] = [("random inputs", drawn)]
    if samples is not None:
        groups.append(("the given samples", list(feeder.samples(samples))))
        _require_runs(runs[0], groups[-1][1], "the given samples")
    truth, decided = _truth(plain, groups[0 if drawn else -1][1][0], runs[1], tolerance, decisions(plain, fused))
    for group, feeds in groups:
        _prove_group(group, feeds, runs, truth, tolerance, proof, decided)
    return proof


def _drawable(feeder: Feeder, run: Run, needed: bool) -> list[Feed]:
    """Random feeds, or none when the plain graph cannot run on them and the caller gave samples instead."""
    try:
        feeds = list(feeder.random())
        _require_runs(run, feeds, "random inputs, so give samples")
    except FusionError:
        if needed:
            raise
        return []
    return feeds


def _require_runs(run: Run, feeds: list[Feed], group: str) -> None:
    for feed in feeds:
        try:
            run(feed)
        except Exception as error:
            raise FusionError(f"the graph does not run on {group}: {_line(error)}") from error


def _truth(
    plain: ModelProto, feed: Feed, unoptimised: Run, tolerance: float | None, decided: dict[int, Decision]
) -> tuple[Callable[[Feed], list[Any]], dict[int, Decision]]:
    """The float64 evaluation, if it works on `feed`; else, if the caller set a tolerance, the plain graph.

    The first gives the scores of the decisions after its outputs; the second gives none, so none are left.
    """
    try:
        truth = Truth(plain, [decision.scores for decision in decided.values()])
        truth(feed)
    except Exception as error:
        if tolerance is None:
            reason = f"no float64 truth for this graph ({_line(error)}): set a tolerance to compare without"
            raise FusionError(reason) from error
        return unoptimised, {}
    return truth, decided


def _prove_group(
    group: str,
    feeds: list[Feed],
    runs: list[Run],
    truth: Callable[[Feed], list[Any]],
    tolerance: float | None,
    proof: Proof,
    decided: dict[int, Decision],
) -> None:
    tallies: list[_Tally] = []
    for feed in feeds:
        try:
            plain, plain_off, fused, fused_off = (run(feed) for run in runs)
        except Exception as error:
            raise FusionError(f"the fused graph does not run on {group}: {_line(error)}") from error
        expected, ties = _with_ties(truth(feed), decided)
        tallies = tallies or [_Tally(y.dtype) for y in plain]
        proof.samples += next(iter(feed.values())).shape[0] if feed else 1
        proof.label_flips += sum(map(label_flips, plain, fused))
        results = zip(tallies, expected, plain, plain_off, fused, fused_off, strict=True)
        for position, (tally, want, *got) in enumerate(results):
            _add(tally, want, got, proof, ties.get(position))
    for tally in tallies:
        scale = tally.scale or 1.0
        own, off = tally.plain / scale, tally.fused / scale
        bar = max(FACTOR * own, FLOORS.get(tally.dtype, 0.0)) if tolerance is None else tolerance
        if not off <= bar:
            raise FusionError(
                f"on {group} the fused graph is off by {off:.2e} relative, more than {bar:.2e} "
                f"(the unfused graph is off by {own:.2e})"
            )
        proof.max_rel_error = max(proof.max_rel_error, off)
        proof.max_abs_error = max(proof.max_abs_error, tally.fused)
        proof.unfused_rel_error = max(proof.unfused_rel_error, own)


def _with_ties(given: list[Any], decided: dict[int, Decision]) -> tuple[Outputs, dict[int, Tie]]:
    """The outputs, and for those that are decided by scores, which come after them, what labels may differ."""
    ties: dict[int, Tie] = {}
    outputs = given[: len(given) - len(decided)]
    for (position, decision), scores in zip(decided.items(), given[len(outputs) :], strict=True):
        reach = 2 * FLOORS.get(decision.dtype, 0.0)
        ties[len(expand(outputs[:position]))] = partial(decision.tied, np.asarray(scores), reach=reach)
    return expand(outputs), ties


def _add(tally: _Tally, want: npt.NDArray[Any], got: Outputs, proof: Proof, tied: Tie | None) -> None:
    if any(y.shape != want.shape for y in got):
        raise FusionError(f"shapes differ: {want.shape} expected, {[y.shape for y in got]} given")
    if want.size == 0:
        return
    if tally.dtype.kind != "f":  # labels, counts: the error is the share that differs
        tally.scale = 1.0
        shares = [float(np.mean((y != want) & ~(tied(want, y) if tied else False))) for y in got]
        tally.plain, tally.fused = max(tally.plain, *shares[:2]), max(tally.fused, *shares[2:])
        return
    finite = np.isfinite(want)
    largest = float(np.abs(want[finite]).max(initial=0.0))
    tally.scale = max(tally.scale, largest)
    # Where the plain graph itself overflows there is nothing to be as exact as.
    usable = finite & np.isfinite(got[0]) & np.isfinite(got[1])
    ulp = np.spacing(np.maximum(np.abs(want[usable]), largest * ULP_REACH).astype(tally.dtype))
    for position, y in enumerate(got):
        off = np.abs(y[usable].astype(np.float64) - want[usable])
        worst = float(off.max(initial=0.0))
        ulps = float((off / ulp).max(initial=0.0))
        if position < 2:
            tally.plain = max(tally.plain, worst)
            proof.unfused_ulp_error = max(proof.unfused_ulp_error, ulps)
            continue
        odd = ~finite & ~((y == got[0]) | (np.isnan(y) & np.isnan(got[0])))
        worst = np.inf if odd.any() or np.isnan(worst) else worst
        tally.fused = max(tally.fused, worst)
        proof.max_ulp_error = max(proof.max_ulp_error, ulps)


def label_flips(plain: npt.NDArray[Any], fused: npt.NDArray[Any]) -> int:
    """Rows whose label differs; 0 where the output has no labels."""
    one, other = labels_of(plain), labels_of(fused)
    return 0 if one is None or other is None else int((one != other).sum())


def _runner(model: ModelProto, optimise: bool) -> Run:
    ort = load_onnxruntime()

    try:
        session = open_session(model.SerializeToString(), optimise=optimise)
    except Exception as error:
        raise FusionError(f"onnxruntime does not run the graph: {_line(error)}") from error
    if not loops(model.graph):
        return lambda feed: expand(session.run(None, feed))

    def run(feed: Feed) -> Outputs:
        options = ort.RunOptions()
        watch = threading.Timer(PATIENCE, lambda: setattr(options, "terminate", True))
        watch.start()
        try:
            return expand(session.run(None, feed, options))
        finally:
            watch.cancel()

    return run


def loops(graph: onnx.GraphProto) -> bool:
    """Whether anything in the graph may run for longer than its size tells."""
    return any(node.op_type in ("Loop", "Scan") or any(map(loops, subgraphs(node))) for node in graph.node)


def expand(outputs: Sequence[Any]) -> Outputs:
    """Outputs as arrays: of a sequence of maps (ZipMap) its keys, and its values as (rows, keys)."""
    arrays: Outputs = []
    for output in outputs:
        if isinstance(output, list) and output and isinstance(output[0], dict):
            keys = list(output[0])
            values = [[row[key] for key in keys] for row in output]
            arrays += [np.array(keys), np.array(values, np.asarray(values[0][0]).dtype if keys else np.float32)]
        elif isinstance(output, list):
            arrays += expand(output)
        else:
            arrays.append(np.asarray(output))
    return arrays


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

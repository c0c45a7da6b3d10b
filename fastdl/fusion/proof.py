"""The proof: plain and fused graphs against the float64 truth, with onnxruntime's optimiser on and off.

A fusion passes when its error is at most max(4 × the plain graph's own error, a floor of about 8 ulp of the
output's largest magnitude). Errors are pooled over all random batches, and apart from them over the caller's
samples, so that one lucky row of the plain graph does not set the bar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from ..errors import FusionError
from .feeds import Feed, Feeder, Samples
from .report import Proof
from .session import open_session
from .ties import Decision, Flags, decisions
from .truth import Truth

FACTOR = 4.0
FLOORS = {np.dtype(np.float16): 8e-3, np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
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
    decided = decisions(plain, fused)
    truth = _truth(plain, groups[0 if drawn else -1][1][0], runs[1], tolerance, [d.scores for d in decided.values()])
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


def _truth(plain: ModelProto, feed: Feed, unoptimised: Run, tolerance: float | None, more: list[str]) -> Run:
    """The float64 evaluation, if it works on `feed`; else, if the caller set a tolerance, the plain graph.

    more: inner values that the float64 evaluation gives after the outputs.
    """
    try:
        truth = Truth(plain, more)
        truth(feed)
    except Exception as error:
        if tolerance is None:
            reason = f"no float64 truth for this graph ({_line(error)}): set a tolerance to compare without"
            raise FusionError(reason) from error
        return unoptimised
    return truth


def _prove_group(
    group: str,
    feeds: list[Feed],
    runs: list[Run],
    truth: Run,
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
        expected, ties = _with_ties(truth(feed), len(plain), decided)
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


def _with_ties(given: Outputs, outputs: int, decided: dict[int, Decision]) -> tuple[Outputs, dict[int, Tie]]:
    """The outputs, and for those that are decided by scores, which come after them, what labels may differ."""
    ties: dict[int, Tie] = {}
    for (position, decision), scores in zip(decided.items(), given[outputs:], strict=False):
        reach = 2 * FLOORS.get(decision.dtype, 0.0)
        ties[position] = partial(decision.tied, scores, reach=reach)
    return given[:outputs], ties


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
    """Rows whose label differs: argmax of two columns or more, > 0.5 of one, equality of integers."""
    if plain.ndim == 0:
        return 0
    if plain.dtype.kind != "f":
        return int((plain != fused).reshape(len(plain), -1).any(axis=1).sum())
    if plain.ndim != 2 or plain.shape[1] == 0:
        return 0
    if plain.shape[1] == 1:
        return int(((plain > 0.5) != (fused > 0.5)).sum())
    return int((plain.argmax(axis=1) != fused.argmax(axis=1)).sum())


def _runner(model: ModelProto, optimise: bool) -> Run:
    try:
        session = open_session(model.SerializeToString(), optimise=optimise)
    except Exception as error:
        raise FusionError(f"onnxruntime does not run the graph: {_line(error)}") from error
    return lambda feed: [np.asarray(y) for y in session.run(None, feed)]


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

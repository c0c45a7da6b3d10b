"""Thousands of odd graphs folded without the proof: none wrong, none crashes.

A fused graph is wrong where it is further from the float64 values than the plain one, by more than rounding explains;
and, where constants are not finite or overflow, if its infinities and NaN are others.
`pytest tests/fusion/test_wild.py -m slow -s` draws 6,000 and prints counts by outcome and fold.
"""

import time
from collections import Counter

import numpy as np
import pytest

from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.proof.truth import NoTruth, Truth

from .graphs import session
from .wild import Wild

FACTOR, FLOOR = 16, 2e-6  # of the plain graph's own error; relative to the output's largest value
DIGITS = 1e-4  # folds may cost digits where values lie far from zero: that is what only the proof can measure
TIE = 1e-5  # of the largest score


def float64(model, feed, names):
    """Those values of the graph in float64, by name; none where nothing evaluates the graph."""
    try:
        return dict(zip(names, Truth(model, names)(feed)[len(model.graph.output) :], strict=True))
    except NoTruth:
        return {}


def outcome(wild, fused, size):
    """What became of a folded graph, on inputs of that deviation; "wrong: …" if it computes something else."""
    feed = wild.feed(np.random.default_rng(int(size) + 2), size)
    names = [output.name for output in wild.model.graph.output]
    try:
        plain = session(wild.model).run(None, feed)
    except Exception:
        return "onnxruntime does not run the plain graph"
    deciding = {wild.scores[name][0] for name in names if name in wild.scores}
    truth = float64(wild.model, feed, [*dict.fromkeys([*names, *deciding])])
    found = "equal"
    # onnxruntime's own optimiser folds what overflows, so harsh graphs are judged without it
    for optimise in (False,) if wild.harsh else (False, True):
        other = session(wild.model, optimise).run(None, feed)
        got = session(fused, optimise).run(None, feed)
        for name, a, b, y in zip(names, plain, other, got, strict=True):
            if a.shape != y.shape or a.dtype != y.dtype:
                return f"wrong: {name!r} has shape {y.shape}, not {a.shape}"
            if a.dtype.kind == "f":
                off = _off(truth.get(name), a, b, y, wild.harsh)
            elif wild.scores[name][0] in truth or np.array_equal(a, y):
                off = _labels_off(truth, wild.scores[name], a, y, wild.harsh)
            else:
                off = "other labels, without a float64 truth"
            if off.startswith("wrong"):
                return f"{off} in {name!r}, inputs of {size:g}"
            found = off or found
    return found


def _off(want, plain, other, got, harsh):
    if harsh and not np.array_equal(plain[~np.isfinite(plain)], got[~np.isfinite(plain)], equal_nan=True):
        return "wrong: other infinities"
    known = want is not None
    want = want if known else plain.astype(np.float64)
    finite = np.isfinite(plain) & np.isfinite(want)
    scale = float(np.abs(want[finite]).max(initial=0.0))
    if scale < np.finfo(np.float32).tiny:  # nothing finite, or zeros
        return "" if np.isfinite(got[finite]).all() else "wrong: not finite"
    own, error = (
        max(float(np.abs(y.astype(np.float64) - want)[finite].max()) / scale for y in pair)
        for pair in ([plain, np.where(np.isfinite(other), other, plain)], [got])
    )
    if error <= max(FACTOR * own, FLOOR if known else 10 * FLOOR):
        return ""
    return "digits" if error <= DIGITS else f"wrong: off by {error:.1e}, the plain graph by {own:.1e}"


def _labels_off(truth, decision, plain, got, harsh):
    if np.array_equal(plain, got):
        return ""
    name, axis, bar = decision
    scores = np.asarray(truth[name])
    if not np.isfinite(scores).all():  # of scores that are not finite there is no rule, but constants tell where
        return "wrong: label of what is not finite" if harsh else "label of what is not finite"
    if bar is not None:
        behind = np.abs(scores - bar)[plain != got]
    else:
        shape = [*scores.shape]
        shape[axis] = 1
        best, taken = (np.take_along_axis(scores, labels.reshape(shape), axis) for labels in (plain, got))
        behind = np.abs(best - taken)
    return "tie" if behind.max() <= TIE * np.abs(scores).max() else "wrong: label"


def survey(seeds, harsh):
    """Counts by outcome, and by fold; the graphs that came out wrong, which are printed too."""
    counts, folded, wrong, start = Counter(), Counter(), [], time.process_time()
    for seed in seeds:
        wild = Wild(seed, harsh)
        with np.errstate(all="ignore"):
            fused, folds, _ = fold_all(wild.model)
            if not folds:
                assert fused.SerializeToString() == wild.model.SerializeToString(), seed
                counts["unchanged"] += 1
                continue
            found = [outcome(wild, fused, size) for size in ((1.0,) if harsh else (1.0, 100.0, 1e6))]
        worst = next((f for f in found if f != "equal"), "equal")
        worst = next((f for f in found if f.startswith("wrong")), worst)
        counts[worst.partition(":")[0]] += 1
        folded.update(fold.name for fold in folds)
        if worst.startswith("wrong"):
            wrong.append(f"seed {seed}: {worst} {sorted({fold.name for fold in folds})}")
    print(f"\n{dict(counts)}, {time.process_time() - start:.0f} s of processor time\n{dict(folded)}", *wrong, sep="\n")
    assert not wrong
    return counts, folded


@pytest.mark.parametrize("harsh", [False, True], ids=["mild", "harsh"])
def test_a_hundred(harsh):
    counts, folded = survey(range(100), harsh)
    assert counts["equal"] > 50
    assert len(folded) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("harsh", [False, True], ids=["mild", "harsh"])
def test_thousands(harsh):
    counts, folded = survey(range(50_000, 53_000), harsh)
    assert counts["equal"] > 1800
    assert counts["digits"] < 40
    assert len(folded) >= 12, "all folds that such graphs have"

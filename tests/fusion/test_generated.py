"""Thousands of random dense graphs: none wrong, none crashes, and nothing foldable is left.

`pytest tests/fusion/test_generated.py -m slow -s` runs 10,000 and prints how many folded wholly.
"""

import time
from collections import Counter

import numpy as np
import pytest

from fastdl.fusion import fuse
from fastdl.fusion.pipeline import fold_all

from .generated import Draw, evaluate
from .graphs import operators, session

# What a graph that is folded wholly has none of
FOLDABLE = (
    "BatchNormalization",
    "MatMul",
    "Identity",
    "Dropout",
    "Flatten",
    "Reshape",
    "Transpose",
    "Cast",
    "Neg",
    "Div",
)
ROWS = 33


def errors(model, fused, seed, dtype):
    """For each output: error of the plain graph, of the fused, and what is allowed, all relative."""
    x = np.random.default_rng(seed).normal(size=(ROWS, 6)).astype(dtype)
    values = evaluate(model, x)
    plain, got = (session(m, seed % 2 == 0).run(None, {"x": x}) for m in (model, fused))
    floor = 1e-6 if dtype == np.float32 else 1e-12
    for output, p, y in zip(model.graph.output, plain, got, strict=True):
        want = values[output.name]
        assert y.shape == want.shape
        assert y.dtype == p.dtype
        if y.dtype.kind == "i":  # a label is right where its score is the best but for rounding
            scores = values[next(n for n in model.graph.node if n.output[0] == output.name).input[0]]
            scores = np.log(scores) if (scores > 0).all() else scores
            rows = np.arange(ROWS)
            behind = scores[rows, want] - scores[rows, y]
            yield 0.0, float(behind.max()) / max(1.0, float(np.abs(scores).max())), 20 * floor
            continue
        scale = float(np.abs(want).max()) or 1.0
        own = float(np.abs(p - want).max()) / scale
        yield own, float(np.abs(y - want).max()) / scale, max(4 * own, floor)


def beyond(model, fused, seed, dtype):
    return [e for e in errors(model, fused, seed, dtype) if not e[1] <= e[2]]


def survey(seeds):
    """Counts of what became of the graphs; the test fails at the first that is wrong."""
    counts = Counter()
    for seed in seeds:
        draw = Draw(seed)
        fused, folds, refusals = fold_all(draw.model)
        assert all(r.node and r.reason for r in refusals), seed
        if beyond(draw.model, fused, seed, draw.dtype):
            # Some fold costs digits here: the proof has to leave it out.
            counts["left out by the proof"] += 1
            x = np.random.default_rng(seed).normal(size=(ROWS, 6))
            fused, report = fuse(draw.model, samples=x, measure=False)
            folds = report.folds
            wrong = beyond(draw.model, fused, seed, draw.dtype)
            assert not wrong, (seed, wrong)
        counts["graphs"] += 1
        counts["folded"] += bool(folds)
        counts["wholly"] += not set(operators(fused)) & set(FOLDABLE)
        counts["free"] += not draw.obstructed
        counts["wholly of the free"] += not draw.obstructed and not set(operators(fused)) & set(FOLDABLE)
        counts["nodes before"] += len(draw.model.graph.node)
        counts["nodes after"] += len(fused.graph.node)
    return counts


def test_hundreds_of_graphs():
    counts = survey(range(300))
    assert counts["wholly of the free"] >= 0.9 * counts["free"] > 50


@pytest.mark.slow
def test_ten_thousand_graphs():
    start = time.perf_counter()
    counts = survey(range(1000, 11_000))
    print(f"\n{dict(counts)}, {time.perf_counter() - start:.0f} s")
    print(f"wholly folded: {counts['wholly'] / counts['graphs']:.1%}")
    print(f"wholly folded where nothing forbids it: {counts['wholly of the free'] / counts['free']:.1%}")
    assert counts["graphs"] == 10_000
    assert counts["wholly of the free"] >= 0.9 * counts["free"]

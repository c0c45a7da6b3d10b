"""ONNX's backend tests through the tool, with the proof and without: none comes out wrong, none crashes."""

import time
from collections import Counter

import numpy as np
import pytest

from fastdl import from_onnx
from fastdl.errors import FastdlError
from fastdl.fusion import fuse, inspect, verify

from .backend_cases import beside_a_fold, cases, difference
from .graphs import session

NEAR = {"rtol": 1e-5, "atol": 1e-6}  # of plain and fused: an order of a sum, of single precision
HALF = {
    "rtol": 2.0**-10,
    "atol": 1e-6,
}  # a last bit: not optimised, onnxruntime rounds a chain of such once, at its end


def outcome(case, proof):
    """What became of one graph, in words; a difference or an error without a type raises."""
    try:
        plain = [session(case.model, optimise) for optimise in (False, True)]
        results = [[s.run(None, feed) for s in plain] for feed, _ in case.sets]
    except Exception:
        plain = []
    runs = "" if plain else "onnxruntime does not run it, "
    try:
        fused, report = fuse(case.model, verify=proof, measure=False)
    except FastdlError as error:
        return f"{runs}refused: {type(error).__name__}"
    if not report.folds:
        assert fused.SerializeToString() == case.model.SerializeToString(), "nothing folded, yet it differs"
        return f"{runs}unchanged"
    if not plain:
        return f"{runs}folded"
    for optimise in (False, True):
        changed = session(fused, optimise)
        for (feed, wanted), result in zip(case.sets, results, strict=True):
            got = changed.run(None, feed)
            if case.random:
                continue
            near = HALF if not optimise and any(getattr(each, "dtype", None) == np.float16 for each in got) else NEAR
            assert not difference(result[optimise], got, **near), difference(result[optimise], got, **near)
            wanted = [*wanted, *result[optimise][len(wanted) :]]
            if not difference(wanted, result[optimise], case.rtol, case.atol):  # onnxruntime itself may differ
                assert not difference(wanted, got, case.rtol, case.atol)
    return "folded, equal"


def survey(run):
    """Counts by outcome, and what went wrong: printed, and the second must be empty."""
    counts, wrong, start = Counter(), [], time.process_time()
    for case in cases():
        try:
            counts[run(case)] += 1
        except Exception as error:
            counts["wrong"] += 1
            wrong.append(f"{case.name}: {type(error).__name__}: {str(error)[:200]}")
    print(f"\n{dict(counts)}, {time.process_time() - start:.0f} s of processor time", *wrong, sep="\n")
    assert not wrong
    assert counts.total() > 2000
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("proof", [False, True], ids=["unproven", "proven"])
def test_as_they_are(proof):
    counts = survey(lambda case: outcome(case, proof))
    assert counts["folded, equal"] > 200
    assert counts["refused: FusionError"] < 10


@pytest.mark.slow
@pytest.mark.parametrize("proof", [False, True], ids=["unproven", "proven"])
def test_beside_a_fold(proof):
    counts = survey(lambda case: outcome(beside_a_fold(case), proof))
    assert counts["folded, equal"] > (1000 if proof else 1500)


@pytest.mark.slow
@pytest.mark.parametrize(
    "use", [inspect, lambda model: verify(model, model), from_onnx], ids=["inspect", "verify", "from_onnx"]
)
def test_no_error_without_a_type(use):
    def run(case):
        try:
            use(case.model)
        except FastdlError as error:
            return type(error).__name__
        return "done"

    survey(run)

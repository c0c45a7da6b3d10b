"""The report counts exactly, prints as a table and goes as JSON."""

import json
import time

import numpy as np
import pytest

from fastdl.fusion import Fold, Refusal, fuse
from fastdl.fusion.proof.measure import compare, interval
from fastdl.fusion.report.report import latency_row

from .graphs import Sketch


@pytest.fixture(scope="module")
def fused():
    g = Sketch()
    g.dense("x", "d", 10, 8)
    g.batch_norm("d", "n", 8)
    g.node("Relu", ["n"], "r")
    g.dense("r", "h", 8, 3)
    g.node("Relu", ["h"], "q")
    g.batch_norm("q", "y", 3)
    return fuse(g.model({"x": ["N", 10]}, {"y": ["N", 3]}))


def test_counts(fused):
    model, report = fused
    assert (report.nodes_before, report.nodes_after) == (6, 5)
    assert report.operators_after == ["Gemm", "Relu", "Gemm", "Relu", "BatchNormalization"]
    assert report.parameters_before == 80 + 8 + 4 * 8 + 24 + 3 + 4 * 3
    assert report.parameters_after == 80 + 8 + 24 + 3 + 4 * 3
    assert report.flops_before - report.flops_after == 2 * 8
    assert report.flops_after == (2 * 80 + 8) + 8 + (2 * 24 + 3) + 3 + 2 * 3
    assert report.bytes_after == len(model.SerializeToString()) < report.bytes_before


def test_folds_and_refusals(fused):
    _, report = fused
    assert report.folds == [Fold("dense → batch norm", "BatchNormalization_n", "Gemm_d")]
    left = [r for r in report.refusals if r.node == "BatchNormalization_y"]
    assert [r.fold for r in left] == ["dense → batch norm", "batch norm → dense"]
    assert left[0] == Refusal(
        "BatchNormalization_y",
        "dense → batch norm",
        "its input 'q' comes from Relu 'Relu_q', not from a dense layer",
    )


def test_errors_are_measured(fused):
    _, report = fused
    assert report.verified
    assert report.samples == 74
    assert 0 < report.max_rel_error < 1e-6
    assert 0 < report.max_abs_error < 1e-4
    assert report.max_ulp_error > 0
    assert report.label_flips == 0


def test_latency_is_measured(fused):
    _, report = fused
    assert list(report.latency) == ["batch_1", "batch_1024"]
    for times in report.latency.values():
        assert 0 < times["before_us"] < 1e6
        assert 0 < times["after_us"] < 1e6
        assert 0.1 < times["speedup"] < 10
    assert report.latency["batch_1024"]["after_us"] > report.latency["batch_1"]["after_us"]


def test_it_prints_all_that_matters(fused):
    text = str(fused[1])
    for part in (
        "before",
        "after",
        "Gemm_d",
        "BatchNormalization_y",
        "not from a dense layer",
        "Verified on 74",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 110


def test_json(fused, tmp_path):
    _, report = fused
    report.save(tmp_path / "report.json")
    read = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert read == report.to_dict() == json.loads(report.to_json())
    assert read["folds"][0]["into"] == "Gemm_d"
    assert all(np.isscalar(read[k]) for k in ("nodes_before", "max_abs_error", "label_flips"))


def test_names_that_look_like_markup_are_printed_as_they_are():
    g = Sketch()
    g.dense("x", "d", 2, 2)
    g.batch_norm("d", "y", 2, name="[bold]bn[/x]")
    _, report = fuse(g.model({"x": ["N", 2]}, {"y": ["N", 2]}), measure=False)
    assert "[bold]bn[/x]" in str(report)


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [([1.5], 1.5, 1.5), ([1.0, 2.0], 1.0, 2.0), (range(6), 0, 5), (range(9), 1, 7), (range(25), 7, 17)],
)
def test_the_interval_of_a_median_is_that_of_the_sign_test(values, least, most):
    assert interval(list(values)) == (least, most)


def test_a_ratio_is_that_of_the_times_beside_it_and_noise_is_called_so():
    def slow():
        time.sleep(0.004)

    def quick():
        time.sleep(0.001)

    times = compare(slow, quick)
    assert times["speedup"] == times["before_us"] / times["after_us"]
    assert times["least"] <= times["speedup"] <= times["most"]
    assert times["least"] > 1.5
    assert latency_row("batch_1", times)[2] == f"{times['after_us']:.1f} ({times['speedup']:.2f}×)"
    noisy = {"before_us": 5.5, "after_us": 5.8, "speedup": 5.5 / 5.8, "least": 0.9, "most": 1.02}
    assert latency_row("batch_1", noisy)[1:] == ("5.5", "5.8 (0.95×, within noise)")


def test_a_large_batch_that_would_take_long_is_made_smaller(monkeypatch):
    monkeypatch.setattr("fastdl.fusion.proof.measure.LONGEST", 2e-5)
    g = Sketch()
    g.dense("x", "d", 400, 400)
    g.batch_norm("d", "y", 400)
    _, report = fuse(g.model({"x": ["N", 400]}, {"y": ["N", 400]}))
    small, large = (int(name.removeprefix("batch_")) for name in report.latency)
    assert small == 1
    assert 1 < large < 1024

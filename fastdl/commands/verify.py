"""Prove that two ONNX files compute the same; exit code 0 if they do, 3 if not or if it cannot be told."""

from __future__ import annotations

import argparse

from fastdl.commands import _common as common


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file that is right, the file that is asked about, and what to compare them on."""
    common.source_argument(parser, "first", "a.onnx")
    common.source_argument(parser, "second", "b.onnx")
    common.samples_argument(parser, "rows to compare on, beside random ones")
    common.tolerance_argument(
        parser, "largest relative error to accept (default: 4 × a.onnx's own, or 1e-6 in float32)"
    )
    common.budget_argument(parser)
    common.limits_argument(parser)
    parser.add_argument("--json", type=common.a_path, metavar="r.json", help="write the figures there")


def run(options: argparse.Namespace) -> None:
    """Run both with onnxruntime, optimised and not, beside the float64 truth of the first."""
    from fastdl import fusion

    common.check_files([options.first, options.second], [options.samples], [options.json], options.limited)
    proof = fusion.verify(
        options.first,
        options.second,
        samples=common.load_arrays(options.samples),
        tolerance=options.tolerance,
        budget=options.budget,
        limited=options.limited,
    )
    common.write({options.json: proof.to_json() + "\n"})
    common.show(proof)

"""Fold an ONNX file, then make it int8 or float16, unless that costs more on your samples than allowed."""

from __future__ import annotations

import argparse

from fastdl.commands import _common as common


def arguments(parser: argparse.ArgumentParser) -> None:
    """Files in and out, the samples to calibrate and to measure on, and how much may be lost."""
    common.source_argument(parser)
    parser.add_argument("target", type=common.a_path, metavar="out.onnx")
    common.samples_argument(parser, "rows to calibrate and to measure on", required=True)
    parser.add_argument("--labels", type=common.a_path, metavar="y.npy", help="the class of each row")
    parser.add_argument("--type", choices=("int8", "float16"), default="int8", help="default: int8")
    common.tolerance_argument(
        parser, "most that may be lost: accuracy with --labels, else share of labels flipped, else error / spread"
    )
    common.limits_argument(parser)
    parser.add_argument("--json", type=common.a_path, metavar="r.json", help="the report (default: out.onnx.json)")


def run(options: argparse.Namespace) -> None:
    """Quantise, print what it cost and gained, write out.onnx and its JSON."""
    from fastdl import fusion

    beside = options.json or common.beside(options.target)
    common.check_files([options.source], [options.samples, options.labels], [options.target, beside], options.limited)
    model, report = fusion.quantize(
        options.source,
        samples=common.load_arrays(options.samples),
        labels=common.load_array(options.labels),
        type=options.type,
        tolerance=options.tolerance,
        limited=options.limited,
    )
    common.write({beside: report.to_json() + "\n"}, model, options.target)
    common.show(report, f"Written: {options.target}, {beside}")

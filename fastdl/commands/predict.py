"""Answer the rows of a table by a file that takes raw columns."""

from __future__ import annotations

import argparse
import csv
import io
import re

import numpy as np

from fastdl.commands import _common as common

AT_ONCE = 10_000  # rows


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file, the rows, and where answers go."""
    parser.add_argument("model", type=common.a_path, metavar="model.onnx", help="as fastdl train wrote it")
    parser.add_argument("data", type=common.a_path, metavar="new.csv", help="rows to answer: CSV, CSV.gz or Parquet")
    parser.add_argument("--output", type=common.a_path, metavar="answers.csv", help="default: to the terminal")
    common.limits_argument(parser)


def run(options: argparse.Namespace) -> None:
    """One line for each row: the label and each class's probability, or the prediction."""
    from fastdl.runner import Runner
    from fastdl.tabular import read_table

    common.check_files([options.model], [options.data], [options.output])
    runner = Runner(options.model, limited=options.limited)
    table = read_table(options.data, empty=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for start in range(0, max(len(table), 1), AT_ONCE):
        rows = table.take(np.arange(start, min(start + AT_ONCE, len(table))))
        answers = runner.predict({name: rows[name] for name in rows.names})
        columns = _columns(answers, runner.class_names)
        if start == 0:
            writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    if options.output is None:
        common.show(text.getvalue().rstrip("\n"))
        return
    common.write({options.output: text.getvalue()})
    if not len(table):
        common.show(f"{options.data} has names of columns but no rows: no answer follows them.")
    common.show(f"Written: {len(table):,} answers to {options.output}")


def _columns(answers: object, class_names: list[str] | None) -> dict[str, list[object]]:
    """The answers by column: one of each output, or one of each class."""
    named = answers if isinstance(answers, dict) else {"prediction": answers}
    columns: dict[str, list[object]] = {}
    for name, given in named.items():
        array = np.asarray(given)
        name = re.sub(r"^(label|probabilities|prediction)_\d+$", r"\1", name)  # a column has the name without a number
        if array.ndim == 2 and array.shape[1] > 1:
            classes = class_names or [str(k) for k in range(array.shape[1])]
            what = "probability of" if name == "probabilities" else name
            columns |= {f"{what} {k}": array[:, i].tolist() for i, k in enumerate(classes)}
        else:
            columns[name] = array.reshape(-1).tolist()
    return columns

"""Train a net for a table: raw columns in, one proven ONNX file and a report out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdl.base.files import check_target, write_together
from fastdl.commands import _common as common

if TYPE_CHECKING:
    pass

NAMES = "name,name,…"
FILES = "model.onnx", "report.html", "metrics.json", "model.fastdl"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The table, its target, what each column is, and how long to search."""
    parser.add_argument("data", type=common.a_path, metavar="data.csv", help="CSV (also .gz, .tsv) or Parquet")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    parser.add_argument("--test", type=common.a_path, metavar="test.csv", help="rows to judge by, never learned from")
    parser.add_argument("--output", type=common.a_path, metavar="FOLDER", help="where files go (default: by the data)")
    parser.add_argument("--time-limit", type=common.positive, metavar="S", help="search for so many seconds")
    parser.add_argument("--task", choices=("classes", "numbers"), help="what the target holds (default: found)")
    parser.add_argument("--metric", help="accuracy, log_loss or roc_auc; rmse or mae")
    parser.add_argument("--net", default="realmlp", help="realmlp (default), realmlp-small or tabm")
    parser.add_argument(
        "--folds", type=common.positive_integer, default=5, help="nets of a bag (default: 5; 1: one net)"
    )
    parser.add_argument("--epochs", type=common.positive_integer, help="of each net (default: 256)")
    parser.add_argument("--weight", metavar="COLUMN", help="the column that says how much a row counts")
    for name, told in {
        "drop": "columns to leave out",
        "categorical": "columns to take as categories",
        "numeric": "columns to take as numbers",
        "date": "columns to take as dates",
    }.items():
        parser.add_argument(f"--{name}", type=_names, default=[], metavar=NAMES, help=told)
    parser.add_argument("--layout", choices=("columns", "matrices"), default="columns", help="of the file's inputs")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def run(options: argparse.Namespace) -> None:
    """Read, train, judge, prove; then write all files of the folder, or none."""
    from fastdl.fusion.files.model_file import files_for
    from fastdl.tabular import Table, TabularClassifier, TabularRegressor, card, judging, read_table, saving, tasks

    folder = options.output or Path(options.data.name.split(".")[0] or "model")
    paths = {name: folder / name for name in FILES}
    if folder.exists() and not folder.is_dir():
        raise common.UsageError(f"{folder} is a file: name a folder by --output")
    for path in paths.values():
        if folder.exists():
            check_target(path)
    table: Table = read_table(options.data)
    test: Table | None = None if options.test is None else read_table(options.test)
    common.show(f"{options.data}: {len(table):,} rows, {len(table.names)} columns", *_indented(table.notes))
    task = tasks.find(table, options.target, options.task, options.weight)
    common.show(f"Target {options.target!r}: {task.told}", *_indented(task.notes))
    table = task.rows(table)
    kind: Any = TabularClassifier if task.kind == "classes" else TabularRegressor
    model = kind(
        options.net,
        folds=options.folds,
        epochs=options.epochs,
        metric=options.metric,
        time_limit=options.time_limit,
        categorical_features=options.categorical or "from_dtype",
        numeric_features=options.numeric,
        date_features=options.date,
        drop=options.drop,
        random_state=options.seed,
        verbose=1,
    )
    model.fit(task.columns(table), task.targets(table), sample_weight=task.weights(table))
    kinds = [f"{name}: {kind} ({model.columns_.described(name)})" for name, kind in model.columns_.kinds.items()]
    common.show("Columns", *_indented([*kinds, *model.columns_.notes]))
    judged = judging.validate(model, task, table, test)
    common.show(*judged.lines())
    file, proof = model.to_onnx(layout=options.layout)
    content = card.content_of(
        model, task, judged, table, file, proof, f"{options.target}, from {options.data.name}", test
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_together(
        *files_for(file, paths["model.onnx"]),
        (paths["report.html"], [card.page(content).encode()]),
        (paths["metrics.json"], [judged.to_json().encode() + b"\n"]),
        (paths["model.fastdl"], [saving.to_bytes(model)]),
    )
    common.show(f"Proof: {proof}", f"Written: {', '.join(map(str, paths.values()))}")
    common.show(f"Next: fastdl predict {paths['model.onnx']} new.csv --output answers.csv")


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]

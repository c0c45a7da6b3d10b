"""The file of results as Markdown: scores with intervals, ranks, who is ahead of whom, times and memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from bench.tabular import figures
from bench.tabular.runs import Key, Line
from bench.tabular.scores import HIGHER_IS_BETTER, MAIN
from bench.tabular.sets import CLASSES, NUMBERS, Table

LOWER = {name for name, higher in HIGHER_IS_BETTER.items() if not higher}
FOOT = """±: half the 95 % interval over splits and seeds. Ahead and behind: paired over splits, beyond the 95 %
interval of the difference (Nadeau and Bengio's variance). Ranks: of means over the splits that all peers here have
run. A fit has a process of its own; seconds (medians) run from raw columns to the fitted model, MB are added by it."""
OF_NUMBERS = ("nrmse", "mae")
WORTH = {CLASSES: "log_loss", NUMBERS: "nrmse"}  # the errors that tell what an ingredient is worth


@dataclass
class Results:
    """Lines of the file for some tables and peers, at one number of threads."""

    held: Mapping[Key, Line]
    tables: Sequence[Table]
    peers: Sequence[str]
    threads: int

    def lines(self, table: Table, peer: str) -> list[Line]:
        """All fits of a peer on a table."""
        asked = table.name, peer, self.threads
        return [line for key, line in self.held.items() if (key.set, key.peer, key.threads) == asked]

    def values(self, table: Table, peer: str, score: str) -> list[float]:
        """A score of each of them."""
        return [line["scores"][score] for line in self.lines(table, peer)]

    def by_split(self, table: Table, peer: str, score: str) -> dict[int, float]:
        """The mean over the seeds of each split, turned so that higher is better."""
        sign = -1 if score in LOWER else 1
        found: dict[int, list[float]] = {}
        for line in self.lines(table, peer):
            found.setdefault(line["split"], []).append(sign * line["scores"][score])
        return {split: mean(values) for split, values in found.items()}

    def common(self, table: Table, score: str) -> dict[str, float]:
        """Each peer's mean over the splits that all of them have, higher is better; {} if there are none."""
        each = {peer: self.by_split(table, peer, score) for peer in self.peers}
        splits = set.intersection(*(set(one) for one in each.values())) if each else set()
        return {peer: mean(one[split] for split in splits) for peer, one in each.items()} if splits else {}


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(score: str, value: float) -> str:
    """Shares as percent, the others with three digits."""
    if score in ("accuracy", "auc"):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if score != "mae" else f"{value:.3g}"


def score_table(results: Results, score: str) -> str:
    """A row a table: mean ± half of the 95 % interval over splits and seeds; the best in bold."""
    task = NUMBERS if score in OF_NUMBERS else CLASSES
    rows = []
    for table in results.tables:
        if table.task != task:
            continue
        values = {peer: results.values(table, peer, score) for peer in results.peers}
        means = {peer: mean(found) for peer, found in values.items() if found}
        if not means:
            continue
        best = (min if score in LOWER else max)(means.values())
        cells = []
        for peer in results.peers:
            if peer not in means:
                cells.append("–")
                continue
            value, half = figures.interval(values[peer])
            text = shown(score, value) + ("" if math.isnan(half) else f" ± {shown(score, half)}")
            cells.append(f"**{text}**" if value == best else text)
        rows.append([f"{table.name}, {table.rows:,} × {table.columns}", *cells])
    return markdown([score, *results.peers], rows) if rows else ""


def rank_table(results: Results) -> str:
    """Mean ranks over the tables that all peers have run on, by the main score and by each other."""
    kinds: list[tuple[str, Mapping[str, str]]] = [("accuracy, nrmse", MAIN)]
    kinds.append(("log_loss, nrmse", {CLASSES: "log_loss", NUMBERS: "nrmse"}))
    kinds += [(score, {NUMBERS if score in OF_NUMBERS else CLASSES: score}) for score in HIGHER_IS_BETTER]
    rows = []
    for name, scores in kinds:
        found = [results.common(table, scores[table.task]) for table in results.tables if table.task in scores]
        places = [figures.ranks(one) for one in found if one]
        if places:
            means = [mean(one[peer] for one in places) for peer in results.peers]
            rows.append([f"{name} (of {len(places)})", *(f"{value:.2f}" for value in means)])
    return markdown(["mean rank (of tables)", *results.peers], rows) if rows else ""


def against(results: Results, ours: str) -> str:
    """`ours` beside each peer, table by table: the difference of the main score and what noise could make it."""
    rows = []
    for peer in results.peers:
        if peer == ours:
            continue
        told: dict[int, list[str]] = {1: [], 0: [], -1: []}
        for table in results.tables:
            score = MAIN[table.task]
            one = figures.difference(results.by_split(table, ours, score), results.by_split(table, peer, score))
            if one is not None:
                scale = 100 if table.task == CLASSES else 1
                digits = 1 if table.task == CLASSES else 3
                text = f"{table.name} {scale * one.mean:+.{digits}f} ± {scale * one.half:.{digits}f}"
                told[one.ahead].append(text)
        if any(told.values()):
            rows.append([peer, *(f"{len(told[sign])}: {'; '.join(told[sign])}".rstrip(": ") for sign in (1, 0, -1))])
    return markdown([f"{ours} against", "ahead", "within noise", "behind"], rows) if rows else ""


def cost_table(results: Results) -> str:
    """Medians: seconds of a fit, its CPU seconds, and the memory that it added."""
    rows = []
    for table in results.tables:
        cells = []
        for peer in results.peers:
            lines = results.lines(table, peer)
            wall, cpu, memory = (
                median(line[name] for line in lines) if lines else math.nan
                for name in ("fit_seconds", "fit_cpu_seconds", "fit_mb")
            )
            cells.append(f"{wall:.2g} ({cpu:.2g}), {memory:.0f}" if lines else "–")
        if any(cell != "–" for cell in cells):
            rows.append([f"{table.name}, {table.rows:,}", *cells])
    return markdown(["seconds (CPU), MB", *results.peers], rows) if rows else ""


def file_table(results: Results, ours: str) -> str:
    """Of each layout of the file of raw columns: the largest difference from the model, on random rows; its kB."""
    rows, layouts = [], ("columns", "matrices")
    for table in results.tables:
        files = [line["files"] for line in results.lines(table, ours) if line.get("files")]
        if files:
            cells = []
            for layout in layouts:
                worst, bar, size = (max(each[layout][name] for each in files) for name in ("max_error", "bar", "bytes"))
                cells.append(f"{worst:.1e} ({bar:.0e}), {size / 1000:.0f}")
            rows.append([table.name, *cells])
    return markdown([f"file of {ours}: largest difference (bar), kB", *layouts], rows) if rows else ""


def worth_table(results: Results, ours: str) -> str:
    """By how much the error (nrmse, or log-loss) of each other peer is above that of `ours`, on the splits of both."""
    tables = [table for table in results.tables if results.lines(table, ours)]
    rows = []
    for peer in results.peers:
        grown = []
        for table in tables if peer != ours else []:
            one, other = (results.by_split(table, who, WORTH[table.task]) for who in (ours, peer))
            splits = one.keys() & other.keys()
            grown.append(sum(other[s] for s in splits) / sum(one[s] for s in splits) - 1 if splits else math.nan)
        if known := [each for each in grown if not math.isnan(each)]:
            cells = ["–" if math.isnan(each) else f"{100 * each:+.0f} %" for each in [*grown, mean(known)]]
            rows.append([peer, *cells])
    return markdown([f"error against that of {ours}", *(table.name for table in tables), "mean"], rows) if rows else ""


def report(results: Results, ours: str) -> str:
    """Everything."""
    versions: dict[str, str] = {}
    for peer in results.peers:
        lines = [line for table in results.tables for line in results.lines(table, peer)]
        if lines:
            versions[peer] = " and ".join(sorted({line["version"] for line in lines}))
    results.peers = list(versions)
    parts = [score_table(results, score) for score in HIGHER_IS_BETTER]
    parts += [rank_table(results), against(results, ours) if ours in results.peers else "", cost_table(results)]
    parts.append(file_table(results, ours) if ours in results.peers else "")
    told = [f"{peer} {version}" for peer, version in versions.items()]
    parts.append("; ".join([*told, f"threads: {results.threads}"]))
    parts.append(FOOT)
    return "\n\n".join(part for part in parts if part)

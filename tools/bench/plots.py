"""The pictures. matplotlib, to files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, NullFormatter

INK, GRID, OURS, TARGET = "#222222", "#e4e7eb", "#1f6feb", "#c2410c"
COLORS = {
    "torch": "#e5804c",
    "torch-compile": "#f2b48d",
    "jax-step": "#8f7cc3",
    "jax-scan": "#5d4a9c",
    "sklearn": "#d9a62e",
    "keras": "#b5485d",
    "jax": "#5d4a9c",
    "numpy": "#5f9ea0",
    "runner": "#7aa7f0",
    "fastdl-v3": "#7aa7f0",
    "fastdl": OURS,
    "onnxruntime": "#7aa7f0",
    "onnxoptimizer": "#e5804c",
    "onnxsim": "#8f7cc3",
    "onnxslim": "#d9a62e",
    "onnxscript": "#b5485d",
    "ideal": "#5f9ea0",
}
MARKERS = {"x W": "o", "dy Wᵀ": "s", "xᵀ dy": "^"}
SHIFT = {"numpy": 0.96, "torch": 1.04, "fastdl": 1.0}  # beside each other, not on top
plain = FuncFormatter(lambda value, _: f"{value:g}")


def _axes(axis: Any, title: str, x: str = "", y: str = "") -> None:
    axis.set_title(title, loc="left", fontsize=11, color=INK, pad=12)
    axis.set_xlabel(x, color=INK)
    axis.set_ylabel(y, color=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=INK, which="both")
    axis.grid(color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=160, facecolor="white")
    pyplot.close(figure)
    return path


def ratio_bars(results: Sequence[dict[str, Any]], path: Path, title: str = "A training step") -> Path:
    """Each peer's time over fastdl's, log scale, grouped by workload; a row of axes for each thread count."""
    counts = list(dict.fromkeys(line["threads"] for line in results))
    figure, axes = pyplot.subplots(len(counts), 1, figsize=(11, 3.9 * len(counts)), squeeze=False)
    for axis, threads in zip(axes[:, 0], counts, strict=True):
        lines = [line for line in results if line["threads"] == threads]
        names = list(dict.fromkeys(name for line in lines for name in line["entries"] if name != "fastdl"))
        width = 0.82 / max(1, len(names))
        for i, line in enumerate(lines):
            for k, name in enumerate(names):
                ratio = line["entries"].get(name, {}).get("ratio")
                if ratio is None:
                    continue
                left = i - 0.41 + k * width
                label = name if name not in axis.get_legend_handles_labels()[1] else None
                axis.bar(left, ratio - 1, width, bottom=1, align="edge", color=COLORS.get(name), label=label)
                text, top = f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}", ratio >= 1
                axis.annotate(text, (left + width / 2, ratio), xytext=(0, 2 if top else -2), fontsize=7, color=INK,
                              textcoords="offset points", ha="center", va="bottom" if top else "top")  # fmt: skip
            if line["target"]:
                axis.hlines(line["target"], i - 0.45, i + 0.45, color=TARGET, linewidth=1.6, linestyle=(0, (4, 2)),
                            label="target against the best peer" if i == 0 else None)  # fmt: skip
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.8), high * 1.25)
        axis.yaxis.set_major_formatter(plain)
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.axhline(1, color=OURS, linewidth=1.6, label="fastdl")
        axis.set_xticks(range(len(lines)), [line["workload"] for line in lines], fontsize=9)
        heading = f"{title}, {threads} thread{'s' * (threads > 1)}: peer's time over fastdl's"
        _axes(axis, heading, y="times fastdl's")
        axis.grid(axis="x", visible=False)
        axis.legend(frameon=False, fontsize=8, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _save(figure, path)


def roofline(
    lines: Sequence[dict[str, Any]], path: Path, peak: float | None, bandwidth: float | None, threads: int
) -> Path:
    """GFLOP/s of each product against FLOPs per byte, under the measured limits."""
    figure, axis = pyplot.subplots(figsize=(8.5, 5))
    intensities = [line["flops"] / line["bytes"] for line in lines]
    low, high = min(intensities) / 1.6, max(intensities) * 1.6
    if peak and bandwidth:
        knee = peak / bandwidth
        axis.plot([low, max(low, knee), max(high, knee)], [min(peak, low * bandwidth), peak, peak], color=INK, lw=1.4)
        axis.annotate(f"{peak:,.0f} GFLOP/s, fused multiply-adds in registers", (high, peak), xytext=(-4, 4),
                      textcoords="offset points", ha="right", fontsize=9, color=INK)  # fmt: skip
        if low < knee:
            axis.annotate(f"{bandwidth:.0f} GB/s from memory", (low, low * bandwidth), xytext=(8, -10),
                          textcoords="offset points", fontsize=9, color=INK)  # fmt: skip
    shown = {"numpy", "torch", "fastdl"}
    for name in ("numpy", "torch", "fastdl"):
        for line, intensity in zip(lines, intensities, strict=True):
            entry = line["entries"].get(name)
            if entry:
                marker = MARKERS[line["shape"].partition(" ")[2]]
                axis.plot(SHIFT[name] * intensity, entry["gflops"], marker, color=COLORS[name], markersize=7, alpha=0.9,
                          markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
    for i, shape in enumerate(dict.fromkeys(line["shape"].partition(" ")[0] for line in lines)):
        points = [(x, line) for x, line in zip(intensities, lines, strict=True) if line["shape"].startswith(shape)]
        bottom = min(line["entries"][name]["gflops"] for _, line in points for name in shown & set(line["entries"]))
        side = "right" if i == 1 else "left" if i == 0 else "center"  # the first two lie close together
        axis.annotate(shape, (points[0][0], bottom), xytext=(0, -10), textcoords="offset points", ha=side,
                      va="top", fontsize=8, color=INK)  # fmt: skip
    handles = [pyplot.Line2D([], [], marker="o", ls="", color=COLORS[name], label=name)
               for name in ("fastdl", "torch", "numpy") if any(name in line["entries"] for line in lines)]  # fmt: skip
    for name, sign in MARKERS.items():
        handles.append(pyplot.Line2D([], [], marker=sign, ls="", color="#9aa5b1", label=name))
    axis.legend(handles=handles, frameon=False, fontsize=9, loc="lower right")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(low, high)
    floor = min(entry["gflops"] for line in lines for entry in line["entries"].values())
    axis.set_ylim(floor / 2.2, 1.6 * max(peak or 0, *(e["gflops"] for line in lines for e in line["entries"].values())))
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(plain)
        each.set_minor_formatter(NullFormatter())
    title = f"Matrix products of training, {threads} thread{'s' * (threads > 1)}"
    _axes(axis, title, "FLOPs per byte of the three matrices", "GFLOP/s")
    return _save(figure, path)


def bars(values: Mapping[str, float], path: Path, title: str, unit: str) -> Path:
    """Horizontal bars, each with its number."""
    figure, axis = pyplot.subplots(figsize=(7, 0.5 * len(values) + 1.2))
    ordered = sorted(values, key=lambda name: -values[name])
    colors = [COLORS.get(name.partition(",")[0], "#9aa5b1") for name in ordered]
    drawn = axis.barh(ordered, [values[name] for name in ordered], 0.62, color=colors)
    axis.bar_label(drawn, [f"{values[name]:,.0f}" for name in ordered], padding=4, fontsize=9, color=INK)
    axis.set_xlim(0, 1.12 * max(values.values()))
    _axes(axis, title, unit)
    axis.grid(axis="y", visible=False)
    return _save(figure, path)


def growth(results: Sequence[dict[str, Any]], path: Path) -> Path:
    """Time per step against width, depth and batch, beside a line that grows as the FLOPs do."""
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4.2))
    shades = [OURS, "#7aa7f0", "#5d4a9c", "#9aa5b1"]
    for axis, kind in zip(axes, ("width", "depth", "batch"), strict=True):
        for threads, color in zip(dict.fromkeys(line["threads"] for line in results), shades, strict=False):
            lines = [line for line in results if line["axis"] == kind and line["threads"] == threads]
            sizes = [line["size"] for line in lines]
            label = f"fastdl, {threads} thread{'s' * (threads > 1)}"
            axis.plot(sizes, [line["best_us"] for line in lines], "o-", markersize=3.5, color=color, label=label)
            if color == OURS:
                cheapest = min(line["ns_per_flop"] for line in lines)
                flops = [line["step_flops"] * cheapest / 1e3 for line in lines]
                axis.plot(sizes, flops, "--", color=INK, linewidth=1, label="FLOPs at the best rate")
            for line in lines:
                if line["jump"] and line["jump"] > 1.5:
                    axis.plot(line["size"], line["best_us"], "o", markersize=11, mfc="none", mec=TARGET)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter(plain)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
        _axes(axis, f"µs per step against {kind}", kind)
    axes[0].legend(frameon=False, fontsize=9)
    return _save(figure, path)


def accuracy_curves(results: Sequence[dict[str, Any]], path: Path, goal: float) -> Path:
    """Test accuracy against seconds of training, a line a run; one axes a thread count."""
    counts = list(dict.fromkeys(line["threads"] for line in results))
    figure, axes = pyplot.subplots(1, len(counts), figsize=(5.8 * len(counts), 4), squeeze=False, sharey=True)
    for axis, threads in zip(axes[0], counts, strict=True):
        seen = set[str]()
        for line in results:
            if line["threads"] == threads and line["curve"]:
                seconds, accuracy = zip(*line["curve"], strict=True)
                label = None if line["peer"] in seen else line["peer"]
                axis.plot(seconds, accuracy, "o-", markersize=3, color=COLORS[line["peer"]], label=label, alpha=0.85)
                seen.add(line["peer"])
        axis.axhline(goal, color=TARGET, linewidth=1.4, linestyle=(0, (4, 2)), label=f"{100 * goal:g} %")
        title = f"Fashion-MNIST, {threads} thread{'s' * (threads > 1)}"
        _axes(axis, title, "seconds of training", "test accuracy")
        axis.set_xlim(0)
        axis.legend(frameon=False, fontsize=9, loc="lower right")
    return _save(figure, path)

"""One self-contained page on a fusion: both graphs, the folds, the refusals, errors and timings.

Nothing is loaded and nothing runs: no script, no font, no image but inline SVG, and a policy that forbids more.
Whatever comes from the file is escaped. It is XML as well as HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from fastdl.base.text import shown
from fastdl.fusion.proof.result import Proof
from fastdl.fusion.report.picture import svg
from fastdl.fusion.report.report import MANY, FusionReport, tally, within_noise

if TYPE_CHECKING:
    from onnx import ModelProto

STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5d6b82; --line: #dbe1ea; --paper: #fff; --card: #f6f8fb;
  --dense: #1f6feb; --norm: #d97706; --activation: #15803d; --affine: #b45309; --other: #64748b; --good: #15803d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf2; --soft: #9aa7bd; --line: #323c4e; --paper: #12161f;
  --card: #1b212d; --dense: #6ea8fe; --norm: #fbbf24; --activation: #4ade80; --affine: #f59e0b; --other: #94a3b8;
  --good: #4ade80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 1180px; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; } h2 { margin: 2.5rem 0 .8rem; font-size: 1.1rem; }
.verdict { margin: .3rem 0 0; color: var(--soft); } .verdict b { color: var(--good); }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: 1.6rem; }
.card { flex: 1 0 135px; padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); }
.card span { display: block; color: var(--soft); font-size: .82rem; }
.card strong { font-size: 1.25rem; font-variant-numeric: tabular-nums; } .card em { color: var(--soft);
  font-style: normal; }
.graphs { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
@media (max-width: 700px) { .graphs { grid-template-columns: 1fr; } }
figure { margin: 0; padding: 1rem; border: 1px solid var(--line); border-radius: 10px; overflow: auto; }
figcaption { color: var(--soft); margin-bottom: .4rem; } figure svg { display: block; margin: 0 auto; max-width: 100%;
  height: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .4rem .8rem .4rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; } th { color: var(--soft); font-weight: 600; }
.edge { fill: none; stroke: var(--soft); stroke-width: 1.4; opacity: .7; }
svg text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 12.5px; font-weight: 600;
  fill: var(--ink); text-anchor: middle; }
svg .of { font-weight: 400; font-size: 10.5px; fill: var(--soft); } svg .left { text-anchor: start; }
rect { fill: var(--card); stroke-width: 1.6; }
.dense rect { stroke: var(--dense); }
.norm rect { stroke: var(--norm); } .activation rect { stroke: var(--activation); }
.affine rect { stroke: var(--affine); } .other rect { stroke: var(--other); } .port rect { stroke: var(--line); }
.gone rect { stroke-dasharray: 5 4; fill: none; } .gone text { fill: var(--soft); }
.bar { stroke: none; } .was { fill: var(--other); opacity: .55; } .is { fill: var(--dense); }
.key { color: var(--soft); font-size: .85rem; }
"""


def page(plain: ModelProto, fused: ModelProto, report: FusionReport, title: str = "Fusion") -> str:
    """The page as HTML text: `plain` and `fused` as graphs, and all that the report says of them."""
    tips = {fold.node: f"{fold.name}, into {fold.into}" for fold in report.folds}
    reasons = {refusal.node: f"left: {refusal.reason}" for refusal in report.refusals}
    gone = {fold.node for fold in report.folds} - {node for fold in report.folds for node in fold.into.split(", ")}
    graphs = [
        ("Before", plain, reasons | tips, gone, report.operators_before),
        ("After", fused, reasons, (), report.operators_after),
    ]
    figures = "".join(
        f"<figure><figcaption>{name}: {_safe(tally(operators))}</figcaption>{svg(model, tip, left, name)}</figure>"
        for name, model, tip, left, operators in graphs
    )
    parts = [
        f"<h1>{_safe(title)}</h1>",
        _verdict(report),
        _cards(report),
        "<h2>The graph before and after</h2>",
        f'<div class="graphs">{figures}</div>',
        '<p class="key">Dashed boxes were folded away. Hold the pointer on a box for what became of it.</p>',
    ]
    if report.latency:
        parts += ["<h2>Time, onnxruntime on one thread</h2>", _timings(report)]
    if report.proof is not None:
        parts += ["<h2>Error against the float64 truth</h2>", _errors(report.proof)]
    if report.folds:
        rows = [(fold.node, fold.name, fold.into) for fold in report.folds]
        parts += ["<h2>Folded</h2>", _table(("node", "fold", "into"), rows)]
    if report.refusals:
        left = [(refusal.node, refusal.fold, refusal.reason) for refusal in report.refusals]
        parts += ["<h2>Left as it was, and why</h2>", _table(("node", "fold", "reason"), left)]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{_safe(title)}</title><style>{STYLE}</style></head>\n<body>" + "\n".join(parts) + "</body></html>\n"
    )


def _verdict(report: FusionReport) -> str:
    if not report.folds:
        return '<p class="verdict">Nothing was folded: the file is as it was.</p>'
    count = f"{len(report.folds)} fold{'s' * (len(report.folds) > 1)}"
    if (proof := report.proof) is None:
        return f'<p class="verdict">{count}, not verified.</p>'
    limits = "".join(f" {_safe(limit)}" for limit in proof.limits())
    proven = f"<b>Proven</b> on {proof.samples:,} rows: {count}, {proof.label_flips} labels differ.{limits}"
    return f'<p class="verdict">{proven}</p>'


def _cards(report: FusionReport) -> str:
    pairs = [
        (name, getattr(report, f"{what}_before"), getattr(report, f"{what}_after"))
        for name, what in (("operators", "nodes"), ("parameters", "parameters"), ("bytes", "bytes"))
    ]
    pairs.append(("FLOPs a row", report.flops_before, report.flops_after))
    cards = [(name, f"{before:,} → ", f"{after:,}", "") for name, before, after in pairs]
    for batch, times in report.latency.items():
        name = f"{batch.replace('_', ' ')}"
        what = ", within noise" if within_noise(times) else " as fast"
        cards.append((name, "", f"{times['speedup']:.2f} ×", what))
    return '<div class="cards">{}</div>'.format(
        "".join(
            f'<div class="card"><span>{name}</span><em>{was}</em><strong>{now}</strong><em>{what}</em></div>'
            for name, was, now, what in cards
        )
    )


def _timings(report: FusionReport) -> str:
    """Two bars a batch size, each pair to its own scale."""
    parts, y = [], 0
    for batch, times in report.latency.items():
        longest = max(times["before_us"], times["after_us"])
        for side, name in (("before_us", "was"), ("after_us", "is")):
            width = 520 * times[side] / longest
            rows = int(batch.removeprefix("batch_"))
            speed = f", {rows / times[side]:.2f} million rows a second" if rows >= MANY else ""
            told = f"{batch.replace('_', ' ')} {'before' if name == 'was' else 'after'}"
            parts.append(
                f'<text class="of left" x="0" y="{y + 15}">{told}</text>'
                f'<rect class="bar {name}" x="130" y="{y + 3}" width="{width:.1f}" height="16" rx="3"/>'
                f'<text class="of left" x="{138 + width:.1f}" y="{y + 15}">{times[side]:.1f} µs{speed}</text>'
            )
            y += 22
        y += 12
    figure = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {y}" width="900" role="img" aria-label="Timings">'
    )
    return f"<figure>{figure}{''.join(parts)}</svg></figure>"


def _errors(proof: Proof) -> str:
    rows = [
        ("largest error, relative", f"{proof.unfused_rel_error:.2e}", f"{proof.max_rel_error:.2e}"),
        ("largest error, absolute", "", f"{proof.max_abs_error:.2e}"),
        ("largest error, ulp", f"{proof.unfused_ulp_error:.1f}", f"{proof.max_ulp_error:.1f}"),
        ("labels that differ", "", str(proof.label_flips)),
    ]
    return _table(("", "before", "after"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f"<th>{_safe(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def _safe(text: str) -> str:
    return escape(shown(text))

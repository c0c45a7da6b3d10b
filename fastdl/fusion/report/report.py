"""What a fusion did and how well it was proven: an object, a printed table, and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastdl.base.printable import Printable
from fastdl.base.text import shown
from fastdl.fusion.folds.rule import Fold, Refusal
from fastdl.fusion.graph.cost import flops, parameter_count
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.proof.result import Proof

if TYPE_CHECKING:
    from rich.console import RenderableType

MANY = 256  # rows from which a batch's throughput is worth telling


@dataclass(kw_only=True, repr=False)
class FusionReport(Printable):
    """Before and after, the proof, and latency of one fusion.

    proof: None where nothing was folded or proven; its figures are attributes of the report too, and keys of to_dict.
    FLOPs are those of one row. predict_max_abs_error is the file's difference to a fastdl model's `predict`, for
    an export. latency: see measure; empty when it was not measured.
    """

    nodes_before: int
    nodes_after: int
    operators_before: list[str]
    operators_after: list[str]
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    flops_before: int
    flops_after: int
    folds: list[Fold] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    proof: Proof | None = None
    predict_max_abs_error: float | None = None
    latency: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, was: GraphIndex, now: GraphIndex) -> FusionReport:
        """What can be counted on the two graphs: operators, parameters, bytes, FLOPs."""
        before, after = was.lean.proto, now.lean.proto
        return cls(
            nodes_before=len(before.graph.node),
            nodes_after=len(after.graph.node),
            operators_before=[node.op_type for node in before.graph.node],
            operators_after=[node.op_type for node in after.graph.node],
            parameters_before=parameter_count(was),
            parameters_after=parameter_count(now),
            bytes_before=was.lean.byte_size(),
            bytes_after=now.lean.byte_size(),
            flops_before=flops(was),
            flops_after=flops(now),
        )

    @property
    def verified(self) -> bool:
        """Whether the fold was proven to compute the same."""
        return self.proof is not None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in Proof.__dataclass_fields__:
                raise AttributeError(f"a FusionReport has no {name!r}")
            return getattr(self.proof or Proof(), name)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists, strings and numbers, the proof's figures among them."""
        figures = super().to_dict()
        del figures["proof"]
        return {"verified": self.verified, **(self.proof or Proof()).to_dict(), **figures}

    def digest(self) -> str:
        """One short line of JSON for the model's metadata."""
        digest: dict[str, Any] = {"folds": len(self.folds), "verified": self.verified}
        if self.proof is not None:
            digest |= {
                "rows": self.proof.samples,
                "max_abs_error": float(f"{self.proof.max_abs_error:.3g}"),
                "max_rel_error": float(f"{self.proof.max_rel_error:.3g}"),
                "label_flips": self.proof.label_flips,
            }
        return json.dumps(digest)

    def __repr__(self) -> str:
        proven = f"verified on {self.proof.samples} rows" if self.proof is not None else "not verified"
        return (
            f"<FusionReport: {self.nodes_before} operators, {self.nodes_after} after {len(self.folds)} folds, {proven}>"
        )

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        sizes = Table("", "before", "after", title="Fusion", title_justify="left")
        sizes.add_row("operators", *(Text(shown(tally(ops))) for ops in (self.operators_before, self.operators_after)))
        for what in ("nodes", "parameters", "bytes", "flops"):
            before, after = getattr(self, f"{what}_before"), getattr(self, f"{what}_after")
            sizes.add_row(f"{what} a row" if what == "flops" else what, f"{before:,}", f"{after:,}")
        for batch, times in self.latency.items():
            sizes.add_row(*latency_row(batch, times))
        return Group(sizes, Text(self._verdict()), *self.tables())

    def tables(self, folded: str = "Folded") -> list[RenderableType]:
        """What was folded into what, and what was not and why."""
        parts: list[RenderableType] = []
        if self.folds:
            rows = [(fold.node, fold.name, fold.into) for fold in self.folds]
            parts.append(table(folded, ("node", "fold", "into"), rows))
        if self.refusals:
            left = [(refusal.node, refusal.fold, refusal.reason) for refusal in self.refusals]
            parts.append(table("Left as it was", ("node", "fold", "reason"), left))
        return parts

    def _verdict(self) -> str:
        against = (
            f" Largest difference to predict: {self.predict_max_abs_error:.1e}."
            if self.predict_max_abs_error is not None
            else ""
        )
        if not self.folds:
            return "Nothing was folded." + against
        if self.proof is None:
            return "Not verified." + against
        return self.proof.figures("unfused") + against


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """A table of text that is shown as it is: names come from files of others."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*head, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*(Text(shown(cell)) for cell in row))
    return drawn


def tally(operators: Sequence[str]) -> str:
    """Each operator with how often it stands there: Gemm 3, Relu 2."""
    return ", ".join(f"{op} {count}" for op, count in sorted(Counter(operators).items()))


def latency_row(batch: str, times: dict[str, float]) -> tuple[str, str, str]:
    """One line of a table: microseconds a call before and after, and rows a second at large batches."""
    rows = int(batch.removeprefix("batch_"))
    cells = [f"{times[side]:.1f}" for side in ("before_us", "after_us")]
    if rows >= MANY:
        per_second = [rows / times[side] for side in ("before_us", "after_us")]
        cells = [f"{cell} = {speed:.2f} M rows/s" for cell, speed in zip(cells, per_second, strict=True)]
    return f"{batch.replace('_', ' ')}, µs", cells[0], f"{cells[1]} ({compared(times)})"


def compared(times: Mapping[str, float]) -> str:
    """How times before and after compare, in words: 1.25×, or that it is within noise."""
    ratio = f"{times['speedup']:.2f}×"
    return f"{ratio}, within noise" if within_noise(times) else ratio


def within_noise(times: Mapping[str, float]) -> bool:
    """Whether the rounds that were timed tell no difference."""
    return times.get("least", 0.0) <= 1 <= times.get("most", 0.0)

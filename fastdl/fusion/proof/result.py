"""What a proof measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastdl.base.printable import Printable
from fastdl.base.text import shown

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(repr=False)
class Proof(Printable):
    """What a proof measured, over all rows that were run.

    Errors are the largest over all checked outputs; relative ones are relative to the largest magnitude of
    their output, and an ulp is the step between neighbours of the output's type at the value's own magnitude, or at
    1/1024 of the largest, if that is more. cut: what the budget left out, in words, "" for nothing.
    float32_operators: those that had onnxruntime's float32 for a truth, ["all"] if the whole graph.
    """

    samples: int = 0
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    max_ulp_error: float = 0.0
    unfused_rel_error: float = 0.0
    unfused_ulp_error: float = 0.0
    label_flips: int = 0
    cut: str = ""
    float32_operators: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Proof on {self.samples} rows, error {self.max_rel_error:.1e}, {self.label_flips} label flips>"

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        return Text(f"They compute the same. {self.figures('first')}")

    def figures(self, against: str) -> str:
        """In words, and what it does not say; against: what the other graph is called."""
        figures = (
            f"Verified on {self.samples} rows: error {self.max_rel_error:.1e} of the largest output "
            f"({against} {self.unfused_rel_error:.1e}), {self.max_abs_error:.1e} absolute; "
            f"{self.label_flips} label flips."
        )
        return " ".join((figures, *self.limits()))

    def limits(self) -> list[str]:
        """What the proof does not say, a sentence each: rows left out, operators without a float64 truth."""
        said = []
        if self.cut:
            said.append(f"{self.cut}.")
        if self.float32_operators == ["all"]:
            said.append("The truth is onnxruntime's in float32, unoptimised: nothing evaluates this graph in float64.")
        elif self.float32_operators:
            said.append(f"The truth is float64 but for {', '.join(map(shown, self.float32_operators))}, in float32.")
        return said

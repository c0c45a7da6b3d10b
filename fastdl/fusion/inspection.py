"""What an ONNX file holds and what would fold in it, told without running any operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import TensorProto, ValueInfoProto

from fastdl.base.printable import Printable
from fastdl.base.text import shown
from fastdl.fusion.files.model_file import ModelSource, read_model
from fastdl.fusion.graph.cost import OperatorCost, by_operator
from fastdl.fusion.graph.index import GraphIndex
from fastdl.fusion.graph.memory import memory_errors
from fastdl.fusion.pipeline import fold_all
from fastdl.fusion.report.report import FusionReport, table

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass
class Port:
    """An input or output: its name, element type and shape, "any" for sizes that are not stated."""

    name: str
    type: str
    shape: str

    @classmethod
    def of(cls, info: ValueInfoProto) -> Port:
        """As the file states it."""
        kind = info.type.WhichOneof("value") or "nothing"
        if kind != "tensor_type":
            return cls(info.name, kind.removesuffix("_type").replace("_", " "), "")
        tensor = info.type.tensor_type
        dims = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "any" for d in tensor.shape.dim]
        shape = f"({', '.join(dims)})" if tensor.HasField("shape") else "any"
        return cls(info.name, TensorProto.DataType.Name(tensor.elem_type).lower(), shape)


@dataclass(repr=False)
class Inspection(Printable):
    """A file's makers, inputs, outputs and operators; `fusion` is what folding would do, unproven and untimed."""

    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: list[Port]
    outputs: list[Port]
    operators: list[OperatorCost]
    metadata: dict[str, str]
    fusion: FusionReport

    def __repr__(self) -> str:
        report = self.fusion
        contents = f"{report.nodes_before} operators, {report.parameters_before} parameters"
        return f"<Inspection: {contents}, {len(report.folds)} would fold>"

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        opsets = ", ".join(f"{shown(domain)} {version}" for domain, version in self.opsets.items())
        report = self.fusion
        ports = [(what, p.name, p.type, p.shape) for what in ("inputs", "outputs") for p in getattr(self, what)]
        costs = [(c.operator, f"{c.nodes:,}", f"{c.parameters:,}", f"{c.flops:,}") for c in self.operators]
        for what in ("before", "after"):
            nodes, parameters, flops = (f"{getattr(report, f'{n}_{what}'):,}" for n in ("nodes", "parameters", "flops"))
            costs.append(("in all" if what == "before" else "once folded", nodes, parameters, flops))
        about = f"By {shown(self.producer) or 'a tool that names itself not'}, IR {self.ir_version}, opset {opsets}; "
        return Group(
            Text(about + f"{report.bytes_before:,} bytes, {report.bytes_after:,} once folded."),
            table("Inputs and outputs", ("", "name", "type", "shape"), ports),
            table("Operators", ("operator", "nodes", "parameters", "FLOPs a row"), costs),
            *report.tables("Would fold"),
            *([] if report.folds else [Text("Nothing would fold.")]),
        )


@memory_errors()
def inspect(source: ModelSource, *, limited: bool = True) -> Inspection:
    """What a model holds and what would fold. Raises ModelFileError for one that is not sound.

    limited: False for one that you trust, however many nodes it has.
    """
    model = read_model(source, limited=limited)
    index = GraphIndex(model)
    fused, folds, refusals = fold_all(model, like=index)
    report = FusionReport.of(index, GraphIndex(fused))
    report.folds, report.refusals = folds, refusals
    return Inspection(
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        ir_version=model.ir_version,
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        inputs=[Port.of(info) for info in model.graph.input if index.stored(info.name) is None],
        outputs=[Port.of(info) for info in model.graph.output],
        operators=by_operator(index),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        fusion=report,
    )

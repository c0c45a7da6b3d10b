"""Columns of tables: one class a kind, with what it learns, what it gives, and the ONNX nodes that give the same."""

from fastdl.tabular.columns.columns import Columns, Encoded

__all__ = ["Columns", "Encoded"]

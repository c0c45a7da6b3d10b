"""Tables: raw columns in, one proven file out. Built on the public layers, models and fusion."""

from fastdl.tabular.columns import Columns, Encoded
from fastdl.tabular.file import assemble
from fastdl.tabular.proof import ColumnsProof, prove
from fastdl.tabular.reading import read_table
from fastdl.tabular.table import Table

__all__ = ["Columns", "ColumnsProof", "Encoded", "Table", "assemble", "prove", "read_table"]

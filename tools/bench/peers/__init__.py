"""Who takes part. A peer is a module here with `versions` and, as far as it can, `train`, `predict`, `matmul`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    """A module of this package, the packages it needs, and what its process finds in the environment."""

    module: str
    needs: tuple[str, ...]
    variant: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def missing(self) -> str | None:
        """Why it cannot take part, in a word, or None."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} not installed" if absent else None


def _keras() -> Peer:
    """Keras on its fastest backend here."""
    backend = next((name for name in ("jax", "torch") if importlib.util.find_spec(name)), "jax")
    return Peer("with_keras", ("keras", backend), environment={"KERAS_BACKEND": backend})


SMALL_ARROW = {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # the others reserve more than a limited process may have

PEERS = {
    "fastdl": Peer("with_fastdl", ("fastdl",)),
    "fastdl-v3": Peer("with_fastdl", ("fastdl",), environment={"FASTDL_ISA": "v3"}),
    "fastdl-fixed": Peer("with_fastdl", ("fastdl",), "fixed"),
    "fastdl-each": Peer("with_fastdl", ("fastdl",), "each"),
    "fastdl-own": Peer("with_fastdl", ("fastdl",), "own"),
    "fastdl-bf16": Peer("with_fastdl", ("fastdl",), "bfloat16"),
    "fastdl-memory": Peer("with_files", ("fastdl",), "memory"),
    "fastdl-mapped": Peer("with_files", ("fastdl",), "mapped"),
    "fastdl-memory-in-order": Peer("with_files", ("fastdl",), "memory-in-order"),
    "fastdl-mapped-in-order": Peer("with_files", ("fastdl",), "mapped-in-order"),
    "fastdl-batches": Peer("with_files", ("fastdl",), "batches"),
    "fastdl-parquet": Peer("with_files", ("fastdl", "pyarrow"), "parquet", SMALL_ARROW),
    "fastdl-parquet-ahead": Peer("with_files", ("fastdl", "pyarrow"), "parquet-ahead", SMALL_ARROW),
    "runner": Peer("with_fastdl", ("fastdl", "onnx", "onnxruntime"), "runner"),
    "torch": Peer("with_torch", ("torch",)),
    "torch-compile": Peer("with_torch", ("torch",), "compile"),
    "torch-bf16": Peer("with_torch", ("torch",), "bfloat16"),
    "jax-step": Peer("with_jax", ("jax",), "step"),
    "jax-scan": Peer("with_jax", ("jax",), "scan"),
    "sklearn": Peer("with_sklearn", ("sklearn",)),
    "keras": _keras(),
    "numpy": Peer("with_numpy", ("numpy",)),
}

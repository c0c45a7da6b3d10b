"""Goes on with a training that was interrupted."""

from __future__ import annotations

import os
from pathlib import Path

from fastdl.errors import ModelFileError
from fastdl.models import state, tensor_file
from fastdl.models.callback import Callback, Logs


class BackupAndRestore(Callback):
    """Backs training up after each epoch; the same fit, called again after a crash, goes on from there (Keras).

    To the bit: weights, the optimizer's state, shuffles, dropout. What other callbacks have counted begins anew, and
    those that set the learning rate after an epoch must come before this one. delete_checkpoint: when fit has ended
    the backup is removed. double_checkpoint: keep the one before as well, in case this one is damaged.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        if not backup_dir or not os.fspath(backup_dir):
            raise ValueError("Empty `backup_dir` argument passed: it must name a folder")
        if save_freq != "epoch":
            raise ValueError(f"save_freq must be 'epoch', not {save_freq!r}: training goes on from whole epochs")
        self.backup_dir, self.save_freq = Path(backup_dir), save_freq
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self.path = self.backup_dir / "latest.safetensors"
        self.path_before = self.backup_dir / "previous.safetensors"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        paths = [path for path in (self.path, self.path_before) if path.exists()]
        for path in paths:
            try:
                content = tensor_file.read(path)
                epoch = content.notes.get("epochs")
                if type(epoch) is not int or epoch < 1:
                    raise ModelFileError(f"{path}: not a backup of a training")
                state.restore(self.model, content)
            except ModelFileError:
                if path == paths[-1]:
                    raise
            else:
                self.model.initial_epoch = epoch
                return

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.backup_dir.mkdir(parents=True, exist_ok=True)
        tensors, notes = state.gather(self.model)
        if self.double_checkpoint and self.path.exists():
            os.replace(self.path, self.path_before)
        tensor_file.write(self.path, tensors, {**notes, "epochs": epoch + 1})

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.delete_checkpoint:
            for path in (self.path, self.path_before):
                path.unlink(missing_ok=True)

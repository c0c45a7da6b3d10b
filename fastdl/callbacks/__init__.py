"""Callbacks, with Keras's names: what fit, evaluate and predict call while they run."""

from fastdl.callbacks.backup_and_restore import BackupAndRestore
from fastdl.callbacks.csv_logger import CSVLogger
from fastdl.callbacks.early_stopping import EarlyStopping
from fastdl.callbacks.lambda_callback import LambdaCallback
from fastdl.callbacks.layer_statistics import LayerStatistics
from fastdl.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from fastdl.callbacks.model_checkpoint import ModelCheckpoint
from fastdl.callbacks.tensorboard import TensorBoard
from fastdl.callbacks.terminate_on_nan import TerminateOnNaN
from fastdl.models.callback import Callback
from fastdl.models.callback_list import CallbackList
from fastdl.models.history import History

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LayerStatistics",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]

"""Callbacks, with Keras's names: what fit, evaluate and predict call while they run."""

from fastdl.callbacks.backup_and_restore import BackupAndRestore
from fastdl.callbacks.callback import Callback
from fastdl.callbacks.callback_list import CallbackList
from fastdl.callbacks.csv_logger import CSVLogger
from fastdl.callbacks.early_stopping import EarlyStopping
from fastdl.callbacks.history import History
from fastdl.callbacks.lambda_callback import LambdaCallback
from fastdl.callbacks.layer_statistics import LayerStatistics
from fastdl.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from fastdl.callbacks.model_checkpoint import ModelCheckpoint
from fastdl.callbacks.tensorboard import TensorBoard
from fastdl.callbacks.terminate_on_nan import TerminateOnNaN

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

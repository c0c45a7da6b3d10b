"""Callbacks, with Keras's names: what fit, evaluate and predict call while they run."""

from fastdl.callbacks.backup_and_restore import *
from fastdl.callbacks.csv_logger import *
from fastdl.callbacks.early_stopping import *
from fastdl.callbacks.lambda_callback import *
from fastdl.callbacks.layer_statistics import *
from fastdl.callbacks.learning_rate import *
from fastdl.callbacks.model_checkpoint import *
from fastdl.callbacks.optuna_pruning import *
from fastdl.callbacks.swap_ema_weights import *
from fastdl.callbacks.tensorboard import *
from fastdl.callbacks.terminate_on_nan import *
from fastdl.models.callback import Callback as Callback
from fastdl.models.callback_list import CallbackList as CallbackList
from fastdl.models.history import History as History

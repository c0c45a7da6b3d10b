"""The ops that every model is made of: one file each, holding shape rule, kernels and ONNX form; and Keras's `ops`:
functions of arrays and tensors that one's own losses, metrics, activations and layers are made of."""

from fastdl.ops.activation import *
from fastdl.ops.activations import *
from fastdl.ops.affine import *
from fastdl.ops.batch_norm import *
from fastdl.ops.combine import *
from fastdl.ops.dense import *
from fastdl.ops.dropout import *
from fastdl.ops.either import *
from fastdl.ops.elementwise import *
from fastdl.ops.embedding import *
from fastdl.ops.functions import *
from fastdl.ops.layer_norm import *
from fastdl.ops.members import *
from fastdl.ops.merge import *
from fastdl.ops.mix import *
from fastdl.ops.motion import *
from fastdl.ops.noise import *
from fastdl.ops.numeric import *
from fastdl.ops.own import *
from fastdl.ops.parametric_activation import *
from fastdl.ops.penalty import *
from fastdl.ops.periodic import *
from fastdl.ops.piecewise_linear import *
from fastdl.ops.prelu import *
from fastdl.ops.reshaping import *
from fastdl.ops.samples import *
from fastdl.ops.scale import *
from fastdl.ops.spectral_norm import *
from fastdl.ops.symbolic import *
from fastdl.ops.tied_dense import *

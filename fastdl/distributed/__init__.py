"""One model trained by several processes, on one machine or many, each on rows of its own: data parallel, on MPI."""

from fastdl.distributed.dividing import divided as divided
from fastdl.distributed.ranks import rank as rank
from fastdl.distributed.ranks import size as size
from fastdl.distributed.shards import shard as shard
from fastdl.distributed.training import fit as fit

"""Folders that servers of models expect, written from an ONNX file alone."""

from fastdl.deployment.answers import answers as answers
from fastdl.deployment.deploy import TARGETS as TARGETS
from fastdl.deployment.deploy import deploy as deploy

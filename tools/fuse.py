"""`fastdl fuse` from a checkout: python tools/fuse.py in.onnx out.onnx [--samples x.npy] [--dry-run] …"""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("fastdl") is None:  # neither installed nor on the path: take the checkout's
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from fastdl.cli import main

if __name__ == "__main__":
    sys.exit(main(["fuse", *sys.argv[1:]]))

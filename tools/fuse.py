"""`fastdl fuse` from a checkout: python tools/fuse.py in.onnx out.onnx [--samples x.npy] [--dry-run] …"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fastdl.cli import main

if __name__ == "__main__":
    sys.exit(main(["fuse", *sys.argv[1:]]))

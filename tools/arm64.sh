#!/usr/bin/env bash
# The kernels' tests, and those of layers and of Sequential, on an emulated arm64, with the extension from a cross-compiler:
# tools/arm64.sh [pytest's arguments]. On Debian for x86-64: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

# Debian's Python for arm64, in a folder: an apt that knows no other architecture and of nothing that is installed
mkdir -p "$root" "$work"/apt/{lists,archives}/partial
touch "$work/status"
cat >"$work/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Dir::State::status "$work/status";
Dir::State::lists "$work/apt/lists";
Dir::Cache "$work/apt";
END
arm64_apt() { APT_CONFIG=$work/apt.conf apt-get -qq "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }; }
arm64_apt update
arm64_apt install --download-only -y --no-install-recommends python3 libstdc++6
for package in "$work"/apt/archives/*.deb; do dpkg -x "$package" "$root"; done
version=$(basename "$(readlink "$root/usr/bin/python3")")
(cd "$work" && arm64_apt download "lib$version-dev" && dpkg -x "lib$version-dev"*.deb "$root")
python_arm64() { qemu-aarch64 -L "$root" "$root/usr/bin/$version" -P "$@"; }

# How that Python was compiled, which setup.py heeds as any cross-build's does; its own packages would hide this one's.
mkdir "$work/sysconfig"
cp "$root/usr/lib/$version/_sysconfigdata__aarch64-linux-gnu.py" "$work/sysconfig"
PYTHONPATH=$work/sysconfig _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__aarch64-linux-gnu _PYTHON_HOST_PLATFORM=linux-aarch64 \
    FASTDL_ABI3=1 CPPFLAGS="-I$root/usr/include -I$root/usr/include/$version" \
    python setup.py -q build --build-base "$work/build" --build-lib "$work/lib" >"$work/log" 2>&1 || { tail -50 "$work/log"; exit 1; }

# Later onnxruntimes die where /sys is that of another kind of machine.
pip install -q --target "$work/site" --no-compile --only-binary=:all: --python-version "${version#python}" \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    "numpy>=2.0" "onnx>=1.17" "onnxruntime>=1.20,<1.23" "rich>=13" "pytest>=8" pytest-xdist hypothesis

export PYTHONPATH=$work/lib:$work/site
python_arm64 -c 'import platform; from fastdl import _ext; print(platform.machine(), _ext.isa())'
python_arm64 -m pytest -p no:cacheprovider -n 0 \
    tests/kernels/test_{kernels,activations,optimizers}.py tests/layers/test_layers.py tests/models/test_sequential.py "$@"

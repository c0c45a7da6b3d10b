#!/usr/bin/env bash
# The tests of what is written in C, with a build that a sanitizer watches: tools/sanitize.sh address|thread [pytest's arguments]
# address: every build that this machine runs, or FASTDL_ISA's alone, under ASan and UBSan. thread: one build, under TSan.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
arguments=("${@:2}")
library() { readlink -f "$(gcc -print-file-name="$1")"; }

# Of the instruction sets in $isas; kernels for others are linked as they are. The sanitizers multiply the time to compile:
# hence -O1, and of -g what their reports tell, lines.
build() {
    FASTDL_CFLAGS="-O1 -g1 -fno-omit-frame-pointer $*" FASTDL_CFLAGS_FOR="$isas" python setup.py -q build --build-base "$work" --build-lib "$work/lib" >"$work/log" 2>&1 ||
        { tail -50 "$work/log"; exit 1; }
}
# the built package, not this folder's; at the addresses of old, as GCC 12's sanitizers cannot live with how random new
# kernels make them
watched() {
    setarch -R env PYTHONPATH="$work/lib" LD_PRELOAD="$preload" "$@" python -P -m pytest -p no:cacheprovider -n 0 "${tests[@]}" "${arguments[@]}"
}

case ${1-} in
address)
    isas=${FASTDL_ISA-$(python -P -c "from fastdl import _ext; print(*_ext.supported_isas())")}
    # checks of memory are called: in line they take half as long again to compile
    build -fsanitize=address,undefined -fno-sanitize-recover=all --param asan-instrumentation-with-call-threshold=0
    preload="$(library libasan.so) $(library libstdc++.so.6)" # libstdc++: ASan looks for its exceptions at the start
    tests=(tests/kernels tests/ops tests/compiler)
    for isa in $isas; do
        echo "ASan and UBSan, FASTDL_ISA=$isa"
        # leaks are Python's and numpy's own; what asks for too much memory must get NULL, as without ASan
        watched PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 FASTDL_ISA="$isa"
    done
    ;;
thread)
    isas=$(python -P -c "from fastdl import _ext; print(_ext.isa())")
    build -fsanitize=thread
    preload=$(library libtsan.so)
    tests=(tests/compiler tests/models/test_engine.py)
    echo "TSan"
    # the team's tests fork; what asks for too much memory must get NULL, as without TSan
    watched TSAN_OPTIONS="die_after_fork=0 allocator_may_return_null=1 suppressions=$PWD/tools/tsan.txt"
    ;;
*)
    sed -n 2,3p "$0" >&2
    exit 2
    ;;
esac

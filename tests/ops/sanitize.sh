#!/bin/sh
# Runs the operator tests under AddressSanitizer and UndefinedBehaviorSanitizer, on a copy of the
# tree that is built with them. PYTHON names the interpreter (python).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

cp -r "$root/setup.py" "$root/pyproject.toml" "$root/csrc" "$copy"
cp -r "$root/pyrobust" "$root/tests" "$copy"
rm -f "$copy"/pyrobust/_C*.so
cd "$copy"
PYROBUST_CUDA=0 PYROBUST_SANITIZE=1 "$python" setup.py --quiet build_ext --inplace

# Python and PyTorch keep memory to their end: leaks are not looked for. The library that throws
# C++ exceptions must be loaded before ASan intercepts them.
export ASAN_OPTIONS=detect_leaks=0
export UBSAN_OPTIONS=print_stacktrace=1
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
# A sanitised build has one instruction set; tests about the choice among them have nothing to test.
"$python" -m pytest -q -p no:cacheprovider -m "not slow and not gpu" -k "not instruction_set" tests/ops

#!/bin/sh
# Runs the CUDA kernels on the host, a check of their logic where there is no GPU: the operator
# tests, and a comparison of all results with those of the CPU's loops, bit by bit. PYTHON names the
# interpreter (python).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${PYTHON:-python}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

cp -r "$root/setup.py" "$root/pyproject.toml" "$root/csrc" "$root/pyrobust" "$root/tests" "$copy"
rm -f "$copy"/pyrobust/_C*.so
cp "$here/stream.cuh" "$copy/csrc/cuda"
cp "$here/register.cpp" "$copy/csrc/cpu"
(cd "$copy" && PYROBUST_CUDA=0 "$python" setup.py --quiet build_ext --inplace)

# Left out: an index out of range aborts, and distributions take too many samples for fibers.
(cd "$copy" && "$python" -m pytest -q -p no:cacheprovider -m "not slow and not gpu" tests/ops \
  --deselect tests/ops/test_core.py -k "not wrong_arguments and not distribution and not ball")

fingerprint() {
  cd "$1"
  "$python" -c "
import runpy
core = runpy.run_path('tests/ops/test_core.py')
for shape in [(5, 3, 20, 20), (9, 3, 7, 3), (3, 2, 4, 5), (2, 1, 1, 1)]:
    print(*core['fingerprints'](shape), sep='\n')
"
}
fingerprint "$root" > "$copy/cpu.txt"
fingerprint "$copy" > "$copy/cuda.txt"
diff "$copy/cpu.txt" "$copy/cuda.txt"
echo "the CUDA kernels give the bits of the CPU's loops"

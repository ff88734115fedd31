#!/bin/sh
# Everything that needs a GPU, in one command: builds the core for the GPU at hand, runs the GPU
# tests, runs compute-sanitizer where it is installed, times training steps, the attacks of an
# evaluation, the search for neighbours and then the operators, each against its limits and peers,
# and prints their tables last. Results lie in benchmarks/results/.
#
#     benchmarks/gpu.sh               PYTHON names the interpreter (python)
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-python}
export CUDA_HOME="${CUDA_HOME:-/usr/local/cuda}"
capability=$("$python" -c "import torch; print('%d.%d' % torch.cuda.get_device_capability())")
export TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-$capability}"

PYROBUST_CUDA=1 "$python" setup.py --quiet build_ext --inplace
"$python" -m pytest -q -m "gpu and not slow" tests

sanitizer=$(command -v compute-sanitizer || echo "$CUDA_HOME/bin/compute-sanitizer")
if [ -x "$sanitizer" ]; then
  for tool in memcheck racecheck synccheck; do
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$sanitizer" --tool "$tool" --error-exitcode 1 \
      "$python" -m pytest -q -p no:cacheprovider tests/ops/test_core.py -k same_bits
  done
else
  echo "compute-sanitizer is not installed: its checks are left out"
fi

"$python" benchmarks/training.py --device cuda --networks resnet-18 wrn-28-10 --batch-size 256
"$python" benchmarks/evaluation.py --random resnet-18 wrn-28-10 --epsilon 1/255 --restarts 1 \
  --output benchmarks/results/evaluation-gpu.json
"$python" benchmarks/neighbours.py --sizes 1000000 10000000 --self-sizes 300000 1000000 \
  --methods ours faiss --memory-gb 8 --repeats 1 --output benchmarks/results/neighbours-gpu.json
"$python" benchmarks/operators.py --device cuda "$@"

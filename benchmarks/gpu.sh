#!/usr/bin/env bash
# Check and measure pyrobust on a GPU, the most telling first, within ten minutes.
#
#     benchmarks/gpu.sh
#
# Needs Python with torch, NumPy and pytest, and nvcc or a prebuilt core; no network. Each step has
# its own time limit, and a step that fails does not stop the others. The summary, the output and
# the numbers of each step are in $RESULTS as soon as the step ends. The exit status is 1 if a step
# failed. benchmarks/gpu_bundle.sh makes the bundle for a machine without network.
#
#   PYTHON    interpreter (python3)
#   DEVICE    cuda, or cpu for a dry run with tiny sizes
#   SECONDS_IN_ALL  after which no step starts (600)
#   BUNDLE    folder with wheels/*.whl and a core for this Python and torch (build/gpu-bundle)
#   RESULTS   folder of the results (benchmarks/results/gpu)
#   OUT       if set, a folder that gets a copy of the results after each step
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
device=${DEVICE:-cuda}
bundle=${BUNDLE:-build/gpu-bundle}
results=${RESULTS:-benchmarks/results/gpu}
deadline=$(($(date +%s) + ${SECONDS_IN_ALL:-600}))
mkdir -p "$results"
results=$(cd "$results" && pwd)
summary=$results/summary.txt
: > "$summary"
failed=0

if [ "$device" = cuda ]; then
  operators=(--device cuda --rounds 20)
  training=(--networks resnet-18 wrn-28-10 --batch-size 256 --rounds 3)
  evaluation=(--random resnet-18 --epsilon 1/255 --restarts 1 --num-images 1024)
  bits="same_bits or captured or opcheck or stream"
else # tiny sizes, and tests of the same files
  export CUDA_VISIBLE_DEVICES=
  operators=(--device cpu --rounds 2 --batch-size 8 --loader-images 80 --only linf)
  training=(--networks wrn-10-1 --batch-size 10 --rounds 1)
  evaluation=(--random wrn-10-1 --restarts 1 --steps 2 --num-images 8 --pass-size 8 --repeats 1)
  bits="threads and margin"
fi

say() {
  echo "$*" | tee -a "$summary"
  [ -z "${OUT:-}" ] || { mkdir -p "$OUT" && cp -r "$results/." "$OUT/"; }
}

# step NAME SECONDS COMMAND...: runs the command for so long at most.
step() {
  local name=$1 limit=$2 start left status
  shift 2
  start=$(date +%s)
  left=$((deadline - start))
  if [ "$left" -lt 5 ]; then
    say "$name: left out, no time"
    return 1
  fi
  timeout --kill-after=5 "$((limit < left ? limit : left))" "$@" > "$results/$name.log" 2>&1
  status=$?
  case $status in
    0) status=passed ;;
    124 | 137) status="stopped at its limit" failed=1 ;;
    *) status="failed with $status" failed=1 ;;
  esac
  say "$name: $status after $(($(date +%s) - start)) s; $(grep . "$results/$name.log" | tail -n 1)"
  [ "$status" = passed ]
}

tests() {
  local name=$1 limit=$2
  shift 2
  step "$name" "$limit" "$python" -m pytest -q -p no:cacheprovider -m "not slow" "$@"
}

has() {
  "$python" -c "import $1" 2> /dev/null
}

# --- what the machine lacks comes from the bundle ---------------------------------------------
for wheel in "$bundle"/wheels/*.whl; do
  [ -e "$wheel" ] && "$python" -m zipfile -e "$wheel" "$results/packages"
done
export PYTHONPATH="$PWD:$results/packages${PYTHONPATH:+:$PYTHONPATH}"

core_fits() {
  "$python" - "$device" << 'END'
import sys
from pyrobust.ops import choose_device
print(choose_device(sys.argv[1]))
END
}

build() {
  local capability
  capability=$("$python" -c "import torch; print('%d.%d' % torch.cuda.get_device_capability())")
  TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$capability} PYROBUST_CUDA=1 \
    "$python" setup.py --quiet build_ext --inplace
}
export -f core_fits build
export python device

step core 60 bash -c core_fits ||
  { cp "$bundle"/_C*.so pyrobust/ 2> /dev/null && step bundled_core 60 bash -c core_fits; } ||
  { step build 300 bash -c build && step built_core 60 bash -c core_fits; } ||
  { say "no core: nothing can be tested"; exit 1; }

# --- correctness ------------------------------------------------------------------------------
tests operators 120 tests/ops/test_core.py -k "$bits"
tests training_step 90 tests/training/test_on_device.py -k "not killed"
if has hypothesis; then
  rest=(tests/ops --ignore=tests/ops/test_builds.py --deselect=tests/ops/test_core.py)
  tests other_operators 150 "${rest[@]}" -k "$([ "$device" = cuda ] && echo cuda || echo one_element)"
else
  say "other_operators: left out, hypothesis is not installed"
fi
tests resume 60 tests/training/test_on_device.py -k "killed and $device"
tests loader 60 tests/training/test_loader.py -k "$device or synchronisation"

# --- speed ------------------------------------------------------------------------------------
step bandwidth 90 "$python" benchmarks/operators.py "${operators[@]}" --no-compile \
  --results "$results"
kinds=$([ "$device" = cuda ] && echo cuda_graph)
step training 180 "$python" benchmarks/training.py --device "$device" "${training[@]}" \
  --norms linf --precisions bfloat16 --kinds $kinds --results "$results"
if has pyautoattack; then
  step evaluation 120 "$python" benchmarks/evaluation.py --device "$device" "${evaluation[@]}" \
    --output "$results/evaluation.json"
else
  say "evaluation: left out, pyautoattack is not installed"
fi

# --- compute-sanitizer, and torch.compile if time is left --------------------------------------
sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")
for tool in memcheck racecheck synccheck; do
  if [ "$device" = cuda ] && [ -x "$sanitizer" ]; then
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 step "$tool" 120 "$sanitizer" --tool "$tool" \
      --error-exitcode 1 "$python" -m pytest -q -p no:cacheprovider tests/ops/test_core.py \
      -k same_bits
  else
    say "$tool: left out, compute-sanitizer is not installed or there is no GPU"
  fi
done
if [ "$device" = cuda ]; then
  mkdir -p "$results/compiled"
  step compiled 180 "$python" benchmarks/training.py --device cuda --networks resnet-18 \
    --batch-size 256 --rounds 3 --norms linf --precisions bfloat16 --kinds compiled \
    --results "$results/compiled"
fi
rm -rf "$results/packages"
say "done"
exit "$failed"

#pragma once

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "rows.cuh"

namespace pyrobust {

// Runs a kernel in blocks of kBlock threads on the current CUDA stream; nothing waits for it.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), unsigned blocks, const Arguments&... arguments) {
  kernel<<<blocks, kBlock, 0, c10::cuda::getCurrentCUDAStream()>>>(arguments...);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

} // namespace pyrobust

#include "../ops/register.h"
#include "launch.cuh"

TORCH_LIBRARY_IMPL(pyrobust, CUDA, m) {
  pyrobust::register_ops<pyrobust::CudaLaunch>(m);
}

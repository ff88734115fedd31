#include "../ops/register.h"
#include "launch.h"

TORCH_LIBRARY_IMPL(pyrobust, CPU, m) {
  pyrobust::register_ops<pyrobust::CpuLaunch>(m);
}

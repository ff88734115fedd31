#pragma once

#include "apgd.h"
#include "averaging.h"
#include "l1.h"
#include "loading.h"
#include "losses.h"
#include "sampling.h"
#include "steps.h"

namespace pyrobust {

// Binds every operator to one device.
template <typename Launch>
void register_ops(torch::Library& m) {
  register_steps<Launch>(m);
  register_apgd<Launch>(m);
  register_l1<Launch>(m);
  register_sampling<Launch>(m);
  register_losses<Launch>(m);
  register_averaging<Launch>(m);
  register_loading<Launch>(m);
}

} // namespace pyrobust

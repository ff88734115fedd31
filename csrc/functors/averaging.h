#pragma once

#include "host_device.h"

// The update of the weights and of their average.
namespace pyrobust {

// average = decay * average + (1 - decay) * value
template <typename T>
struct EmaUpdate {
  T decay, rest;

  PYROBUST_HD void operator()(T& average, T value) const {
    average = decay * average + rest * value;
  }
};

// SGD with Nesterov momentum (Sutskever et al. 2013) in the form of torch.optim.SGD, where the
// learning rate multiplies the momentum buffer and weight decay is added to the gradient; then the
// average of the new weight.
template <typename T>
struct SgdEmaStep {
  T learning_rate, momentum, weight_decay;
  EmaUpdate<T> ema;

  PYROBUST_HD void operator()(T& param, T& buffer, T& average, T grad) const {
    const T g = grad + weight_decay * param;
    buffer = momentum * buffer + g;
    param = param - learning_rate * (g + momentum * buffer);
    ema(average, param);
  }
};

} // namespace pyrobust

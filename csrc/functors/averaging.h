#pragma once

#include "host_device.h"

// The update of the weights and of their average.
namespace pyrobust {

// SGD with momentum as in Sutskever et al. 2013 in the form of torch.optim.SGD: the rate
// multiplies the momentum buffer. Weight decay is added to the gradient.
template <typename T>
struct SgdStep {
  T learning_rate, momentum, weight_decay;
  bool nesterov;

  PYROBUST_HD void operator()(T& param, T& buffer, T grad) const {
    const T g = grad + weight_decay * param;
    buffer = momentum * buffer + g;
    param = param - learning_rate * (nesterov ? g + momentum * buffer : buffer);
  }
};

// average = decay * average + (1 - decay) * value
template <typename T>
struct EmaUpdate {
  T decay, rest;

  PYROBUST_HD void operator()(T& average, T value) const {
    average = decay * average + rest * value;
  }
};

template <typename T>
struct SgdEmaStep {
  SgdStep<T> sgd;
  EmaUpdate<T> ema;

  PYROBUST_HD void operator()(T& param, T& buffer, T& average, T grad) const {
    sgd(param, buffer, grad);
    ema(average, param);
  }
};

} // namespace pyrobust

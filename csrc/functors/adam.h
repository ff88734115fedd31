#pragma once

#include "steps.h"

namespace pyrobust {

// Adam (Kingma and Ba 2015, Algorithm 1) going up the gradient. The moments never see the
// projection that follows. A gradient that is not finite counts as 0.
template <typename T>
struct AdamAscent {
  T learning_rate, beta1, beta2, rest1, rest2, correction1, correction2, eps;

  PYROBUST_HD T operator()(T x_adv, T grad, T& exp_avg, T& exp_avg_sq) const {
    const T g = finite_or_zero(grad);
    exp_avg = beta1 * exp_avg + rest1 * g;
    exp_avg_sq = beta2 * exp_avg_sq + rest2 * (g * g);
    const T root = square_root(correction2 * exp_avg_sq);
    return x_adv + learning_rate * (correction1 * exp_avg) / (root + eps);
  }
};

template <typename T>
struct LinfAdamStep {
  AdamAscent<T> adam;
  T epsilon;

  PYROBUST_HD void operator()(T& x_adv, T& exp_avg, T& exp_avg_sq, T x, T grad) const {
    x_adv = project_linf(adam(x_adv, grad, exp_avg, exp_avg_sq), x, epsilon);
  }
};

template <typename T>
struct L2AdamStep {
  static constexpr int kPasses = 1;
  AdamAscent<T> adam;
  T epsilon;

  struct Row {
    T shrink;
  };

  PYROBUST_HD Row begin() const {
    return {};
  }
  PYROBUST_HD Sum
  term(Pass<0>, const Row&, int64_t, T x_adv, T exp_avg, T exp_avg_sq, T x, T grad) const {
    return {square(adam(x_adv, grad, exp_avg, exp_avg_sq) - x)};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, Sum squares) const {
    row.shrink = shrink_to(epsilon, squares.value);
  }
  PYROBUST_HD void
  apply(const Row& row, int64_t, T& x_adv, T& exp_avg, T& exp_avg_sq, T x, T grad) const {
    x_adv = project_l2(adam(x_adv, grad, exp_avg, exp_avg_sq) - x, x, row.shrink);
  }
};

} // namespace pyrobust

#pragma once

#include "steps.h"

// AutoPGD (Croce and Hein 2020, Algorithm 1): the move with momentum and the bookkeeping of its
// per-sample step sizes.
namespace pyrobust {

// z = P(x_adv + step_size * sign(grad)), then P(x_adv + a (z - x_adv) + (1 - a) (x_adv - previous))
template <typename T>
struct ApgdLinfStep {
  static constexpr int kPasses = 0;
  T epsilon, momentum;

  struct Row {
    T step_size;
  };

  PYROBUST_HD Row begin(T step_size) const {
    return {step_size};
  }
  PYROBUST_HD T project(T point, T x) const {
    return clip_pixel(clip(point, x - epsilon, x + epsilon));
  }
  PYROBUST_HD void apply(const Row& row, int64_t, T& x_adv, T& previous, T x, T grad) const {
    const T here = x_adv;
    const T z = project(here + row.step_size * sign(grad), x);
    x_adv = project(here + (z - here) * momentum + (here - previous) * (T(1) - momentum), x);
    previous = here;
  }
};

// The same with grad / ||grad||_2 and the l2 ball; both points are projected.
template <typename T>
struct ApgdL2Step {
  static constexpr int kPasses = 3;
  T epsilon, momentum;

  struct Row {
    T step_size, scale, shrink_z, shrink;
  };

  PYROBUST_HD Row begin(T step_size) const {
    return {step_size};
  }
  PYROBUST_HD T ascent(const Row& row, T x_adv, T x, T grad) const {
    return (x_adv + row.scale * finite_or_zero(grad)) - x;
  }
  PYROBUST_HD T delta(const Row& row, T x_adv, T previous, T x, T grad) const {
    const T z = project_l2(ascent(row, x_adv, x, grad), x, row.shrink_z);
    return (x_adv + (z - x_adv) * momentum + (x_adv - previous) * (T(1) - momentum)) - x;
  }
  PYROBUST_HD Sum term(Pass<0>, const Row&, int64_t, T, T, T, T grad) const {
    return {square(finite_or_zero(grad))};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, Sum squares) const {
    row.scale = scale_to<T>(double(row.step_size), squares.value);
  }
  PYROBUST_HD Sum term(Pass<1>, const Row& row, int64_t, T x_adv, T, T x, T grad) const {
    return {square(ascent(row, x_adv, x, grad))};
  }
  PYROBUST_HD void finish(Pass<1>, Row& row, Sum squares) const {
    row.shrink_z = shrink_to(epsilon, squares.value);
  }
  PYROBUST_HD Sum term(Pass<2>, const Row& row, int64_t, T x_adv, T previous, T x, T grad) const {
    return {square(delta(row, x_adv, previous, x, grad))};
  }
  PYROBUST_HD void finish(Pass<2>, Row& row, Sum squares) const {
    row.shrink = shrink_to(epsilon, squares.value);
  }
  PYROBUST_HD void apply(const Row& row, int64_t, T& x_adv, T& previous, T x, T grad) const {
    const T here = x_adv;
    x_adv = project_l2(delta(row, here, previous, x, grad), x, row.shrink);
    previous = here;
  }
};

// What one evaluation of the loss changes for one sample. With window > 0 the step size is looked
// at: it is halved, and the walk goes back to the best point, where at most rho * window of the
// last `window` steps raised the loss, or where neither the step size changed at the last look
// nor the best loss since. A loss that is NaN is no improvement.
template <typename T>
struct ApgdTrack {
  int64_t window;
  T rho;

  PYROBUST_HD void operator()(
      bool& improved,
      bool& broken,
      bool& halved,
      T& loss_best,
      T& loss_previous,
      T& num_increases,
      T& loss_best_at_check,
      bool& halved_at_check,
      T& step_size,
      bool& standing,
      T loss,
      bool correct) const {
    improved = loss > loss_best;
    broken = !correct;
    standing = standing && correct;
    num_increases += loss > loss_previous ? T(1) : T(0);
    loss_previous = loss;
    loss_best = improved ? loss : loss_best;
    halved = false;
    if (window > 0) {
      const bool oscillates = num_increases <= rho * static_cast<T>(window);
      const bool stalls = !halved_at_check && loss_best_at_check >= loss_best;
      halved = oscillates || stalls;
      step_size = halved ? step_size * T(0.5) : step_size;
      num_increases = T(0);
      loss_best_at_check = loss_best;
      halved_at_check = halved;
    }
  }
};

} // namespace pyrobust

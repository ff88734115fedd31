#pragma once

#include "elementary.h"
#include "reduction.h"

// Steps of projected gradient ascent. Points lie in the ball of radius epsilon around x and in
// [0, 1]; x itself lies in [0, 1], so clipping to [0, 1] never leaves the ball.
namespace pyrobust {

// Back into the linf ball and into [0, 1]. The bounds are float numbers: |x_adv - x| exceeds
// epsilon by at most half a unit in the last place of x +- epsilon.
template <typename T>
PYROBUST_HD T project_linf(T point, T x, T epsilon) {
  return clip_pixel(x + clip(point - x, -epsilon, epsilon));
}

// Madry et al. 2018, Eq. 1: x_adv + step_size * sign(grad), projected.
template <typename T>
struct LinfStep {
  T step_size, epsilon;

  PYROBUST_HD void operator()(T& x_adv, T x, T grad) const {
    x_adv = project_linf(x_adv + step_size * sign(grad), x, epsilon);
  }
};

// The factor that brings a vector of squared norm `squares` to norm `length`; 0 for no vector. It
// stays finite: a vector so short that T cannot hold the factor ends shorter than `length`.
template <typename T>
PYROBUST_HD T scale_to(double length, double squares) {
  const double largest = double(Ieee<T>::kLargest);
  const double factor = squares > 0.0 ? length / square_root(squares) : 0.0;
  return static_cast<T>(factor < largest ? factor : largest);
}

// The factor that brings a vector of squared norm `squares` into the ball of radius epsilon.
template <typename T>
PYROBUST_HD T shrink_to(T epsilon, double squares) {
  const double norm = square_root(squares);
  return norm > double(epsilon) ? static_cast<T>(double(epsilon) / norm) : T(1);
}

// x plus the shrunk perturbation, in [0, 1]; rounded towards x, so that the norm stays within
// epsilon up to the rounding of each component's own product (a relative 2^-23 for float).
template <typename T>
PYROBUST_HD T project_l2(T delta, T x, T shrink) {
  return add_towards(x, shrink * delta);
}

template <typename T>
PYROBUST_HD double square(T value) {
  return double(value) * double(value);
}

// x_adv + step_size * grad / ||grad||_2, projected. A row without a gradient does not move;
// elements that are not finite count as 0.
template <typename T>
struct L2Step {
  static constexpr int kPasses = 2;
  T step_size, epsilon;

  struct Row {
    T scale, shrink;
  };

  PYROBUST_HD Row begin() const {
    return {};
  }
  PYROBUST_HD T delta(const Row& row, T x_adv, T x, T grad) const {
    return (x_adv + row.scale * finite_or_zero(grad)) - x;
  }
  PYROBUST_HD Sum term(Pass<0>, const Row&, int64_t, T, T, T grad) const {
    return {square(finite_or_zero(grad))};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, Sum squares) const {
    row.scale = scale_to<T>(double(step_size), squares.value);
  }
  PYROBUST_HD Sum term(Pass<1>, const Row& row, int64_t, T x_adv, T x, T grad) const {
    return {square(delta(row, x_adv, x, grad))};
  }
  PYROBUST_HD void finish(Pass<1>, Row& row, Sum squares) const {
    row.shrink = shrink_to(epsilon, squares.value);
  }
  PYROBUST_HD void apply(const Row& row, int64_t, T& x_adv, T x, T grad) const {
    x_adv = project_l2(delta(row, x_adv, x, grad), x, row.shrink);
  }
};

} // namespace pyrobust

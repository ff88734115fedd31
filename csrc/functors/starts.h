#pragma once

#include "draws.h"
#include "steps.h"

// Random starting points of attacks. `draw` is the noise of an element.
namespace pyrobust {

// Uniform in the box.
template <typename T>
struct LinfStart {
  static constexpr int kPasses = 0;
  T epsilon;

  struct Row {};

  PYROBUST_HD Row begin(SampleStream) const {
    return {};
  }
  PYROBUST_HD void apply(const Row&, int64_t, T& start, T x, float draw) const {
    start = clip_pixel(x + epsilon * T(draw));
  }
};

// epsilon * t / ||t||_inf for t uniform in the box: some element moves by exactly epsilon.
template <typename T>
struct LinfBoundaryStart {
  static constexpr int kPasses = 1;
  T epsilon;

  struct Row {
    T largest;
  };

  PYROBUST_HD Row begin(SampleStream) const {
    return {};
  }
  PYROBUST_HD Largest<T> term(Pass<0>, const Row&, int64_t, T, T, float draw) const {
    return {absolute(T(draw))};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, Largest<T> largest) const {
    row.largest = largest.value;
  }
  PYROBUST_HD void apply(const Row& row, int64_t, T& start, T x, float draw) const {
    start = clip_pixel(x + epsilon * (T(draw) / row.largest));
  }
};

// A normal direction; of length epsilon, or uniform in the ball: epsilon * u^(1 / d), for the
// volume of a ball grows as the d-th power of its radius.
template <typename T>
struct L2Start {
  static constexpr int kPasses = 1;
  T epsilon;
  bool on_boundary;
  double inverse_length;

  struct Row {
    double length;
    T scale;
  };

  PYROBUST_HD Row begin(SampleStream radius) const {
    const double u = double(open_uniform(radius.words(0).w0));
    const double share = on_boundary ? 1.0 : exponential(logarithm(u) * inverse_length);
    return {double(epsilon) * share, T(0)};
  }
  PYROBUST_HD Sum term(Pass<0>, const Row&, int64_t, T, T, float draw) const {
    return {square(draw)};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, Sum squares) const {
    row.scale = scale_to<T>(row.length, squares.value);
  }
  PYROBUST_HD void apply(const Row& row, int64_t, T& start, T x, float draw) const {
    start = project_l2(T(draw), x, row.scale);
  }
};

// The noise itself.
template <typename T>
struct Noise {
  static constexpr int kPasses = 0;
  struct Row {};
  PYROBUST_HD Row begin() const {
    return {};
  }
  PYROBUST_HD void apply(const Row&, int64_t, T& value, float draw) const {
    value = T(draw);
  }
};

} // namespace pyrobust

#pragma once

#include <math.h>

#include "reduction.h"
#include "scalar.h"

// Losses of a row of logits z that need only its largest entries, for the label y and, where the
// attack aims at it, the target t. All of them grow as the attack succeeds. Among equal logits
// the one of lowest index counts as the largest; NaN counts as larger than any number.
namespace pyrobust {

// Whether logit z of index j ranks above logit y of index i.
template <typename T>
PYROBUST_HD bool ranks_above(T z, int32_t j, T y, int32_t i) {
  const bool larger = z > y || (z != z && y == y);
  const bool smaller = y > z || (y != y && z == z);
  return larger || (!smaller && j < i);
}

template <typename T, int n>
struct Ranking;

// What one logit gives to a ranking of the n largest.
template <typename T, int n>
struct Candidate {
  using Accumulator = Ranking<T, n>;
  T value;
  int32_t index;
  bool is_label, is_target;
};

// The n largest logits in falling order, and those of the label and of the target. Its order is
// total, so candidates may come in any order.
template <typename T, int n>
struct Ranking {
  static constexpr bool kAnyOrder = true;
  T value[n];
  int32_t index[n];
  // -0 adds nothing, not even to -0: partial rankings that lack the logit leave it as it is.
  T label = -T(0), target = -T(0);

  PYROBUST_HD Ranking() {
    for (int i = 0; i < n; ++i) {
      value[i] = -INFINITY;
      index[i] = INT32_MAX;
    }
  }
  PYROBUST_HD void insert(T z, int32_t j) {
    for (int i = 0; i < n; ++i) {
      const bool takes = ranks_above(z, j, value[i], index[i]);
      const T pushed_value = takes ? value[i] : z;
      const int32_t pushed_index = takes ? index[i] : j;
      value[i] = takes ? z : value[i];
      index[i] = takes ? j : index[i];
      z = pushed_value;
      j = pushed_index;
    }
  }
  PYROBUST_HD void take(const Candidate<T, n>& candidate) {
    if (ranks_above(candidate.value, candidate.index, value[n - 1], index[n - 1])) {
      insert(candidate.value, candidate.index);
    }
    label = candidate.is_label ? candidate.value : label;
    target = candidate.is_target ? candidate.value : target;
  }
  PYROBUST_HD Ranking combine(const Ranking& other) const {
    Ranking result = *this;
    for (int i = 0; i < n; ++i) {
      result.insert(other.value[i], other.index[i]);
    }
    result.label += other.label;
    result.target += other.target;
    return result;
  }
};

// A gradient that is zero but at a few logits.
template <typename T, int n>
struct SparseGradient {
  int64_t index[n];
  T slope[n];

  PYROBUST_HD T at(int64_t j) const {
    T sum = T(0);
    for (int i = 0; i < n; ++i) {
      sum += j == index[i] ? slope[i] : T(0);
    }
    return sum;
  }
};

// max_{i != y} z_i - z_y
template <typename T>
struct Margin {
  static constexpr int kTop = 2;
  using Gradient = SparseGradient<T, 2>;

  PYROBUST_HD T
  operator()(const Ranking<T, kTop>& z, int64_t y, int64_t, Gradient& gradient) const {
    const int other = z.index[0] == y ? 1 : 0;
    gradient = {{z.index[other], y}, {T(1), T(-1)}};
    return z.value[other] - z.label;
  }
};

// z_t - z_y
template <typename T>
struct TargetedMargin {
  static constexpr int kTop = 1;
  using Gradient = SparseGradient<T, 2>;

  PYROBUST_HD T
  operator()(const Ranking<T, kTop>& z, int64_t y, int64_t t, Gradient& gradient) const {
    gradient = {{t, y}, {T(1), T(-1)}};
    return z.target - z.label;
  }
};

// above / (below + 1e-12), in double precision, for differences of logits cancel; `slope` is its
// derivative by `above`, times the value.
template <typename T>
struct Ratio {
  T value, inverse, slope;

  PYROBUST_HD Ratio(double above, double below) {
    const double factor = 1.0 / (below + 1e-12);
    value = static_cast<T>(above * factor);
    inverse = static_cast<T>(factor);
    slope = static_cast<T>(above * factor * factor);
  }
};

// -(z_y - max_{i != y} z_i) / (z_(1) - z_(3) + 1e-12), z_(i) the i-th largest (Croce and Hein
// 2020, Eq. 6, with the constant of AutoAttack).
template <typename T>
struct Dlr {
  static constexpr int kTop = 3;
  using Gradient = SparseGradient<T, 4>;

  PYROBUST_HD T
  operator()(const Ranking<T, kTop>& z, int64_t y, int64_t, Gradient& gradient) const {
    const int other = z.index[0] == y ? 1 : 0;
    const Ratio<T> ratio(
        double(z.value[other]) - double(z.label), double(z.value[0]) - double(z.value[2]));
    gradient = {
        {z.index[other], y, z.index[0], z.index[2]},
        {ratio.inverse, -ratio.inverse, -ratio.slope, ratio.slope}};
    return ratio.value;
  }
};

// -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12) (Croce and Hein 2020, Eq. 7)
template <typename T>
struct TargetedDlr {
  static constexpr int kTop = 4;
  using Gradient = SparseGradient<T, 5>;

  PYROBUST_HD T
  operator()(const Ranking<T, kTop>& z, int64_t y, int64_t t, Gradient& gradient) const {
    const double tail = 0.5 * (double(z.value[2]) + double(z.value[3]));
    const Ratio<T> ratio(double(z.target) - double(z.label), double(z.value[0]) - tail);
    const T half = T(0.5) * ratio.slope;
    gradient = {
        {t, y, z.index[0], z.index[2], z.index[3]},
        {ratio.inverse, -ratio.inverse, -ratio.slope, half, half}};
    return ratio.value;
  }
};

// Any of them as a row functor.
template <typename T, typename Loss>
struct RankedLoss {
  static constexpr int kPasses = 1;

  struct Row {
    int64_t label, target;
    T loss;
    typename Loss::Gradient gradient;
  };

  PYROBUST_HD Row begin(T, int64_t label, int64_t target) const {
    return {label, target};
  }
  PYROBUST_HD Candidate<T, Loss::kTop> term(Pass<0>, const Row& row, int64_t j, T, T z) const {
    return {z, static_cast<int32_t>(j), j == row.label, j == row.target};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, const Ranking<T, Loss::kTop>& ranking) const {
    row.loss = Loss{}(ranking, row.label, row.target, row.gradient);
  }
  PYROBUST_HD void apply(const Row& row, int64_t j, T& grad, T) const {
    grad = row.gradient.at(j);
  }
  PYROBUST_HD void end(const Row& row, T& loss, int64_t, int64_t) const {
    loss = row.loss;
  }
};

} // namespace pyrobust

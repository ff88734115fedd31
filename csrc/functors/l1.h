#pragma once

#include "elementary.h"
#include "reduction.h"
#include "steps.h"

// Steps in the l1 ball (Croce and Hein 2021, "Mind the Box"): a sparse step of steepest ascent, and
// the exact projection onto the intersection of the ball and [0, 1]^d.
namespace pyrobust {

// A number of elements.
struct Count {
  using Accumulator = Count;
  static constexpr bool kAnyOrder = true;
  int32_t value = 0;

  PYROBUST_HD void take(Count other) {
    value += other.value;
  }
  PYROBUST_HD Count combine(Count other) const {
    return {value + other.value};
  }
};

// What the perturbation of one element is shrunk to by a threshold, where x leaves it room.
template <typename T>
PYROBUST_HD double shrunk(T delta, T x, double threshold) {
  const double room = delta > T(0) ? 1.0 - double(x) : double(x);
  return clip(double(absolute(delta)) - threshold, 0.0, room);
}

// The l1 norm of a perturbation shrunk by a threshold, the number of elements at which this norm
// falls as the threshold rises, and the largest element before.
struct ShrunkNorm {
  using Accumulator = ShrunkNorm;
  static constexpr bool kAnyOrder = false;
  double norm = 0.0, falling = 0.0, largest = 0.0;

  PYROBUST_HD void take(ShrunkNorm other) {
    norm += other.norm;
    falling += other.falling;
    largest = other.largest > largest ? other.largest : largest;
  }
  PYROBUST_HD ShrunkNorm combine(ShrunkNorm other) const {
    return {
        norm + other.norm, falling + other.falling,
        other.largest > largest ? other.largest : largest};
  }
};

template <typename T>
PYROBUST_HD ShrunkNorm shrunk_norm(T delta, T x, double threshold) {
  const double size = double(absolute(delta)), value = shrunk(delta, x, threshold);
  return {value, value > 0.0 && value == size - threshold ? 1.0 : 0.0, size};
}

// The projection of x + delta is x + sign(delta) min(max(|delta| - threshold, 0), room) for the
// least threshold, from 0, that leaves a norm of at most epsilon (Proposition 2.2). The norm is
// piecewise linear and falls in the threshold, so Newton's steps end at the solution once they
// reach its piece; a step that leaves the bracket is replaced by bisection.
struct L1Threshold {
  double value = 0.0;
  double low = 0.0, high = 0.0; // the norm is too large at `low`, and is not at `high`
  int32_t round = 0;
  bool found = false;

  PYROBUST_HD void update(double largest_norm, ShrunkNorm at) {
    constexpr double kAccepted = 0x1p-40;
    constexpr int32_t kNewton = 24, kRounds = 96;
    const bool fits = at.norm <= largest_norm;
    high = round == 0 ? at.largest : (fits ? value : high);
    low = fits ? low : value;
    if (fits && (round == 0 || at.norm >= largest_norm * (1.0 - kAccepted))) {
      found = true;
      return;
    }
    const double aim = largest_norm * (1.0 - 0.5 * kAccepted);
    const double newton = value + (at.norm - aim) / at.falling;
    const double middle = 0.5 * (low + high);
    const bool within = newton > low && newton < high && round < kNewton;
    const double next = within ? newton : middle;
    found = ++round == kRounds || !(next > low && next < high);
    value = found ? high : next;
  }
};

// The norm that stored perturbations aim at: below epsilon by more than storing one as T may add.
template <typename T>
PYROBUST_HD double aimed_norm(double epsilon) {
  return epsilon * (1.0 - (Ieee<T>::kMantissa < 52 ? 0x1p-22 : 0x1p-50));
}

// A subnormal perturbation becomes none: rounding may add more to it than the aim leaves room for.
template <typename T>
PYROBUST_HD T project_l1(T delta, T x, double threshold) {
  const double exact = shrunk(delta, x, threshold);
  const T size = exact < double(Ieee<T>::kSmallestNormal) ? T(0) : static_cast<T>(exact);
  return add_towards(x, delta > T(0) ? size : -size);
}

// The projection of a point.
template <typename T>
struct L1Project {
  static constexpr int kPasses = 1;
  double epsilon;

  using Row = L1Threshold;

  PYROBUST_HD Row begin() const {
    return {};
  }
  PYROBUST_HD ShrunkNorm term(Pass<0>, const Row& row, int64_t, T point, T x) const {
    return shrunk_norm(point - x, x, row.value);
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, ShrunkNorm at) const {
    row.update(aimed_norm<T>(epsilon), at);
  }
  PYROBUST_HD bool again(Pass<0>, const Row& row) const {
    return !row.found;
  }
  PYROBUST_HD void apply(const Row& row, int64_t, T& point, T x) const {
    point = project_l1(point - x, x, row.value);
  }
};

// x_adv + step_size * s / ||s||_1, projected, where s is the sign of the gradient at its
// num_moved largest elements, and 0 elsewhere (their Eq. 9). Elements as large as the last one
// are moved, too; elements that are not finite count as 0.
template <typename T>
struct L1Step {
  static constexpr int kPasses = 3;
  using Bits = typename Ieee<T>::Bits; // those of positive numbers have the numbers' order
  double epsilon;

  struct Row {
    T step_size, scale;
    int64_t num_moved;
    // At least num_moved elements have the bits `low` or larger ones, fewer have `high`.
    Bits low, high;
    L1Threshold threshold;
  };

  PYROBUST_HD Row begin(T step_size, int64_t num_moved) const {
    return {step_size, T(0), num_moved, 0, bits_as<Bits>(Ieee<T>::kLargest) + 1, {}};
  }
  PYROBUST_HD static Bits magnitude(T grad) {
    return bits_as<Bits>(absolute(finite_or_zero(grad)));
  }
  PYROBUST_HD static Bits middle(const Row& row) {
    return row.low + (row.high - row.low) / 2;
  }
  PYROBUST_HD T delta(const Row& row, T x_adv, T x, T grad) const {
    const T step = magnitude(grad) >= row.low ? row.scale * sign(finite_or_zero(grad)) : T(0);
    return (x_adv + step) - x;
  }

  PYROBUST_HD Count term(Pass<0>, const Row& row, int64_t, T, T, T grad) const {
    return {magnitude(grad) >= middle(row) ? 1 : 0};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, Count count) const {
    const Bits tried = middle(row);
    const bool enough = count.value >= row.num_moved;
    row.low = enough ? tried : row.low;
    row.high = count.value == row.num_moved ? tried + 1 : (enough ? row.high : tried);
  }
  PYROBUST_HD bool again(Pass<0>, const Row& row) const {
    return row.high - row.low > 1;
  }

  PYROBUST_HD Count term(Pass<1>, const Row& row, int64_t, T, T, T grad) const {
    return {magnitude(grad) >= row.low && magnitude(grad) > 0 ? 1 : 0};
  }
  PYROBUST_HD void finish(Pass<1>, Row& row, Count moved) const {
    row.scale = moved.value > 0 ? row.step_size / static_cast<T>(moved.value) : T(0);
  }

  PYROBUST_HD ShrunkNorm term(Pass<2>, const Row& row, int64_t, T x_adv, T x, T grad) const {
    return shrunk_norm(delta(row, x_adv, x, grad), x, row.threshold.value);
  }
  PYROBUST_HD void finish(Pass<2>, Row& row, ShrunkNorm at) const {
    row.threshold.update(aimed_norm<T>(epsilon), at);
  }
  PYROBUST_HD bool again(Pass<2>, const Row& row) const {
    return !row.threshold.found;
  }

  PYROBUST_HD void apply(const Row& row, int64_t, T& x_adv, T x, T grad) const {
    x_adv = project_l1(delta(row, x_adv, x, grad), x, row.threshold.value);
  }
};

} // namespace pyrobust

#pragma once

#include <cstdint>

#include "host_device.h"

// A row functor reduces each row (a sample, or the logits of one) kPasses times and then maps it:
//
//   Row begin(row values...) const                     what holds for the whole row
//   Term term(Pass<k>, const Row&, j, values...) const what element j gives to reduction k
//   void finish(Pass<k>, Row&, Accumulator) const      takes the result of reduction k
//   bool again(Pass<k>, const Row&) const              optional: whether to reduce k once more
//   void apply(const Row&, j, values...) const         writes the outputs among the values
//   void end(const Row&, row values...) const          optional: writes the outputs of the row
//
// A Term names its Accumulator, which takes terms and combines with its like. Launchers do so in
// one fixed order, so sums have the same bits on every device and with every number of threads;
// where the result is the same in any order (kAnyOrder), the CPU takes the terms as they come.
namespace pyrobust {

template <int k>
struct Pass {};

// The order. Element j goes to lane j % lanes, in rising order of j. On CUDA a thread holds
// kPerThread lanes in a row; each thread combines its own lanes, (0, 2), (1, 3), then (0, 1); each
// warp its threads, (t, t + 16), (t, t + 8), ..., (t, t + 1); then the warps in the same way. Rows
// of up to kShortRow elements take one warp with a lane a thread, longer ones kLongWarps warps.
constexpr int64_t kShortRow = 256;
constexpr int kWarp = 32;
constexpr int kLongWarps = 8;
constexpr int kPerThread = 4;

// Whether a functor asks for reduction k once more. All threads of a row agree: its state is
// theirs.
template <int k, typename F, typename Row>
PYROBUST_HD bool repeats(const F& f, const Row& row) {
  if constexpr (requires { f.again(Pass<k>{}, row); }) {
    return f.again(Pass<k>{}, row);
  } else {
    return false;
  }
}

// (0, w), (1, w + 1), ... for w = count / 2, ..., 1; the result is values[0].
template <int count, typename Acc>
PYROBUST_HD void combine_halves(Acc* values) {
  if constexpr (count > 1) {
    constexpr int kHalf = count / 2;
#pragma GCC ivdep
    for (int i = 0; i < kHalf; ++i) {
      values[i] = values[i].combine(values[i + kHalf]);
    }
    combine_halves<kHalf>(values);
  }
}

// A sum in double precision: squares of floats are exact in it.
struct Sum {
  using Accumulator = Sum;
  static constexpr bool kAnyOrder = false;
  double value = 0.0;

  PYROBUST_HD void take(Sum other) {
    value += other.value;
  }
  PYROBUST_HD Sum combine(Sum other) const {
    return {value + other.value};
  }
};

struct Sum2 {
  using Accumulator = Sum2;
  static constexpr bool kAnyOrder = false;
  double first = 0.0, second = 0.0;

  PYROBUST_HD void take(Sum2 other) {
    first += other.first;
    second += other.second;
  }
  PYROBUST_HD Sum2 combine(Sum2 other) const {
    return {first + other.first, second + other.second};
  }
};

// The largest of values that are 0 or more.
template <typename T>
struct Largest {
  using Accumulator = Largest;
  static constexpr bool kAnyOrder = false;
  T value = T(0);

  PYROBUST_HD void take(Largest other) {
    value = other.value > value ? other.value : value;
  }
  PYROBUST_HD Largest combine(Largest other) const {
    return {other.value > value ? other.value : value};
  }
};

} // namespace pyrobust

#pragma once

#include <cstdint>

#include "host_device.h"

// A row functor reduces each row (a sample, or the logits of one) kPasses times and then maps it:
//
//   Row begin(row values...) const                     what holds for the whole row
//   Acc term(Pass<k>, const Row&, j, values...) const  what element j gives to reduction k
//   void finish(Pass<k>, Row&, Acc) const              takes the result of reduction k
//   void apply(const Row&, j, values...) const         writes the outputs among the values
//   void end(const Row&, row values...) const          optional: writes the outputs of the row
//
// Launchers combine terms in one fixed order (see kLanes), so sums have the same bits on every
// device and with every number of threads.
namespace pyrobust {

template <int k>
struct Pass {};

// Element j goes to lane j % lanes, in rising order of j; then lane l takes lane l + w for
// w = lanes / 2, ..., 2, 1.
constexpr int64_t kShortRow = 256;
constexpr int kShortLanes = 32;
constexpr int kLongLanes = 1024;

// A sum in double precision: squares of floats are exact in it.
struct Sum {
  double value = 0.0;
  PYROBUST_HD Sum combine(Sum other) const {
    return {value + other.value};
  }
};

struct Sum2 {
  double first = 0.0, second = 0.0;
  PYROBUST_HD Sum2 combine(Sum2 other) const {
    return {first + other.first, second + other.second};
  }
};

// The largest of values that are 0 or more.
template <typename T>
struct Largest {
  T value = T(0);
  PYROBUST_HD Largest combine(Largest other) const {
    return {other.value > value ? other.value : value};
  }
};

} // namespace pyrobust

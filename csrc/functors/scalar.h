#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>

#include "host_device.h"

// Scalar building blocks. Only +, -, *, /, sqrt and integer operations are used below functors/,
// each correctly rounded, and both compilers are told not to contract a * b + c: equal inputs
// give equal bits on every device and instruction set.
namespace pyrobust {

template <typename To, typename From>
PYROBUST_HD To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  memcpy(&result, &value, sizeof(To));
  return result;
}

// NaN stays NaN. The comparisons stand as minimum and maximum instructions want them.
template <typename T>
PYROBUST_HD T clip(T value, T low, T high) {
  const T below = high < value ? high : value;
  return low > below ? low : below;
}

// Back into the range of pixels.
template <typename T>
PYROBUST_HD T clip_pixel(T value) {
  return clip(value, T(0), T(1));
}

// -1, 0 or 1; the sign of NaN is 0.
template <typename T>
PYROBUST_HD T sign(T value) {
  return value > T(0) ? T(1) : (value < T(0) ? T(-1) : T(0));
}

PYROBUST_HD float absolute(float value) {
  return fabsf(value);
}
PYROBUST_HD double absolute(double value) {
  return fabs(value);
}

// A gradient that overflowed says nothing about its direction: it counts as no gradient.
template <typename T>
PYROBUST_HD T finite_or_zero(T value) {
  return value - value == T(0) ? value : T(0);
}

PYROBUST_HD float square_root(float value) {
  return sqrtf(value);
}
PYROBUST_HD double square_root(double value) {
  return sqrt(value);
}

PYROBUST_HD float shift_bits(float value, int32_t units) {
  return bits_as<float>(bits_as<uint32_t>(value) + static_cast<uint32_t>(units));
}
PYROBUST_HD double shift_bits(double value, int32_t units) {
  return bits_as<double>(bits_as<uint64_t>(value) + static_cast<uint64_t>(int64_t(units)));
}

// x + delta in [0, 1] for x in [0, 1], rounded towards x: the result is no further from x than
// |delta| (1 + 2^-24) for float, so that storing a projected point does not push it out of the
// ball again. Where the rounded sum lies beyond, its neighbour is taken.
template <typename T>
PYROBUST_HD T add_towards(T x, T delta) {
  const T sum = x + delta;
  const bool beyond = absolute(sum - x) > absolute(delta);
  return clip_pixel(shift_bits(sum, beyond ? (delta > T(0) ? -1 : 1) : 0));
}

} // namespace pyrobust

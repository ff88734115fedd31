#pragma once

#include "scalar.h"

// exp, log, sine and cosine from correctly rounded operations alone, so that they give the same
// bits on CPU and CUDA and vectorise on both. Taylor and atanh series, long enough that the
// truncation lies below half a unit in the last place of T.
namespace pyrobust {

template <typename T>
struct Ieee;

template <>
struct Ieee<float> {
  using Bits = int32_t;
  using Unsigned = uint32_t;
  static constexpr float kLargest = 3.40282347e38f;
  static constexpr float kSmallestNormal = 1.17549435e-38f;
  static constexpr int kMantissa = 23;
  static constexpr int kBias = 127;
  static constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float kLn2High = 0.693359375f; // few bits: k * kLn2High is exact
  static constexpr float kLn2Low = -2.12194440e-4f;
  static constexpr float kMaxExp = 88.0f;
  static constexpr float kMinExp = -87.0f;
  static constexpr int32_t kSqrtHalf = 0x3f3504f3;
  static constexpr int kExpTerms = 8;
  static constexpr int kLogTerms = 5;
};

template <>
struct Ieee<double> {
  using Bits = int64_t;
  using Unsigned = uint64_t;
  static constexpr double kLargest = 1.7976931348623157e308;
  static constexpr double kSmallestNormal = 2.2250738585072014e-308;
  static constexpr int kMantissa = 52;
  static constexpr int kBias = 1023;
  static constexpr double kRounder = 6755399441055744.0; // 1.5 * 2^52
  static constexpr double kLn2High = 0.693147180369123816490;
  static constexpr double kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kMaxExp = 709.0;
  static constexpr double kMinExp = -708.0;
  static constexpr int64_t kSqrtHalf = 0x3fe6a09e667f3bcd;
  static constexpr int kExpTerms = 14;
  static constexpr int kLogTerms = 11;
};

constexpr double inverse_factorial(int n) {
  return n < 2 ? 1.0 : inverse_factorial(n - 1) / n;
}

// sum over i from n below N of r^(i-n) / i!
template <int n, int N, typename T>
PYROBUST_HD T exp_series(T r) {
  constexpr T kTerm = static_cast<T>(inverse_factorial(n));
  if constexpr (n + 1 == N) {
    return kTerm;
  } else {
    return kTerm + r * exp_series<n + 1, N>(r);
  }
}

// sum over i from n below N of t^(i-n) / (2 i + 1)
template <int n, int N, typename T>
PYROBUST_HD T atanh_series(T t) {
  constexpr T kTerm = static_cast<T>(1.0 / (2 * n + 1));
  if constexpr (n + 1 == N) {
    return kTerm;
  } else {
    return kTerm + t * atanh_series<n + 1, N>(t);
  }
}

// sum over i from 0 of (-1)^i t^i / (2 i + first)!, which is sin(x) / x for first = 1 and cos(x)
// for first = 0, with t = x^2.
template <int first, int i, int N, typename T>
PYROBUST_HD T circle_series(T t) {
  constexpr T kTerm = static_cast<T>((i % 2 ? -1 : 1) * inverse_factorial(2 * i + first));
  if constexpr (i + 1 == N) {
    return kTerm;
  } else {
    return kTerm + t * circle_series<first, i + 1, N>(t);
  }
}

// e^x for x up to 88 (float) or 709 (double); 0 below -87 or -708, where the result leaves the
// normal range; NaN for NaN. Error below 2 units in the last place.
template <typename T>
PYROBUST_HD T exponential(T x) {
  using F = Ieee<T>;
  constexpr T kLog2E = static_cast<T>(1.4426950408889634);
  const T bounded = clip(x, F::kMinExp, F::kMaxExp);
  const T shifted = bounded * kLog2E + F::kRounder;
  const T k = shifted - F::kRounder;
  const T r = (bounded - k * F::kLn2High) - k * F::kLn2Low;
  const auto exponent = static_cast<typename F::Unsigned>(
      bits_as<typename F::Bits>(shifted) - bits_as<typename F::Bits>(F::kRounder) + F::kBias);
  const T power = bits_as<T>(exponent << F::kMantissa);
  const T result = exp_series<0, F::kExpTerms>(r) * power;
  return x < F::kMinExp ? T(0) : result;
}

// ln(x) for positive normal x; infinity and NaN stay. Error below 2 units in the last place.
template <typename T>
PYROBUST_HD T logarithm(T x) {
  using F = Ieee<T>;
  const auto bits = bits_as<typename F::Bits>(x);
  const auto exponent = (bits - F::kSqrtHalf) >> F::kMantissa;
  const T mantissa = bits_as<T>(static_cast<typename F::Bits>(
      static_cast<typename F::Unsigned>(bits) -
      (static_cast<typename F::Unsigned>(exponent) << F::kMantissa)));
  const T k = static_cast<T>(exponent);
  const T s = (mantissa - T(1)) / (mantissa + T(1));
  const T series = T(2) * s * atanh_series<0, F::kLogTerms>(s * s);
  const T result = k * F::kLn2High + (series + k * F::kLn2Low);
  return x - x == T(0) ? result : x;
}

} // namespace pyrobust

#pragma once

#include "elementary.h"
#include "philox.h"

// Distributions: four random words to four values. Values are float whatever the operator's
// dtype, so that one seed means one noise in every precision.
namespace pyrobust {

struct Quad {
  float v0, v1, v2, v3;
};

// Uniform on the 2^24 odd multiples of 2^-24 in (-1, 1): symmetric, and exact in float.
struct SymmetricUniform {
  PYROBUST_HD static float one(uint32_t word) {
    return (static_cast<float>(static_cast<int32_t>(word) >> 8) + 0.5f) * 0x1p-23f;
  }
  PYROBUST_HD static Quad draw(Words w) {
    return {one(w.w0), one(w.w1), one(w.w2), one(w.w3)};
  }
};

// Uniform on the multiples of 2^-24 in [0, 1).
struct UnitUniform {
  PYROBUST_HD static float one(uint32_t word) {
    return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f;
  }
  PYROBUST_HD static Quad draw(Words w) {
    return {one(w.w0), one(w.w1), one(w.w2), one(w.w3)};
  }
};

// -1 or 1.
struct RandomSign {
  PYROBUST_HD static float one(uint32_t word) {
    return word >> 31 ? -1.0f : 1.0f;
  }
  PYROBUST_HD static Quad draw(Words w) {
    return {one(w.w0), one(w.w1), one(w.w2), one(w.w3)};
  }
};

// Uniform in (0, 1] with 31 random bits, rounded to float: never 0, and 1 once in 2^25.
PYROBUST_HD float open_uniform(uint32_t word) {
  return (static_cast<float>(static_cast<int32_t>(word >> 1)) + 0.5f) * 0x1p-31f;
}

// Standard normal by Box and Muller (1958); |z| is at most 6.7, the absolute error of z against
// real arithmetic on the same uniform number below 2e-6.
struct Normal {
  PYROBUST_HD static void pair(uint32_t a, uint32_t b, float& first, float& second) {
    const float radius = square_root(-2.0f * logarithm(open_uniform(a)));
    // The angle is quadrant * pi / 2 + theta with theta uniform in (-pi / 4, pi / 4).
    const float fraction = static_cast<float>(static_cast<int32_t>(b & 0x3fffffffu)) * 0x1p-30f;
    const float theta = 1.57079632679f * (fraction - 0.5f);
    const float t = theta * theta;
    const float s = theta * circle_series<1, 0, 6>(t);
    const float c = circle_series<0, 0, 6>(t);
    const bool swap = (b >> 30) & 1u;
    const float x = swap ? s : c;
    const float y = swap ? c : s;
    const bool flip_x = ((b >> 31) ^ (b >> 30)) & 1u;
    const bool flip_y = b >> 31;
    first = radius * (flip_x ? -x : x);
    second = radius * (flip_y ? -y : y);
  }
  PYROBUST_HD static Quad draw(Words w) {
    Quad q;
    pair(w.w0, w.w1, q.v0, q.v1);
    pair(w.w2, w.w3, q.v2, q.v3);
    return q;
  }
};

} // namespace pyrobust

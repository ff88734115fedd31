#pragma once

#include "philox.h"

namespace pyrobust {

// Columns (or rows) [first, last) of the output show source column start + step * x; the others
// are padding.
struct Window {
  int64_t first, last, start, step;
};

// Zero-padding and random crop back to the image's size, then a horizontal flip with probability
// one half; drawn from (seed, sample id, epoch).
struct CropFlip {
  int64_t seed, epoch, padding;
  bool flip;

  struct Draw {
    int64_t shift_y, shift_x; // in [-padding, padding]
    bool flipped;
  };

  PYROBUST_HD int64_t shift(uint32_t word) const {
    const auto choices = static_cast<uint64_t>(2 * padding + 1);
    return static_cast<int64_t>((word * choices) >> 32) - padding;
  }
  PYROBUST_HD Draw draw(int64_t sample_id) const {
    const Words w = sample_stream(seed, Purpose::kAugment, epoch, sample_id).words(0);
    return {shift(w.w0), shift(w.w1), flip && (w.w2 >> 31) != 0};
  }
  PYROBUST_HD static Window window(int64_t size, int64_t shift, bool flipped) {
    const int64_t low = shift < 0 ? -shift : 0;
    const int64_t high = shift > 0 ? size - shift : size;
    const int64_t first = low < size ? low : size;
    const int64_t last = high > 0 ? high : 0;
    if (flipped) {
      return {size - last, size - first, size - 1 + shift, -1};
    }
    return {first, last, shift, 1};
  }
};

// A byte to [0, 1]: the number nearest to byte / 255.
template <typename T>
PYROBUST_HD T pixel_of(uint8_t byte) {
  return static_cast<T>(byte) / T(255);
}

} // namespace pyrobust

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "../ops/images.h"

namespace pyrobust {

// Prefetches the start of the next image, which may lie anywhere in a large store; the hardware
// prefetcher takes over from there.
inline void prefetch(const uint8_t* image, int64_t bytes) {
  constexpr int64_t kCacheLine = 64, kHead = 4096;
  for (int64_t i = 0; i < std::min(bytes, kHead); i += kCacheLine) {
    __builtin_prefetch(image + i);
  }
}

template <int channels, typename Gather>
PYROBUST_HD void
crop_flip(Gather gather, CropFlip::Draw draw, const uint8_t* image, uint8_t* cropped) {
  const int64_t count = channels > 0 ? channels : gather.channels;
  const int64_t width = gather.width, line = width * count;
  const Window rows = CropFlip::window(gather.height, draw.shift_y, false);
  const Window columns = CropFlip::window(width, draw.shift_x, draw.flipped);
  std::memset(cropped, 0, gather.height * line);
  for (int64_t y = rows.first; y < rows.last; ++y) {
    const uint8_t* from = image + (rows.start + y) * line;
    uint8_t* to = cropped + y * line;
    if (columns.step > 0 && columns.first < columns.last) {
      const int64_t begin = columns.first * count, end = columns.last * count;
      std::memcpy(to + begin, from + begin + columns.start * count, end - begin);
    } else {
      for (int64_t x = columns.first; x < columns.last; ++x) {
        std::memcpy(to + x * count, from + (columns.start - x) * count, count);
      }
    }
  }
}

// Row b of the batch: bytes are cropped and flipped first, then converted in one long loop.
template <int channels, typename Gather>
PYROBUST_HD void gather_image(Gather gather, int64_t b, uint8_t* scratch) {
  const int64_t count = channels > 0 ? channels : gather.channels;
  const int64_t pixels = gather.height * gather.width;
  const uint8_t* image = gather.images + gather.index.load(b) * pixels * count;
  const auto draw = gather.crop_flip.draw(gather.sample_ids[b]);
  if (draw.shift_y != 0 || draw.shift_x != 0 || draw.flipped) {
    crop_flip<channels>(gather, draw, image, scratch);
    image = scratch;
  }
  auto* out = gather.out + b * pixels * count;
  if (gather.channels_last || count == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < pixels * count; ++i) {
      out[i] = gather.pixel(image[i]);
    }
  } else {
#pragma GCC ivdep
    for (int64_t p = 0; p < pixels; ++p) {
      for (int64_t c = 0; c < count; ++c) {
        out[c * pixels + p] = gather.pixel(image[p * count + c]);
      }
    }
  }
}

} // namespace pyrobust

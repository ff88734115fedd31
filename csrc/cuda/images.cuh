#pragma once

#include <cstdint>

#include "../ops/images.h"
#include "../ops/lists.h"
#include "rows.cuh"

namespace pyrobust {

struct RowCopies {
  static constexpr int kCapacity = 8;
  int count;
  RowCopy copies[kCapacity];
};

// A block a row. Each thread meets the same bytes in every copy, so a copy may read what an
// earlier one wrote.
template <typename Unit>
__global__ void __launch_bounds__(kBlock) copy_rows_kernel(int64_t rows, RowCopies list) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    for (int c = 0; c < list.count; ++c) {
      const RowCopy copy = list.copies[c];
      if (copy.mask[r]) {
        auto* target = reinterpret_cast<Unit*>(copy.target + r * copy.bytes);
        const auto* source = reinterpret_cast<const Unit*>(copy.source + r * copy.bytes);
        for (int64_t i = threadIdx.x; i < copy.bytes / int64_t(sizeof(Unit)); i += kBlock) {
          target[i] = source[i];
        }
      }
    }
  }
}

// A block an image; each thread writes four neighbouring values.
template <typename Gather>
__global__ void __launch_bounds__(kBlock) gather_kernel(int64_t batch, bool packed, Gather gather) {
  using S = std::remove_pointer_t<decltype(gather.out)>;
  const int height = gather.height, width = gather.width, channels = gather.channels;
  const int size = height * width * channels;
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    assert_valid(gather.index, b);
    const auto draw = gather.crop_flip.draw(gather.sample_ids[b]);
    const Window rows = CropFlip::window(height, draw.shift_y, false);
    const Window columns = CropFlip::window(width, draw.shift_x, draw.flipped);
    const uint8_t* image = gather.images + gather.index.load(b) * size;
    S* out = gather.out + b * size;
    const auto value_at = [&](int e) {
      const int c = gather.channels_last ? e % channels : e / (height * width);
      const int pixel = gather.channels_last ? e / channels : e % (height * width);
      const int y = pixel / width, x = pixel % width;
      const bool inside =
          rows.first <= y && y < rows.last && columns.first <= x && x < columns.last;
      const int64_t source = (rows.start + y) * width + columns.start + columns.step * x;
      return gather.pixel(inside ? image[source * channels + c] : uint8_t(0));
    };
    for (int e = threadIdx.x * kQuad; e < size; e += kBlock * kQuad) {
      if (packed) {
        Pack<S, kQuad> pack;
#pragma unroll
        for (int k = 0; k < kQuad; ++k) {
          pack.at[k] = value_at(e + k);
        }
        *reinterpret_cast<Pack<S, kQuad>*>(out + e) = pack;
      } else {
        for (int k = 0; k < kQuad && e + k < size; ++k) {
          out[e + k] = value_at(e + k);
        }
      }
    }
  }
}

} // namespace pyrobust

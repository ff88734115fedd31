#pragma once

#include "../functors/augment.h"
#include "slots.h"

namespace pyrobust {

// Rows of a store of bytes (N, H, W, C) to a batch of images, cropped and flipped.
template <typename V, typename S = V>
struct ImageGather {
  using Value = V;
  const uint8_t* images;
  Index index;
  const int64_t* sample_ids;
  S* out;
  int64_t height, width, channels;
  bool channels_last;
  CropFlip crop_flip;

  Write<V, S> slot() const {
    return {out};
  }
  PYROBUST_HD static S pixel(uint8_t byte) {
    return static_cast<S>(pixel_of<V>(byte));
  }
};

} // namespace pyrobust

#pragma once

#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "checks.h"
#include "images.h"

namespace pyrobust {

// images: (N, H, W, C) uint8; index, sample_ids: (B,) int64. Returns (B, C, H, W) in [0, 1].
template <typename Launch>
at::Tensor gather_augment(
    const at::Tensor& images,
    const at::Tensor& index,
    const at::Tensor& sample_ids,
    int64_t seed,
    int64_t epoch,
    int64_t padding,
    bool flip,
    at::ScalarType dtype,
    bool channels_last) {
  TORCH_CHECK_VALUE(
      images.dim() == 4, "images has shape ", images.sizes(), ", expected (N, H, W, C)");
  check_dtype("images", images, at::kByte);
  check_samples("index", index);
  const int64_t batch = index.size(0);
  check_per_sample("index", index, at::kLong, batch, images.device());
  check_per_sample("sample_ids", sample_ids, at::kLong, batch, images.device());
  TORCH_CHECK_VALUE(
      0 <= epoch && epoch < (int64_t(1) << 32), "epoch is ", epoch, ", expected 0 to 2^32 - 1");
  TORCH_CHECK_VALUE(
      0 <= padding && padding < (int64_t(1) << 30), "padding is ", padding,
      ", expected 0 to 2^30 - 1");
  TORCH_CHECK_VALUE(
      images.is_contiguous(), "images has strides ", images.strides(),
      ", expected a contiguous store");
  const c10::DeviceGuard guard(images.device());
  const auto rows = index.contiguous(), ids = sample_ids.contiguous();
  const int64_t height = images.size(1), width = images.size(2), channels = images.size(3);
  const auto layout = channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  const at::Tensor out = at::empty(
      {batch, channels, height, width}, images.options().dtype(dtype).memory_format(layout));
  with_output_type("dtype", dtype, [&](auto value, auto stored) {
    using T = decltype(value);
    using S = decltype(stored);
    Launch::gather_images(
        batch, ImageGather<T, S>{
                   images.const_data_ptr<uint8_t>(),
                   {rows.const_data_ptr<int64_t>(), images.size(0), "index"},
                   ids.const_data_ptr<int64_t>(),
                   out.mutable_data_ptr<S>(),
                   height,
                   width,
                   channels,
                   channels_last,
                   {seed, epoch, padding, flip}});
  });
  return out;
}

template <typename Launch>
void register_loading(torch::Library& m) {
  m.impl("gather_augment", &gather_augment<Launch>);
}

} // namespace pyrobust

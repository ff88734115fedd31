#pragma once

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "images.cuh"
#include "lists.cuh"
#include "rows.cuh"
#include "stream.cuh"

namespace pyrobust {

template <typename F, typename... Slots>
__global__ void __launch_bounds__(kBlock) map_kernel(int64_t n, bool packed, F f, Slots... slots) {
  const int64_t step = int64_t(gridDim.x) * kBlock * kQuad;
  for (int64_t i = (int64_t(blockIdx.x) * kBlock + threadIdx.x) * kQuad; i < n; i += step) {
    const int count = static_cast<int>(n - i < kQuad ? n - i : kQuad);
    VisitQuads<true, Slots...>::run(
        i, count, packed, [&](int, auto&... values) { f(values...); }, slots...,
        QuadOf<typename Slots::Value>{}...);
  }
}

// Launches on the current CUDA stream; nothing waits for the device.
class CudaLaunch {
 public:
  template <typename F, typename... Slots>
  static void map(int64_t n, F f, Slots... slots) {
    if (n > 0) {
      const bool packed = (is_packed(slots, kQuad) && ...);
      launch(map_kernel<F, Slots...>, blocks(n, kBlock * kQuad), n, packed, f, slots...);
    }
  }

  template <typename F, typename... Slots>
  static void map_list(const ListEntries<F, Slots...>& entries) {
    using Arguments = ListArguments<F, Slots...>;
    Arguments list;
    for (const auto& entry : entries) {
      list.add(entry);
      if (list.count == Arguments::kCapacity) {
        run_list(list);
        list = Arguments();
      }
    }
    run_list(list);
  }

  template <typename F, typename... OfRow, typename... Slots>
  static void
  map_rows(int64_t rows, int64_t length, F f, RowSlots<OfRow...> of_row, Slots... slots) {
    if (rows == 0) {
      return;
    }
    const bool packed = (is_packed(slots, length) && ...);
    if (length <= kShortRow) {
      run_rows<WarpRow>(rows, length, packed, f, of_row, slots...);
    } else {
      run_rows<BlockRow>(rows, length, packed, f, of_row, slots...);
    }
  }

  static void copy_rows(int64_t rows, const std::vector<RowCopy>& copies) {
    if (rows == 0) {
      return;
    }
    TORCH_INTERNAL_ASSERT(copies.size() <= RowCopies::kCapacity);
    RowCopies list{static_cast<int>(copies.size()), {}};
    bool packed = true;
    for (size_t c = 0; c < copies.size(); ++c) {
      const RowCopy& copy = list.copies[c] = copies[c];
      const auto places = reinterpret_cast<uintptr_t>(copy.target) |
                          reinterpret_cast<uintptr_t>(copy.source) |
                          static_cast<uintptr_t>(copy.bytes);
      packed = packed && places % sizeof(uint4) == 0;
    }
    launch(packed ? copy_rows_kernel<uint4> : copy_rows_kernel<char>, blocks(rows, 1), rows, list);
  }

  template <typename Gather>
  static void gather_images(int64_t batch, Gather gather) {
    if (batch == 0) {
      return;
    }
    const int64_t size = gather.height * gather.width * gather.channels;
    TORCH_CHECK_VALUE(size < INT32_MAX, "an image has ", size, " values, expected below 2^31");
    const bool packed = is_packed(gather.slot(), size);
    launch(gather_kernel<Gather>, blocks(batch, 1), batch, packed, gather);
  }

 private:
  // Kernels go on in strides where this is not enough.
  static unsigned blocks(int64_t n, int64_t per_block) {
    constexpr int64_t kMaxBlocks = 1 << 30;
    return static_cast<unsigned>(std::min((n + per_block - 1) / per_block, kMaxBlocks));
  }

  template <typename Group, typename F, typename OfRow, typename... Slots>
  static void
  run_rows(int64_t rows, int64_t length, bool packed, F f, OfRow of_row, Slots... slots) {
    launch(
        rows_kernel<Group, F, OfRow, Slots...>, blocks(rows, Group::kRowsPerBlock), rows, length,
        packed, f, of_row, slots...);
  }

  template <typename F, typename... Slots>
  static void run_list(const ListArguments<F, Slots...>& list) {
    if (list.blocks() > 0) {
      launch(list_kernel<F, Slots...>, list.blocks(), list);
    }
  }
};

} // namespace pyrobust

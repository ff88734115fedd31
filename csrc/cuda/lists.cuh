#pragma once

#include <cstdint>
#include <tuple>

#include "../ops/lists.h"
#include "rows.cuh"

// One launch for a list of tensors: the kernel's arguments hold the list, so nothing is copied to
// the device and the launch can be captured in a graph.
namespace pyrobust {

constexpr int64_t kChunk = int64_t(kBlock) * kQuad * 4; // elements that one block handles
constexpr size_t kArgumentBytes = 32000; // of the 32,764 that a kernel takes since CUDA 12.1

template <typename F, typename... Slots>
struct ListArguments {
  using Entry = ListEntry<F, Slots...>;
  static constexpr int kCapacity =
      static_cast<int>(kArgumentBytes / (sizeof(Entry) + sizeof(uint32_t) + sizeof(bool)));

  int count = 0;
  uint32_t end_block[kCapacity]; // first block beyond each tensor
  bool packed[kCapacity];
  Entry entries[kCapacity];

  uint32_t blocks() const {
    return count == 0 ? 0 : end_block[count - 1];
  }
  void add(const Entry& entry) {
    const int64_t needed = (entry.numel + kChunk - 1) / kChunk;
    end_block[count] = blocks() + static_cast<uint32_t>(needed);
    packed[count] = std::apply(
        [&](const auto&... slot) { return (is_packed(slot, kQuad) && ...); }, entry.slots);
    entries[count] = entry;
    ++count;
  }
};

template <typename F, typename... Slots>
__global__ void __launch_bounds__(kBlock)
    list_kernel(const __grid_constant__ ListArguments<F, Slots...> list) {
  int low = 0, high = list.count - 1;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (blockIdx.x < list.end_block[middle]) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const auto& entry = list.entries[low];
  const uint32_t first_block = low == 0 ? 0 : list.end_block[low - 1];
  const int64_t begin = int64_t(blockIdx.x - first_block) * kChunk;
  const int64_t end = begin + kChunk < entry.numel ? begin + kChunk : entry.numel;
  for (int64_t i = begin + int64_t(threadIdx.x) * kQuad; i < end; i += kBlock * kQuad) {
    const int count = static_cast<int>(end - i < kQuad ? end - i : kQuad);
    std::apply(
        [&](const Slots&... slots) {
          VisitQuads<true, Slots...>::run(
              i, count, list.packed[low], [&](int, auto&... values) { entry.f(values...); },
              slots..., QuadOf<typename Slots::Value>{}...);
        },
        entry.slots);
  }
}

} // namespace pyrobust

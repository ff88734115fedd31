#pragma once

#include <c10/macros/Macros.h>

#include <cstdint>
#include <cstring>

#include "../functors/reduction.h"
#include "quads.cuh"

// Rows on CUDA: a warp for a short row, a block of kLongWarps warps for a long one. The order of
// reductions is that of functors/reduction.h, so the sums have the bits of the CPU's.
namespace pyrobust {

constexpr int kBlock = kWarp * kLongWarps;
static_assert(kPerThread == kQuad);

template <typename Acc>
__device__ __forceinline__ Acc shuffle_down(const Acc& value, int distance) {
  static_assert(sizeof(Acc) % sizeof(uint32_t) == 0);
  uint32_t words[sizeof(Acc) / sizeof(uint32_t)];
  memcpy(words, &value, sizeof(Acc));
#pragma unroll
  for (uint32_t& word : words) {
    word = __shfl_down_sync(0xffffffffu, word, distance);
  }
  Acc result;
  memcpy(&result, words, sizeof(Acc));
  return result;
}

// The combination of a warp's values; whole in lane 0 only.
template <typename Acc>
__device__ __forceinline__ Acc combine_warp(Acc value) {
#pragma unroll
  for (int width = kWarp / 2; width > 0; width /= 2) {
    value = value.combine(shuffle_down(value, width));
  }
  return value;
}

// A row for each warp of the block, a lane a thread.
struct WarpRow {
  static constexpr int kRowsPerBlock = kLongWarps;
  static constexpr int kPer = 1;
  static constexpr int kThreads = kWarp;

  __device__ static int64_t row() {
    return int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  }
  __device__ static int thread() {
    return threadIdx.x % kWarp;
  }
  template <typename Acc>
  __device__ static Acc combine(const Acc& mine) {
    Acc total = combine_warp(mine);
    uint32_t words[sizeof(Acc) / sizeof(uint32_t)];
    memcpy(words, &total, sizeof(Acc));
#pragma unroll
    for (uint32_t& word : words) {
      word = __shfl_sync(0xffffffffu, word, 0);
    }
    memcpy(&total, words, sizeof(Acc));
    return total;
  }
};

// A row for the block, four lanes a thread.
struct BlockRow {
  static constexpr int kRowsPerBlock = 1;
  static constexpr int kPer = kPerThread;
  static constexpr int kThreads = kBlock;

  __device__ static int64_t row() {
    return blockIdx.x;
  }
  __device__ static int thread() {
    return threadIdx.x;
  }
  template <typename Acc>
  __device__ static Acc combine(const Acc& mine) {
    alignas(16) __shared__ unsigned char buffer[kLongWarps * sizeof(Acc)];
    Acc* const of_warp = reinterpret_cast<Acc*>(buffer);
    const Acc total = combine_warp(mine);
    __syncthreads(); // the last reduction has been read by all
    if (threadIdx.x % kWarp == 0) {
      of_warp[threadIdx.x / kWarp] = total;
    }
    __syncthreads();
    Acc warps[kLongWarps];
#pragma unroll
    for (int w = 0; w < kLongWarps; ++w) {
      warps[w] = of_warp[w];
    }
    combine_halves<kLongWarps>(warps);
    return warps[0];
  }
};

template <typename Slot>
__device__ __forceinline__ void assert_valid(const Slot&, int64_t) {}
__device__ __forceinline__ void assert_valid(const Index& index, int64_t r) {
  const auto value = static_cast<long long>(index.data[r]);
  const auto bound = static_cast<long long>(index.bound);
  CUDA_KERNEL_ASSERT_PRINTF(
      0 <= value && value < bound, "an index is %lld, expected 0 to %lld", value, bound - 1);
}
template <typename V>
__device__ __forceinline__ void assert_valid(const OneHot<V>& hot, int64_t r) {
  assert_valid(hot.index, r);
}

// Calls body(j, values...) for each element of the row that is this thread's.
template <typename Group, typename Body, typename... Views>
__device__ __forceinline__ void
read_row(int64_t length, bool packed, const Body& body, const Views&... views) {
  constexpr int64_t kStride = Group::kThreads * Group::kPer;
  for (int64_t j = int64_t(Group::thread()) * Group::kPer; j < length; j += kStride) {
    if constexpr (Group::kPer == 1) {
      body(0, j, views.load(j)...);
    } else {
      const int count = static_cast<int>(length - j < kQuad ? length - j : kQuad);
      VisitQuads<false, Views...>::run(
          j, count, packed, [&](int k, const auto&... values) { body(k, j + k, values...); },
          views..., QuadOf<typename Views::Value>{}...);
    }
  }
}

template <typename Group, int k, typename F, typename Row, typename... Views>
__device__ __forceinline__ void
reduce_from(const F& f, Row& row, int64_t length, bool packed, const Views&... views) {
  if constexpr (k < F::kPasses) {
    do {
      const Row fixed = row;
      using Term = decltype(f.term(Pass<k>{}, fixed, int64_t{}, views.load(0)...));
      typename Term::Accumulator lane[Group::kPer];
      read_row<Group>(
          length, packed,
          [&](int l, int64_t j, const auto&... values) {
            lane[l].take(f.term(Pass<k>{}, fixed, j, values...));
          },
          views...);
      combine_halves<Group::kPer>(lane);
      f.finish(Pass<k>{}, row, Group::combine(lane[0]));
    } while (repeats<k>(f, row));
    reduce_from<Group, k + 1>(f, row, length, packed, views...);
  }
}

template <typename Group, typename F, typename Row, typename... Views>
__device__ __forceinline__ void
map_row(const F& f, const Row& row, int64_t length, bool packed, const Views&... views) {
  constexpr int64_t kStride = Group::kThreads * Group::kPer;
  for (int64_t j = int64_t(Group::thread()) * Group::kPer; j < length; j += kStride) {
    if constexpr (Group::kPer == 1) {
      Visit<Views...>::map_row(f, row, j, views..., views.load(j)...);
    } else {
      const int count = static_cast<int>(length - j < kQuad ? length - j : kQuad);
      VisitQuads<true, Views...>::run(
          j, count, packed, [&](int k, auto&... values) { f.apply(row, j + k, values...); },
          views..., QuadOf<typename Views::Value>{}...);
    }
  }
}

template <typename Group, typename F, typename Row, typename... Views>
__device__ __forceinline__ void
run_row(const F& f, Row& row, int64_t length, bool packed, const Views&... views) {
  reduce_from<Group, 0>(f, row, length, packed, views...);
  map_row<Group>(f, row, length, packed, views...);
}

// Row slots are read or written, never both: all threads of a group read them, one writes.
template <typename Group, typename F, typename OfRow, typename... Slots>
__global__ void __launch_bounds__(kBlock)
    rows_kernel(int64_t rows, int64_t length, bool packed, F f, OfRow of_row, Slots... slots) {
  const int64_t step = int64_t(gridDim.x) * Group::kRowsPerBlock;
  for (int64_t r = Group::row(); r < rows; r += step) {
    std::apply([&](const auto&... slot) { (assert_valid(slot, r), ...); }, of_row.slots);
    (assert_valid(slots, r), ...);
    auto values = of_row.load(r);
    auto row = of_row.begin(f, values);
    run_row<Group>(f, row, length, packed, slots.row(r, length)...);
    if (Group::thread() == 0) {
      of_row.end(f, row, r, values);
    }
  }
}

} // namespace pyrobust

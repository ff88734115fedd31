#pragma once

// Stands in for csrc/cuda/stream.cuh: the words of CUDA that the kernels use, on the host. The
// threads of a block are fibers that run in turn until all have met a barrier or a shuffle, so
// kernels are tested for what they compute, not for races.

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(threads)

struct Place {
  unsigned x, y, z;
};
inline Place threadIdx, blockIdx, gridDim;

struct uint4 {
  uint32_t x, y, z, w;
};

namespace host_cuda {

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done = false;
};

inline std::vector<Fiber> fibers;
inline ucontext_t scheduler;
inline std::function<void()> body;

inline void run_fiber() {
  body();
  fibers[threadIdx.x].done = true;
}

inline void yield() {
  const unsigned me = threadIdx.x;
  swapcontext(&fibers[me].context, &scheduler);
  threadIdx = {me, 0, 0};
}

// Lets every thread from `first` on run to this point before any goes on.
inline void barrier(unsigned first, unsigned count, std::vector<unsigned>& arrived) {
  const unsigned goal = ++arrived[threadIdx.x];
  for (unsigned t = first; t < first + count; ++t) {
    while (arrived[t] < goal && !fibers[t].done) {
      yield();
    }
  }
}

inline std::vector<unsigned> at_block, at_warp;
inline std::vector<uint32_t> shuffled;

inline void run_block(unsigned threads) {
  constexpr size_t kStack = 1 << 18;
  fibers.resize(threads);
  at_block.assign(threads, 0);
  at_warp.assign(threads, 0);
  shuffled.assign(threads, 0);
  for (Fiber& fiber : fibers) {
    fiber.done = false;
    if (!fiber.stack) {
      fiber.stack = std::make_unique<char[]>(kStack);
    }
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, run_fiber, 0);
  }
  for (bool waiting = true; waiting;) {
    waiting = false;
    for (unsigned t = 0; t < threads; ++t) {
      if (!fibers[t].done) {
        threadIdx = {t, 0, 0};
        swapcontext(&scheduler, &fibers[t].context);
        waiting = true;
      }
    }
  }
}

inline uint32_t shuffle(uint32_t value, unsigned source_lane) {
  const unsigned warp = threadIdx.x / 32 * 32;
  shuffled[threadIdx.x] = value;
  barrier(warp, 32, at_warp);
  const uint32_t result = source_lane < 32 ? shuffled[warp + source_lane] : value;
  barrier(warp, 32, at_warp);
  return result;
}

} // namespace host_cuda

inline void __syncthreads() {
  host_cuda::barrier(0, static_cast<unsigned>(host_cuda::fibers.size()), host_cuda::at_block);
}
inline uint32_t __shfl_sync(unsigned, uint32_t value, unsigned lane) {
  return host_cuda::shuffle(value, lane);
}
inline uint32_t __shfl_down_sync(unsigned, uint32_t value, unsigned distance) {
  return host_cuda::shuffle(value, threadIdx.x % 32 + distance);
}

namespace pyrobust {

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), unsigned blocks, const Arguments&... arguments) {
  gridDim = {blocks, 1, 1};
  host_cuda::body = [&] { kernel(arguments...); };
  for (unsigned b = 0; b < blocks; ++b) {
    blockIdx = {b, 0, 0};
    host_cuda::run_block(256);
  }
}

} // namespace pyrobust

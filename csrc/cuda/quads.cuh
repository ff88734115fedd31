#pragma once

#include <cstdint>

#include "../ops/slots.h"

// CUDA threads handle four neighbouring elements at a time: 16 bytes of float.
namespace pyrobust {

constexpr int kQuad = 4;

template <typename Value>
struct QuadOf {
  Value at[kQuad];
};

template <typename Slot>
concept InMemory = requires { typename Slot::Stored; };

// Whether a slot's data can be read and written a quad at a time, in rows of `length` elements.
template <typename Slot>
bool is_packed(const Slot& slot, int64_t length) {
  if constexpr (InMemory<Slot>) {
    constexpr auto kBytes = sizeof(typename Slot::Stored) * kQuad;
    return reinterpret_cast<uintptr_t>(slot.data) % kBytes == 0 && length % kQuad == 0;
  } else {
    return true;
  }
}

// The first `count` values from place i, which is a multiple of 4.
template <typename Slot>
__device__ __forceinline__ void
load_quad(const Slot& slot, int64_t i, int count, bool packed, QuadOf<typename Slot::Value>& quad) {
  if constexpr (InMemory<Slot>) {
    if constexpr (Slot::kLoads) {
      if (packed && count == kQuad) {
        using Stored = Pack<typename Slot::Stored, kQuad>;
        const Stored stored = *reinterpret_cast<const Stored*>(slot.data + i);
#pragma unroll
        for (int k = 0; k < kQuad; ++k) {
          quad.at[k] = static_cast<typename Slot::Value>(stored.at[k]);
        }
        return;
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kQuad; ++k) {
    quad.at[k] = k < count ? slot.load(i + k) : typename Slot::Value();
  }
}

template <typename Distribution>
__device__ __forceinline__ void
load_quad(const DrawView<Distribution>& view, int64_t i, int, bool, QuadOf<float>& quad) {
  const Quad drawn = view.block(i / kQuad);
  quad = {{drawn.v0, drawn.v1, drawn.v2, drawn.v3}};
}

template <typename Slot>
__device__ __forceinline__ void store_quad(
    const Slot& slot, int64_t i, int count, bool packed, const QuadOf<typename Slot::Value>& quad) {
  if constexpr (InMemory<Slot>) {
    if constexpr (Slot::kStores) {
      if (packed && count == kQuad) {
        using Stored = Pack<typename Slot::Stored, kQuad>;
        Stored stored;
#pragma unroll
        for (int k = 0; k < kQuad; ++k) {
          stored.at[k] = static_cast<typename Slot::Stored>(quad.at[k]);
        }
        *reinterpret_cast<Stored*>(slot.data + i) = stored;
        return;
      }
#pragma unroll
      for (int k = 0; k < kQuad; ++k) {
        if (k < count) {
          slot.store(i + k, quad.at[k]);
        }
      }
    }
  }
}

// Loads the quads of some slots, calls body(k, values...) for each element k, and stores them if
// asked to.
template <bool stores, typename... Slots>
struct VisitQuads {
  template <typename Body>
  __device__ __forceinline__ static void
  run(int64_t i,
      int count,
      bool packed,
      const Body& body,
      const Slots&... slots,
      QuadOf<typename Slots::Value>... quads) {
    (load_quad(slots, i, count, packed, quads), ...);
#pragma unroll
    for (int k = 0; k < kQuad; ++k) {
      if (k < count) {
        body(k, quads.at[k]...);
      }
    }
    if constexpr (stores) {
      (store_quad(slots, i, count, packed, quads), ...);
    }
  }
};

} // namespace pyrobust

#pragma once

#include "host_device.h"

#include <cstdint>

namespace pyrobust {

struct PhiloxKey {
  uint32_t k0, k1;
};

struct Words {
  uint32_t w0, w1, w2, w3;
};

template <int round>
PYROBUST_HD Words philox_rounds(Words c, uint32_t k0, uint32_t k1) {
  if constexpr (round == 10) {
    return c;
  } else {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c.w0;
    const uint64_t p1 = uint64_t(0xCD9E8D57u) * c.w2;
    const Words next{
        uint32_t(p1 >> 32) ^ c.w1 ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ c.w3 ^ k1, uint32_t(p0)};
    return philox_rounds<round + 1>(next, k0 + 0x9E3779B9u, k1 + 0xBB67AE85u);
  }
}

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): four random
// words as a pure function of a counter and a key.
PYROBUST_HD Words philox(Words counter, PhiloxKey key) {
  return philox_rounds<0>(counter, key.k0, key.k1);
}

// What random words are for. It takes the top bits of the counter's first word, so that no two
// uses of one seed share words.
enum class Purpose : uint32_t { kStart, kRadius, kNormal, kUniform, kSigns, kAugment };

// The words that belong to one sample: a function of (seed, purpose, stream, sample id, block)
// alone, whatever the batch, the device and the number of threads.
struct SampleStream {
  PhiloxKey key;
  uint32_t purpose;
  uint32_t stream;
  uint32_t id_low, id_high;

  // Four words; block is below 2^29.
  PYROBUST_HD Words words(uint32_t block) const {
    return philox({block | purpose, stream, id_low, id_high}, key);
  }
};

PYROBUST_HD SampleStream
sample_stream(int64_t seed, Purpose purpose, int64_t stream, int64_t sample_id) {
  const auto s = static_cast<uint64_t>(seed);
  const auto id = static_cast<uint64_t>(sample_id);
  return {
      {uint32_t(s), uint32_t(s >> 32)},
      static_cast<uint32_t>(purpose) << 29,
      static_cast<uint32_t>(stream),
      uint32_t(id),
      uint32_t(id >> 32)};
}

} // namespace pyrobust

#pragma once

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../functors/reduction.h"
#include "../ops/lists.h"
#include "../ops/slots.h"
#include "images.h"
#include "isa.h"

namespace pyrobust {

// Launches on the host, split over the intra-op thread pool.
class CpuLaunch {
 public:
  // f(slots...) for each of n elements.
  template <typename F, typename... Slots>
  static void map(int64_t n, F f, Slots... slots) {
    at::parallel_for(
        0, n, kGrain, [&](int64_t begin, int64_t end) { map_range(begin, end, f, slots...); });
  }

  // f(slots...) for each element of each tensor of a list.
  template <typename F, typename... Slots>
  static void map_list(const ListEntries<F, Slots...>& entries) {
    std::vector<int64_t> ends;
    int64_t total = 0;
    for (const auto& entry : entries) {
      ends.push_back(total += entry.numel);
    }
    at::parallel_for(0, total, kGrain, [&](int64_t begin, int64_t end) {
      auto k = std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin();
      while (begin < end) {
        const auto& entry = entries[k];
        const int64_t offset = ends[k] - entry.numel;
        const int64_t stop = std::min(end, ends[k]);
        std::apply(
            [&](auto... slots) { map_range(begin - offset, stop - offset, entry.f, slots...); },
            entry.slots);
        begin = stop;
        ++k;
      }
    });
  }

  // A row functor on each of `rows` rows of `length` elements.
  template <typename F, typename... OfRow, typename... Slots>
  static void
  map_rows(int64_t rows, int64_t length, F f, RowSlots<OfRow...> of_row, Slots... slots) {
    at::parallel_for(0, rows, grain(length), [&](int64_t begin, int64_t end) {
      std::vector<float> noise;
      for (int64_t r = begin; r < end; ++r) {
        std::apply([&](const auto&... slot) { (check(slot, r), ...); }, of_row.slots);
        (check(slots, r), ...);
        auto values = of_row.load(r);
        auto row = of_row.begin(f, values);
        run_row(f, row, length, staged(slots.row(r, length), length, noise)...);
        of_row.end(f, row, r, values);
      }
    });
  }

  // The copies, one after the other, for each row.
  static void copy_rows(int64_t rows, const std::vector<RowCopy>& copies) {
    at::parallel_for(0, rows, grain(copies[0].bytes / 4), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for (const RowCopy& copy : copies) {
          if (copy.mask[r]) {
            const int64_t offset = r * copy.bytes;
            std::memcpy(copy.target + offset, copy.source + offset, copy.bytes);
          }
        }
      }
    });
  }

  // A batch of images out of a store of bytes.
  template <typename Gather>
  static void gather_images(int64_t batch, Gather gather) {
    const int64_t size = gather.height * gather.width * gather.channels;
    at::parallel_for(0, batch, grain(size), [&](int64_t begin, int64_t end) {
      std::vector<uint8_t> scratch(size);
      for (int64_t b = begin; b < end; ++b) {
        check(gather.index, b);
      }
      for (int64_t b = begin; b < end; ++b) {
        if (b + 1 < end) {
          prefetch(gather.images + gather.index.load(b + 1) * size, size);
        }
        vectorised([&]() PYROBUST_INLINE_LAMBDA {
          if (gather.channels == 3) {
            gather_image<3>(gather, b, scratch.data());
          } else {
            gather_image<0>(gather, b, scratch.data());
          }
        });
      }
    });
  }

 private:
  static constexpr int64_t kGrain = 32768; // elements that are worth a thread

  static int64_t grain(int64_t length) {
    return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length));
  }

  template <typename F, typename... Slots>
  static void map_range(int64_t begin, int64_t end, F f, Slots... slots) {
    vectorised([=]() PYROBUST_INLINE_LAMBDA { map_loop(begin, end, f, slots...); });
  }

  template <typename F, typename... Slots>
  PYROBUST_HD static void map_loop(int64_t begin, int64_t end, F f, Slots... slots) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      Visit<Slots...>::map(f, i, slots..., slots.load(i)...);
    }
  }

  template <typename F, typename Row, typename... Views>
  static void run_row(F f, Row& row, int64_t length, Views... views) {
    vectorised([&]() PYROBUST_INLINE_LAMBDA {
      reduce_from<0>(f, row, length, views...);
      map_row(f, row, length, views...);
    });
  }

  template <typename F, typename Row, typename... Views>
  PYROBUST_HD static void map_row(F f, Row row, int64_t length, Views... views) {
#pragma GCC ivdep
    for (int64_t j = 0; j < length; ++j) {
      Visit<Views...>::map_row(f, row, j, views..., views.load(j)...);
    }
  }

  template <int k, typename F, typename Row, typename... Views>
  PYROBUST_HD static void reduce_from(F f, Row& row, int64_t length, Views... views) {
    if constexpr (k < F::kPasses) {
      do {
        if (length <= kShortRow) {
          reduce<k, 1, 1>(f, row, length, views...);
        } else {
          reduce<k, kLongWarps, kPerThread>(f, row, length, views...);
        }
      } while (repeats<k>(f, row));
      reduce_from<k + 1>(f, row, length, views...);
    }
  }

  // See functors/reduction.h for the order.
  template <int k, int warps, int per_thread, typename F, typename Row, typename... Views>
  PYROBUST_HD static void reduce(F f, Row& row, int64_t length, Views... views) {
    const Row fixed = row;
    using Acc =
        typename decltype(f.term(Pass<k>{}, fixed, int64_t{}, views.load(0)...))::Accumulator;
    if constexpr (Acc::kAnyOrder) {
      Acc acc;
      for (int64_t j = 0; j < length; ++j) {
        acc.take(f.term(Pass<k>{}, fixed, j, views.load(j)...));
      }
      f.finish(Pass<k>{}, row, acc);
    } else {
      constexpr int kLanes = warps * kWarp * per_thread;
      Acc lane[kLanes];
      for (int64_t base = 0; base < length; base += kLanes) {
        const int64_t count = std::min<int64_t>(kLanes, length - base);
#pragma GCC ivdep
        for (int64_t l = 0; l < count; ++l) {
          lane[l].take(f.term(Pass<k>{}, fixed, base + l, views.load(base + l)...));
        }
      }
      f.finish(Pass<k>{}, row, fold<warps, per_thread>(lane));
    }
  }

  template <int warps, int per_thread, typename Acc>
  PYROBUST_HD static Acc fold(const Acc* lane) {
    Acc thread[warps * kWarp];
#pragma GCC ivdep
    for (int t = 0; t < warps * kWarp; ++t) {
      Acc own[per_thread];
      for (int i = 0; i < per_thread; ++i) {
        own[i] = lane[t * per_thread + i];
      }
      combine_halves<per_thread>(own);
      thread[t] = own[0];
    }
    for (int w = 0; w < warps; ++w) {
      combine_halves<kWarp>(thread + w * kWarp);
      thread[w] = thread[w * kWarp];
    }
    combine_halves<warps>(thread);
    return thread[0];
  }

  // Noise is drawn once a row, four values at a time; other views stand for themselves.
  template <typename View>
  static View staged(View view, int64_t, std::vector<float>&) {
    return view;
  }
  template <typename Distribution>
  static Read<float>
  staged(DrawView<Distribution> view, int64_t length, std::vector<float>& noise) {
    const int64_t blocks = (length + 3) / 4;
    noise.resize(4 * blocks);
    float* out = noise.data();
    vectorised([=]() PYROBUST_INLINE_LAMBDA {
#pragma GCC ivdep
      for (int64_t b = 0; b < blocks; ++b) {
        const Quad q = view.block(b);
        out[4 * b] = q.v0;
        out[4 * b + 1] = q.v1;
        out[4 * b + 2] = q.v2;
        out[4 * b + 3] = q.v3;
      }
    });
    return {out};
  }

  template <typename Slot>
  static void check(const Slot&, int64_t) {}
  static void check(const Index& index, int64_t r) {
    const int64_t value = index.data[r];
    TORCH_CHECK_INDEX(
        0 <= value && value < index.bound, index.name, " ", r, " is ", value, ", expected 0 to ",
        index.bound - 1);
  }
  template <typename V>
  static void check(const OneHot<V>& hot, int64_t r) {
    check(hot.index, r);
  }
};

} // namespace pyrobust

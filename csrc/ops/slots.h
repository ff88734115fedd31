#pragma once

#include <cstdint>
#include <tuple>
#include <utility>

#include "../functors/draws.h"

// Operands of a launch. A slot says where values lie, of which type they are stored, and whether
// the functor reads them (by value), writes them or updates them (by reference). Functors see
// values of type `Value` alone.
namespace pyrobust {

template <typename T, int n>
struct alignas(sizeof(T) * n) Pack {
  T at[n];
};

template <typename V, typename S = V>
struct Read {
  using Value = V;
  using Stored = S;
  static constexpr bool kLoads = true, kStores = false;
  const S* data;

  PYROBUST_HD V load(int64_t i) const {
    return static_cast<V>(data[i]);
  }
  PYROBUST_HD void store(int64_t, V) const {}
  PYROBUST_HD Read row(int64_t r, int64_t length) const {
    return {data + r * length};
  }
};

template <typename V, typename S = V>
struct Write {
  using Value = V;
  using Stored = S;
  static constexpr bool kLoads = false, kStores = true;
  S* data;

  PYROBUST_HD V load(int64_t) const {
    return V();
  }
  PYROBUST_HD void store(int64_t i, V value) const {
    data[i] = static_cast<S>(value);
  }
  PYROBUST_HD Write row(int64_t r, int64_t length) const {
    return {data + r * length};
  }
};

template <typename V, typename S = V>
struct Update {
  using Value = V;
  using Stored = S;
  static constexpr bool kLoads = true, kStores = true;
  S* data;

  PYROBUST_HD V load(int64_t i) const {
    return static_cast<V>(data[i]);
  }
  PYROBUST_HD void store(int64_t i, V value) const {
    data[i] = static_cast<S>(value);
  }
  PYROBUST_HD Update row(int64_t r, int64_t length) const {
    return {data + r * length};
  }
};

// An index below `bound`; launchers refuse any other (`name` is for the message).
struct Index {
  using Value = int64_t;
  const int64_t* data;
  int64_t bound;
  const char* name;

  PYROBUST_HD int64_t load(int64_t i) const {
    return data[i];
  }
  PYROBUST_HD void store(int64_t, int64_t) const {}
};

// 1 at the row's own index, else 0.
template <typename V>
struct OneHotView {
  using Value = V;
  int64_t hot;

  PYROBUST_HD V load(int64_t j) const {
    return static_cast<V>(j == hot);
  }
  PYROBUST_HD void store(int64_t, V) const {}
};

template <typename V>
struct OneHot {
  using Value = V;
  Index index;

  PYROBUST_HD OneHotView<V> row(int64_t r, int64_t) const {
    return {index.load(r)};
  }
};

// What a sample's random words are drawn from.
struct StreamOf {
  using Value = SampleStream;
  const int64_t* sample_ids;
  int64_t seed, stream;
  Purpose purpose;

  PYROBUST_HD SampleStream load(int64_t r) const {
    return sample_stream(seed, purpose, stream, sample_ids[r]);
  }
  PYROBUST_HD void store(int64_t, SampleStream) const {}
};

// Noise: element j of a row is value j % 4 of the draw from block j / 4 of the sample's words.
template <typename Distribution>
struct DrawView {
  using Value = float;
  SampleStream stream;

  PYROBUST_HD Quad block(int64_t b) const {
    return Distribution::draw(stream.words(static_cast<uint32_t>(b)));
  }
  PYROBUST_HD float load(int64_t j) const {
    const Quad q = block(j >> 2);
    const float low = j & 1 ? q.v1 : q.v0;
    const float high = j & 1 ? q.v3 : q.v2;
    return j & 2 ? high : low;
  }
  PYROBUST_HD void store(int64_t, float) const {}
};

template <typename Distribution>
struct Draw {
  using Value = float;
  StreamOf streams;

  PYROBUST_HD DrawView<Distribution> row(int64_t r, int64_t) const {
    return {streams.load(r)};
  }
};

// Loads the values of some slots, hands them to a functor, stores what it wrote.
template <typename... Slots>
struct Visit {
  template <typename F>
  PYROBUST_HD static void
  map(const F& f, int64_t i, const Slots&... slots, typename Slots::Value... values) {
    f(values...);
    (slots.store(i, values), ...);
  }
  template <typename F, typename Row>
  PYROBUST_HD static void map_row(
      const F& f,
      const Row& row,
      int64_t j,
      const Slots&... slots,
      typename Slots::Value... values) {
    f.apply(row, j, values...);
    (slots.store(j, values), ...);
  }
};

// The values of the row slots, kept from the row's beginning to its end.
template <typename... Slots>
struct RowSlots {
  std::tuple<Slots...> slots;
  using Values = std::tuple<typename Slots::Value...>;

  explicit RowSlots(Slots... all) : slots{all...} {}

  PYROBUST_HD Values load(int64_t r) const {
    return std::apply([&](const auto&... slot) { return Values{slot.load(r)...}; }, slots);
  }
  template <typename F>
  PYROBUST_HD static auto begin(const F& f, Values& values) {
    return std::apply([&](auto&... value) { return f.begin(value...); }, values);
  }
  template <typename F, typename Row>
  PYROBUST_HD void end(const F& f, const Row& row, int64_t r, Values& values) const {
    if constexpr (requires { &F::end; }) {
      std::apply([&](auto&... value) { f.end(row, value...); }, values);
    }
    std::apply(
        [&](const auto&... slot) {
          std::apply([&](const auto&... value) { (slot.store(r, value), ...); }, values);
        },
        slots);
  }
};

} // namespace pyrobust

#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

namespace pyrobust {

// One tensor of a list: its elements, the functor with its own constants, and its operands.
template <typename F, typename... Slots>
struct ListEntry {
  int64_t numel;
  F f;
  std::tuple<Slots...> slots;
};

template <typename F, typename... Slots>
using ListEntries = std::vector<ListEntry<F, Slots...>>;

// Rows of `source`, of `bytes` bytes each, go over those of `target` where `mask` is set.
struct RowCopy {
  const bool* mask;
  char* target;
  const char* source;
  int64_t bytes;
};

} // namespace pyrobust

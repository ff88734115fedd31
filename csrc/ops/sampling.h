#pragma once

#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "../functors/starts.h"
#include "checks.h"
#include "layout.h"
#include "slots.h"

namespace pyrobust {

inline void check_stream(const char* name, int64_t stream) {
  TORCH_CHECK_VALUE(
      0 <= stream && stream < (int64_t(1) << 32), name, " is ", stream, ", expected 0 to 2^32 - 1");
}

inline void check_row_length(int64_t length) {
  TORCH_CHECK_VALUE(
      length <= (int64_t(1) << 31), "a sample has ", length, " elements, expected at most 2^31");
}

// x: (N, ...), sample_ids: (N,) int64. A start in the ball around x and in [0, 1], in the layout
// of x; element j of the noise is that of the contiguous layout, whatever the layout of x.
template <typename Launch>
at::Tensor random_start(
    const at::Tensor& x,
    const at::Tensor& sample_ids,
    double epsilon,
    bool l2,
    int64_t seed,
    int64_t step,
    bool on_boundary) {
  check_samples("x", x);
  check_per_sample("sample_ids", sample_ids, at::kLong, x.size(0), x.device());
  check_radius(epsilon);
  check_stream("step", step);
  const int64_t length = row_length(x);
  check_row_length(length);
  const c10::DeviceGuard guard(x.device());
  const auto b = x.contiguous(), ids = sample_ids.contiguous();
  const at::Tensor start = at::empty(x.sizes(), x.options());
  const int64_t* id = ids.const_data_ptr<int64_t>();
  const StreamOf noise{id, seed, step, Purpose::kStart};
  const StreamOf radius{id, seed, step, Purpose::kRadius};
  with_float_type("x", x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const T e = static_cast<T>(epsilon);
    const auto run = [&](auto f, auto draw) {
      Launch::map_rows(
          x.size(0), length, f, RowSlots<StreamOf>(radius), Write<T>{start.mutable_data_ptr<T>()},
          Read<T>{b.template const_data_ptr<T>()}, draw);
    };
    if (l2) {
      const double inverse = length > 0 ? 1.0 / double(length) : 0.0;
      run(L2Start<T>{e, on_boundary, inverse}, Draw<Normal>{noise});
    } else if (on_boundary) {
      run(LinfBoundaryStart<T>{e}, Draw<SymmetricUniform>{noise});
    } else {
      run(LinfStart<T>{e}, Draw<SymmetricUniform>{noise});
    }
  });
  return start.contiguous(layout_of(x));
}

// sample_ids: (N,) int64. Noise of shape (N, *shape), contiguous.
template <typename Launch, typename Distribution>
at::Tensor noise(
    const at::Tensor& sample_ids,
    at::IntArrayRef shape,
    int64_t seed,
    int64_t stream,
    at::ScalarType dtype,
    Purpose purpose) {
  check_samples("sample_ids", sample_ids);
  const int64_t count = sample_ids.size(0);
  check_per_sample("sample_ids", sample_ids, at::kLong, count, sample_ids.device());
  check_stream("stream", stream);
  const c10::DeviceGuard guard(sample_ids.device());
  std::vector<int64_t> sizes{count};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  const auto ids = sample_ids.contiguous();
  const at::Tensor out = at::empty(sizes, sample_ids.options().dtype(dtype));
  check_row_length(row_length(out));
  const StreamOf streams{ids.const_data_ptr<int64_t>(), seed, stream, purpose};
  const auto run = [&](auto value, auto stored) {
    using T = decltype(value);
    using S = decltype(stored);
    Launch::map_rows(
        count, row_length(out), Noise<T>{}, RowSlots<>(), Write<T, S>{out.mutable_data_ptr<S>()},
        Draw<Distribution>{streams});
  };
  with_output_type("dtype", dtype, run);
  return out;
}

template <typename Launch>
at::Tensor normal(
    const at::Tensor& ids, at::IntArrayRef shape, int64_t seed, int64_t stream, at::ScalarType d) {
  return noise<Launch, Normal>(ids, shape, seed, stream, d, Purpose::kNormal);
}

template <typename Launch>
at::Tensor uniform(
    const at::Tensor& ids, at::IntArrayRef shape, int64_t seed, int64_t stream, at::ScalarType d) {
  return noise<Launch, UnitUniform>(ids, shape, seed, stream, d, Purpose::kUniform);
}

template <typename Launch>
at::Tensor random_signs(
    const at::Tensor& ids, at::IntArrayRef shape, int64_t seed, int64_t stream, at::ScalarType d) {
  return noise<Launch, RandomSign>(ids, shape, seed, stream, d, Purpose::kSigns);
}

template <typename Launch>
void register_sampling(torch::Library& m) {
  m.impl("random_start", &random_start<Launch>);
  m.impl("normal", &normal<Launch>);
  m.impl("uniform", &uniform<Launch>);
  m.impl("random_signs", &random_signs<Launch>);
}

} // namespace pyrobust

#pragma once

#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "../functors/l1.h"
#include "checks.h"
#include "layout.h"
#include "slots.h"
#include "steps.h"

namespace pyrobust {

inline void check_countable(const at::Tensor& x) {
  TORCH_CHECK_VALUE(
      row_length(x) <= INT32_MAX, "a sample has ", row_length(x), " elements, expected below 2^31");
}

// x_adv, x, grad: (N, ...); step_size: (N,); num_moved: (N,) int64, from 1. Moves x_adv.
template <typename Launch>
void l1_step_(
    const at::Tensor& x_adv,
    const at::Tensor& x,
    const at::Tensor& grad,
    const at::Tensor& step_size,
    const at::Tensor& num_moved,
    double epsilon) {
  check_countable(x);
  check_per_sample("step_size", step_size, x.scalar_type(), x.size(0), x.device());
  check_per_sample("num_moved", num_moved, at::kLong, x.size(0), x.device());
  const auto size = step_size.contiguous(), moved = num_moved.contiguous();
  gradient_step(x_adv, x, grad, epsilon, [&](auto point, auto... others) {
    using T = typename decltype(point)::Value;
    const RowSlots of_row(
        Read<T>{size.template const_data_ptr<T>()},
        Read<int64_t>{moved.template const_data_ptr<int64_t>()});
    Launch::map_rows(x.size(0), row_length(x), L1Step<T>{epsilon}, of_row, point, others...);
  });
}

// point, x: (N, ...). Moves the point to the nearest one in the ball and in [0, 1].
template <typename Launch>
void l1_project_(const at::Tensor& point, const at::Tensor& x, double epsilon) {
  check_samples("x", x);
  check_same("point", point, "x", x);
  check_radius(epsilon);
  const c10::DeviceGuard guard(x.device());
  const auto layout = layout_of(x);
  const InPlace a(point, layout);
  const auto b = x.contiguous(layout);
  with_float_type("x", x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    Launch::map_rows(
        x.size(0), row_length(x), L1Project<T>{epsilon}, RowSlots<>(),
        Update<T>{a.template data<T>()}, Read<T>{b.template const_data_ptr<T>()});
  });
  a.finish();
}

template <typename Launch>
void register_l1(torch::Library& m) {
  m.impl("l1_step_", &l1_step_<Launch>);
  m.impl("l1_project_", &l1_project_<Launch>);
}

} // namespace pyrobust

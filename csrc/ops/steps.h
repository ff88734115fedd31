#pragma once

#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <cmath>

#include "../functors/adam.h"
#include "checks.h"
#include "layout.h"
#include "slots.h"

namespace pyrobust {

inline void
check_step(const at::Tensor& x_adv, const at::Tensor& x, const at::Tensor& grad, double epsilon) {
  check_samples("x", x);
  check_same("x_adv", x_adv, "x", x);
  check_like("grad", grad, "x", x);
  check_radius(epsilon);
}

// Both plain steps; `run` launches with the functor of its norm.
template <typename Run>
void gradient_step(
    const at::Tensor& x_adv,
    const at::Tensor& x,
    const at::Tensor& grad,
    double epsilon,
    const Run& run) {
  check_step(x_adv, x, grad, epsilon);
  const c10::DeviceGuard guard(x.device());
  const auto layout = layout_of(x);
  const InPlace a(x_adv, layout);
  const auto b = x.contiguous(layout), g = grad.contiguous(layout);
  with_stored_type("grad", x.scalar_type(), g.scalar_type(), [&](auto value, auto stored) {
    using T = decltype(value);
    using G = decltype(stored);
    run(Update<T>{a.template data<T>()}, Read<T>{b.const_data_ptr<T>()},
        Read<T, G>{g.const_data_ptr<G>()});
  });
  a.finish();
}

template <typename Launch>
void linf_step_(
    const at::Tensor& x_adv,
    const at::Tensor& x,
    const at::Tensor& grad,
    double step_size,
    double epsilon) {
  gradient_step(x_adv, x, grad, epsilon, [&](auto point, auto... others) {
    using T = typename decltype(point)::Value;
    const LinfStep<T> f{static_cast<T>(step_size), static_cast<T>(epsilon)};
    Launch::map(x.numel(), f, point, others...);
  });
}

template <typename Launch>
void l2_step_(
    const at::Tensor& x_adv,
    const at::Tensor& x,
    const at::Tensor& grad,
    double step_size,
    double epsilon) {
  gradient_step(x_adv, x, grad, epsilon, [&](auto point, auto... others) {
    using T = typename decltype(point)::Value;
    const L2Step<T> f{static_cast<T>(step_size), static_cast<T>(epsilon)};
    Launch::map_rows(x.size(0), row_length(x), f, RowSlots<>(), point, others...);
  });
}

// The constants of step `step`, which counts from 1; powers are taken in double precision.
template <typename T>
AdamAscent<T>
adam_ascent(int64_t step, double learning_rate, double beta1, double beta2, double eps) {
  return {
      static_cast<T>(learning_rate),
      static_cast<T>(beta1),
      static_cast<T>(beta2),
      static_cast<T>(1.0 - beta1),
      static_cast<T>(1.0 - beta2),
      static_cast<T>(1.0 / (1.0 - std::pow(beta1, double(step)))),
      static_cast<T>(1.0 / (1.0 - std::pow(beta2, double(step)))),
      static_cast<T>(eps)};
}

// Both Adam steps; `run` launches with the functor of its norm.
template <typename Run>
void adam_step(
    const at::Tensor& x_adv,
    const at::Tensor& x,
    const at::Tensor& grad,
    const at::Tensor& exp_avg,
    const at::Tensor& exp_avg_sq,
    int64_t step,
    double epsilon,
    const Run& run) {
  check_step(x_adv, x, grad, epsilon);
  check_same("exp_avg", exp_avg, "x", x);
  check_same("exp_avg_sq", exp_avg_sq, "x", x);
  TORCH_CHECK_VALUE(step >= 1, "step is ", step, ", expected 1 or more: it counts from 1");
  const c10::DeviceGuard guard(x.device());
  const auto layout = layout_of(x);
  const InPlace a(x_adv, layout), m(exp_avg, layout), v(exp_avg_sq, layout);
  const auto b = x.contiguous(layout), g = grad.contiguous(layout);
  with_stored_type("grad", x.scalar_type(), g.scalar_type(), [&](auto value, auto stored) {
    using T = decltype(value);
    using G = decltype(stored);
    run(Update<T>{a.template data<T>()}, Update<T>{m.template data<T>()},
        Update<T>{v.template data<T>()}, Read<T>{b.const_data_ptr<T>()},
        Read<T, G>{g.const_data_ptr<G>()});
  });
  a.finish();
  m.finish();
  v.finish();
}

template <typename Launch>
void linf_adam_step_(
    const at::Tensor& x_adv,
    const at::Tensor& x,
    const at::Tensor& grad,
    const at::Tensor& exp_avg,
    const at::Tensor& exp_avg_sq,
    int64_t step,
    double learning_rate,
    double epsilon,
    double beta1,
    double beta2,
    double eps) {
  const auto run = [&](auto point, auto... others) {
    using T = typename decltype(point)::Value;
    const auto adam = adam_ascent<T>(step, learning_rate, beta1, beta2, eps);
    Launch::map(x.numel(), LinfAdamStep<T>{adam, static_cast<T>(epsilon)}, point, others...);
  };
  adam_step(x_adv, x, grad, exp_avg, exp_avg_sq, step, epsilon, run);
}

template <typename Launch>
void l2_adam_step_(
    const at::Tensor& x_adv,
    const at::Tensor& x,
    const at::Tensor& grad,
    const at::Tensor& exp_avg,
    const at::Tensor& exp_avg_sq,
    int64_t step,
    double learning_rate,
    double epsilon,
    double beta1,
    double beta2,
    double eps) {
  const auto run = [&](auto point, auto... others) {
    using T = typename decltype(point)::Value;
    const auto adam = adam_ascent<T>(step, learning_rate, beta1, beta2, eps);
    const L2AdamStep<T> f{adam, static_cast<T>(epsilon)};
    Launch::map_rows(x.size(0), row_length(x), f, RowSlots<>(), point, others...);
  };
  adam_step(x_adv, x, grad, exp_avg, exp_avg_sq, step, epsilon, run);
}

template <typename Launch>
void register_steps(torch::Library& m) {
  m.impl("linf_step_", &linf_step_<Launch>);
  m.impl("l2_step_", &l2_step_<Launch>);
  m.impl("linf_adam_step_", &linf_adam_step_<Launch>);
  m.impl("l2_adam_step_", &l2_adam_step_<Launch>);
}

} // namespace pyrobust

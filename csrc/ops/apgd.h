#pragma once

#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "../functors/apgd.h"
#include "checks.h"
#include "layout.h"
#include "lists.h"
#include "slots.h"
#include "steps.h"

namespace pyrobust {

// x_adv, x_previous, x, grad: (N, ...); step_size: (N,). Moves x_adv; x_previous becomes the
// x_adv before the move.
template <typename Launch>
void apgd_step_(
    const at::Tensor& x_adv,
    const at::Tensor& x_previous,
    const at::Tensor& x,
    const at::Tensor& grad,
    const at::Tensor& step_size,
    double epsilon,
    bool l2,
    double momentum) {
  check_step(x_adv, x, grad, epsilon);
  check_same("x_previous", x_previous, "x", x);
  check_per_sample("step_size", step_size, x.scalar_type(), x.size(0), x.device());
  const c10::DeviceGuard guard(x.device());
  const auto layout = layout_of(x);
  const InPlace a(x_adv, layout), p(x_previous, layout);
  const auto b = x.contiguous(layout), g = grad.contiguous(layout), s = step_size.contiguous();
  with_stored_type("grad", x.scalar_type(), g.scalar_type(), [&](auto value, auto stored) {
    using T = decltype(value);
    using G = decltype(stored);
    const auto run = [&](auto f) {
      Launch::map_rows(
          x.size(0), row_length(x), f, RowSlots<Read<T>>(Read<T>{s.template const_data_ptr<T>()}),
          Update<T>{a.template data<T>()}, Update<T>{p.template data<T>()},
          Read<T>{b.template const_data_ptr<T>()}, Read<T, G>{g.template const_data_ptr<G>()});
    };
    if (l2) {
      run(ApgdL2Step<T>{static_cast<T>(epsilon), static_cast<T>(momentum)});
    } else {
      run(ApgdLinfStep<T>{static_cast<T>(epsilon), static_cast<T>(momentum)});
    }
  });
  a.finish();
  p.finish();
}

// The bookkeeping after a loss evaluation at x_adv: `loss` and `correct` are (N,), images
// (N, ...), the state of the walk (N,) each. See functors/apgd.h.
template <typename Launch>
void apgd_track_(
    const at::Tensor& x_adv,
    const at::Tensor& grad,
    const at::Tensor& loss,
    const at::Tensor& correct,
    const at::Tensor& x_best,
    const at::Tensor& grad_best,
    const at::Tensor& x_broken,
    const at::Tensor& loss_best,
    const at::Tensor& loss_previous,
    const at::Tensor& num_increases,
    const at::Tensor& loss_best_at_check,
    const at::Tensor& halved_at_check,
    const at::Tensor& step_size,
    const at::Tensor& standing,
    int64_t window,
    double rho) {
  check_samples("x_adv", x_adv);
  check_like("grad", grad, "x_adv", x_adv);
  check_same("x_best", x_best, "x_adv", x_adv);
  check_same("grad_best", grad_best, "grad", grad);
  check_same("x_broken", x_broken, "x_adv", x_adv);
  const int64_t count = x_adv.size(0);
  const auto per_sample = [&](const char* name, const at::Tensor& tensor, at::ScalarType dtype) {
    check_per_sample(name, tensor, dtype, count, x_adv.device());
  };
  const auto dtype = x_adv.scalar_type();
  per_sample("loss", loss, dtype);
  per_sample("correct", correct, at::kBool);
  per_sample("loss_best", loss_best, dtype);
  per_sample("loss_previous", loss_previous, dtype);
  per_sample("num_increases", num_increases, dtype);
  per_sample("loss_best_at_check", loss_best_at_check, dtype);
  per_sample("halved_at_check", halved_at_check, at::kBool);
  per_sample("step_size", step_size, dtype);
  per_sample("standing", standing, at::kBool);
  TORCH_CHECK_VALUE(window >= 0, "window is ", window, ", expected 0 or more");
  const c10::DeviceGuard guard(x_adv.device());

  const auto flat = at::MemoryFormat::Contiguous;
  const InPlace best(loss_best, flat), previous(loss_previous, flat),
      increases(num_increases, flat), best_at_check(loss_best_at_check, flat),
      was_halved(halved_at_check, flat), size(step_size, flat), stands(standing, flat);
  const auto l = loss.contiguous(), c = correct.contiguous();
  const at::Tensor masks = at::empty({3, count}, x_adv.options().dtype(at::kBool));
  bool* const improved = masks.mutable_data_ptr<bool>();
  bool* const broken = improved + count;
  bool* const halved = broken + count;
  with_float_type("x_adv", dtype, [&](auto type) {
    using T = decltype(type);
    Launch::map(
        count, ApgdTrack<T>{window, static_cast<T>(rho)}, Write<bool>{improved},
        Write<bool>{broken}, Write<bool>{halved}, Update<T>{best.template data<T>()},
        Update<T>{previous.template data<T>()}, Update<T>{increases.template data<T>()},
        Update<T>{best_at_check.template data<T>()}, Update<bool>{was_halved.template data<bool>()},
        Update<T>{size.template data<T>()}, Update<bool>{stands.template data<bool>()},
        Read<T>{l.template const_data_ptr<T>()}, Read<bool>{c.template const_data_ptr<bool>()});
  });
  for (const InPlace* state :
       {&best, &previous, &increases, &best_at_check, &was_halved, &size, &stands}) {
    state->finish();
  }

  const auto layout = layout_of(x_adv);
  const InPlace a(x_adv, layout), g(grad, layout), xb(x_best, layout), gb(grad_best, layout),
      xm(x_broken, layout);
  const int64_t image_bytes = row_length(x_adv) * x_adv.element_size();
  const int64_t grad_bytes = row_length(grad) * grad.element_size();
  std::vector<RowCopy> copies{
      {improved, xb.bytes(), a.bytes(), image_bytes},
      {improved, gb.bytes(), g.bytes(), grad_bytes},
      {broken, xm.bytes(), a.bytes(), image_bytes}};
  if (window > 0) {
    copies.push_back({halved, a.bytes(), xb.bytes(), image_bytes});
    copies.push_back({halved, g.bytes(), gb.bytes(), grad_bytes});
  }
  Launch::copy_rows(count, copies);
  for (const InPlace* state : {&a, &g, &xb, &gb, &xm}) {
    state->finish();
  }
}

template <typename Launch>
void register_apgd(torch::Library& m) {
  m.impl("apgd_step_", &apgd_step_<Launch>);
  m.impl("apgd_track_", &apgd_track_<Launch>);
}

} // namespace pyrobust

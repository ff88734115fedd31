#pragma once

#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "../functors/margin_losses.h"
#include "../functors/softmax_losses.h"
#include "checks.h"
#include "slots.h"

// Losses of rows of logits (N, K), float, double or bfloat16: the loss is (N,) in float (double
// for double), the gradient (N, K) in the dtype of the logits, contiguous.
namespace pyrobust {

inline void check_logits(const char* name, const at::Tensor& logits, int64_t min_classes) {
  TORCH_CHECK_VALUE(logits.dim() == 2, name, " has shape ", logits.sizes(), ", expected (N, K)");
  TORCH_CHECK_VALUE(
      min_classes <= logits.size(1) && logits.size(1) < INT32_MAX, name, " has ", logits.size(1),
      " classes, expected ", min_classes, " or more");
}

inline at::Tensor empty_loss(const at::Tensor& logits) {
  const auto dtype = logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::empty({logits.size(0)}, logits.options().dtype(dtype));
}

// Exactly one of labels (N,) int64 and probs (N, K) is given.
template <typename Launch>
std::tuple<at::Tensor, at::Tensor> cross_entropy(
    const at::Tensor& logits,
    const std::optional<at::Tensor>& labels,
    const std::optional<at::Tensor>& probs) {
  check_logits("logits", logits, 1);
  const int64_t count = logits.size(0), classes = logits.size(1);
  const c10::DeviceGuard guard(logits.device());
  const auto z = logits.contiguous();
  const at::Tensor loss = empty_loss(z), grad = at::empty(z.sizes(), z.options());
  with_output_type("logits", z.scalar_type(), [&](auto value, auto stored) {
    using T = decltype(value);
    using S = decltype(stored);
    const auto run = [&](auto target) {
      Launch::map_rows(
          count, classes, CrossEntropy<T>{},
          RowSlots<Write<T>>(Write<T>{loss.mutable_data_ptr<T>()}),
          Write<T, S>{grad.mutable_data_ptr<S>()}, Read<T, S>{z.template const_data_ptr<S>()},
          target);
    };
    if (labels) {
      check_per_sample("labels", *labels, at::kLong, count, z.device());
      const auto y = labels->contiguous();
      run(OneHot<T>{{y.template const_data_ptr<int64_t>(), classes, "label"}});
    } else {
      check_like("probs", *probs, "logits", z);
      check_dtype("probs", *probs, loss.scalar_type());
      const auto p = probs->contiguous();
      run(Read<T>{p.template const_data_ptr<T>()});
    }
  });
  return {loss, grad};
}

template <typename Launch>
std::tuple<at::Tensor, at::Tensor, at::Tensor>
trades_kl(const at::Tensor& clean_logits, const at::Tensor& adversarial_logits) {
  check_logits("clean_logits", clean_logits, 1);
  check_same("adversarial_logits", adversarial_logits, "clean_logits", clean_logits);
  const c10::DeviceGuard guard(clean_logits.device());
  const auto clean = clean_logits.contiguous(), adversarial = adversarial_logits.contiguous();
  const at::Tensor loss = empty_loss(clean);
  const at::Tensor grad_clean = at::empty(clean.sizes(), clean.options());
  const at::Tensor grad_adversarial = at::empty(clean.sizes(), clean.options());
  with_output_type("clean_logits", clean.scalar_type(), [&](auto value, auto stored) {
    using T = decltype(value);
    using S = decltype(stored);
    Launch::map_rows(
        clean.size(0), clean.size(1), TradesKl<T>{},
        RowSlots<Write<T>>(Write<T>{loss.mutable_data_ptr<T>()}),
        Write<T, S>{grad_clean.mutable_data_ptr<S>()},
        Write<T, S>{grad_adversarial.mutable_data_ptr<S>()},
        Read<T, S>{clean.template const_data_ptr<S>()},
        Read<T, S>{adversarial.template const_data_ptr<S>()});
  });
  return {loss, grad_clean, grad_adversarial};
}

template <typename Launch, template <typename> typename Loss>
std::tuple<at::Tensor, at::Tensor> ranked_loss(
    const at::Tensor& logits,
    const at::Tensor& labels,
    const at::Tensor& targets,
    int64_t min_classes) {
  check_logits("logits", logits, min_classes);
  const int64_t count = logits.size(0), classes = logits.size(1);
  check_per_sample("labels", labels, at::kLong, count, logits.device());
  check_per_sample("targets", targets, at::kLong, count, logits.device());
  const c10::DeviceGuard guard(logits.device());
  const auto z = logits.contiguous(), y = labels.contiguous(), t = targets.contiguous();
  const at::Tensor loss = empty_loss(z), grad = at::empty(z.sizes(), z.options());
  with_output_type("logits", z.scalar_type(), [&](auto value, auto stored) {
    using T = decltype(value);
    using S = decltype(stored);
    Launch::map_rows(
        count, classes, RankedLoss<T, Loss<T>>{},
        RowSlots<Write<T>, Index, Index>(
            Write<T>{loss.mutable_data_ptr<T>()},
            Index{y.template const_data_ptr<int64_t>(), classes, "label"},
            Index{t.template const_data_ptr<int64_t>(), classes, "target"}),
        Write<T, S>{grad.mutable_data_ptr<S>()}, Read<T, S>{z.template const_data_ptr<S>()});
  });
  return {loss, grad};
}

template <typename Launch>
std::tuple<at::Tensor, at::Tensor> margin(const at::Tensor& logits, const at::Tensor& labels) {
  return ranked_loss<Launch, Margin>(logits, labels, labels, 2);
}

template <typename Launch>
std::tuple<at::Tensor, at::Tensor> dlr(const at::Tensor& logits, const at::Tensor& labels) {
  return ranked_loss<Launch, Dlr>(logits, labels, labels, 3);
}

template <typename Launch>
std::tuple<at::Tensor, at::Tensor>
targeted_margin(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& targets) {
  return ranked_loss<Launch, TargetedMargin>(logits, labels, targets, 1);
}

template <typename Launch>
std::tuple<at::Tensor, at::Tensor>
targeted_dlr(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& targets) {
  return ranked_loss<Launch, TargetedDlr>(logits, labels, targets, 4);
}

template <typename Launch>
void register_losses(torch::Library& m) {
  m.impl("cross_entropy", &cross_entropy<Launch>);
  m.impl("trades_kl", &trades_kl<Launch>);
  m.impl("margin", &margin<Launch>);
  m.impl("dlr", &dlr<Launch>);
  m.impl("targeted_margin", &targeted_margin<Launch>);
  m.impl("targeted_dlr", &targeted_dlr<Launch>);
}

} // namespace pyrobust

#pragma once

#include <ATen/ops/empty_strided.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <vector>

#include "../functors/averaging.h"
#include "checks.h"
#include "layout.h"
#include "lists.h"
#include "slots.h"

// Updates of whole lists of tensors, in one pass over memory.
namespace pyrobust {

inline void
check_list(const char* name, at::TensorList list, const char* like_name, at::TensorList like) {
  TORCH_CHECK_VALUE(
      list.size() == like.size(), name, " has ", list.size(), " tensors, expected ", like.size(),
      " as ", like_name, " has");
  for (size_t i = 0; i < list.size(); ++i) {
    check_like(name, list[i], like_name, like[i]);
  }
}

// Tensors that are written in place must lie in memory as the parameters do: dense, same strides.
inline void
check_dense(const char* name, at::TensorList list, const char* like_name, at::TensorList like) {
  for (size_t i = 0; i < list.size(); ++i) {
    TORCH_CHECK_VALUE(
        list[i].is_non_overlapping_and_dense() &&
            (list[i].numel() < 2 || list[i].strides() == like[i].strides()),
        name, " ", i, " has strides ", list[i].strides(), ", expected the dense strides ",
        like[i].strides(), " of ", like_name);
    check_dtype(name, list[i], like[0].scalar_type());
  }
}

// `tensor` with the strides of `like`.
inline at::Tensor strided_like(const at::Tensor& tensor, const at::Tensor& like) {
  if (tensor.strides() == like.strides() || tensor.numel() < 2) {
    return tensor;
  }
  return at::empty_strided(like.sizes(), like.strides(), tensor.options()).copy_(tensor);
}

inline void bump_versions(at::TensorList list) {
  for (const at::Tensor& tensor : list) {
    tensor.unsafeGetTensorImpl()->bump_version();
  }
}

// Tensors of different length are fine; all of one list have one dtype and one device.
template <typename Launch>
void sgd_ema_step_(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList momentum_buffers,
    at::TensorList averages,
    const c10::List<bool>& decayed,
    double learning_rate,
    double momentum,
    double weight_decay,
    double ema_decay) {
  check_list("grads", grads, "params", params);
  check_list("momentum_buffers", momentum_buffers, "params", params);
  check_list("averages", averages, "params", params);
  TORCH_CHECK_VALUE(
      decayed.size() == params.size(), "decayed has ", decayed.size(), " entries, expected ",
      params.size(), ", one a parameter");
  if (params.empty()) {
    return;
  }
  check_dense("params", params, "params", params);
  check_dense("momentum_buffers", momentum_buffers, "params", params);
  check_dense("averages", averages, "params", params);
  const c10::DeviceGuard guard(params[0].device());
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < params.size(); ++i) {
    check_dtype("grads", grads[i], grads[0].scalar_type());
    check_device("params", params[i], params[0].device());
    gradients.push_back(strided_like(grads[i], params[i]));
  }
  with_stored_type(
      "grads", params[0].scalar_type(), grads[0].scalar_type(), [&](auto value, auto stored) {
        using T = decltype(value);
        using G = decltype(stored);
        const EmaUpdate<T> ema{static_cast<T>(ema_decay), static_cast<T>(1.0 - ema_decay)};
        const auto update = [](const at::Tensor& t) { return Update<T>{t.mutable_data_ptr<T>()}; };
        ListEntries<SgdEmaStep<T>, Update<T>, Update<T>, Update<T>, Read<T, G>> entries;
        for (size_t i = 0; i < params.size(); ++i) {
          const SgdEmaStep<T> f{
              static_cast<T>(learning_rate), static_cast<T>(momentum),
              static_cast<T>(decayed[i] ? weight_decay : 0.0), ema};
          entries.push_back(
              {params[i].numel(),
               f,
               {update(params[i]), update(momentum_buffers[i]), update(averages[i]),
                Read<T, G>{gradients[i].template const_data_ptr<G>()}}});
        }
        Launch::map_list(entries);
      });
  bump_versions(params);
  bump_versions(momentum_buffers);
  bump_versions(averages);
}

template <typename Launch>
void ema_update_(at::TensorList averages, at::TensorList values, double decay) {
  check_list("values", values, "averages", averages);
  if (averages.empty()) {
    return;
  }
  check_dense("averages", averages, "averages", averages);
  const c10::DeviceGuard guard(averages[0].device());
  std::vector<at::Tensor> sources;
  for (size_t i = 0; i < averages.size(); ++i) {
    check_dtype("values", values[i], averages[0].scalar_type());
    check_device("averages", averages[i], averages[0].device());
    sources.push_back(strided_like(values[i], averages[i]));
  }
  with_float_type("averages", averages[0].scalar_type(), [&](auto type) {
    using T = decltype(type);
    const EmaUpdate<T> ema{static_cast<T>(decay), static_cast<T>(1.0 - decay)};
    ListEntries<EmaUpdate<T>, Update<T>, Read<T>> entries;
    for (size_t i = 0; i < averages.size(); ++i) {
      entries.push_back(
          {averages[i].numel(),
           ema,
           {Update<T>{averages[i].template mutable_data_ptr<T>()},
            Read<T>{sources[i].template const_data_ptr<T>()}}});
    }
    Launch::map_list(entries);
  });
  bump_versions(averages);
}

template <typename Launch>
void register_averaging(torch::Library& m) {
  m.impl("sgd_ema_step_", &sgd_ema_step_<Launch>);
  m.impl("ema_update_", &ema_update_<Launch>);
}

} // namespace pyrobust

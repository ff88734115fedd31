#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

// What every operator asks of its arguments; each message names the value and what was expected.
namespace pyrobust {

inline void check_like(
    const char* name, const at::Tensor& tensor, const char* like_name, const at::Tensor& like) {
  TORCH_CHECK_VALUE(
      tensor.sizes() == like.sizes(), name, " has shape ", tensor.sizes(), ", expected ",
      like.sizes(), " as ", like_name, " has");
  TORCH_CHECK_VALUE(
      tensor.device() == like.device(), name, " is on ", tensor.device(), ", expected ",
      like.device(), " where ", like_name, " is");
}

inline void check_device(const char* name, const at::Tensor& tensor, c10::Device expected) {
  TORCH_CHECK_VALUE(
      tensor.device() == expected, name, " is on ", tensor.device(), ", expected ", expected);
}

inline void check_dtype(const char* name, const at::Tensor& tensor, at::ScalarType expected) {
  TORCH_CHECK_TYPE(
      tensor.scalar_type() == expected, name, " is ", tensor.scalar_type(), ", expected ",
      expected);
}

inline void check_same(
    const char* name, const at::Tensor& tensor, const char* like_name, const at::Tensor& like) {
  check_like(name, tensor, like_name, like);
  check_dtype(name, tensor, like.scalar_type());
}

// One value a sample: shape (N,) for `samples` of shape (N, ...).
inline void check_per_sample(
    const char* name,
    const at::Tensor& tensor,
    at::ScalarType dtype,
    int64_t count,
    c10::Device device) {
  TORCH_CHECK_VALUE(
      tensor.dim() == 1 && tensor.size(0) == count, name, " has shape ", tensor.sizes(),
      ", expected [", count, "], one value a sample");
  check_device(name, tensor, device);
  check_dtype(name, tensor, dtype);
}

inline void check_samples(const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(
      tensor.dim() >= 1, name, " has shape ", tensor.sizes(),
      ", expected samples along a first dimension");
}

inline void check_radius(double epsilon) {
  TORCH_CHECK_VALUE(epsilon >= 0, "epsilon is ", epsilon, ", expected 0 or more");
}

// Elements of one sample.
inline int64_t row_length(const at::Tensor& samples) {
  return samples.size(0) == 0 ? 0 : samples.numel() / samples.size(0);
}

// Calls body(T()) with the C++ type of `dtype`.
template <typename Body>
void with_float_type(const char* name, at::ScalarType dtype, const Body& body) {
  if (dtype == at::kFloat) {
    body(float());
  } else {
    TORCH_CHECK_TYPE(dtype == at::kDouble, name, " is ", dtype, ", expected Float or Double");
    body(double());
  }
}

// Calls body(T(), S()): values of type T, stored as S. S is T, or bfloat16 beside float.
template <typename Body>
void with_stored_type(
    const char* name, at::ScalarType dtype, at::ScalarType stored, const Body& body) {
  if (dtype == at::kFloat && stored == at::kBFloat16) {
    return body(float(), c10::BFloat16());
  }
  TORCH_CHECK_TYPE(
      stored == dtype, name, " is ", stored, ", expected ", dtype,
      dtype == at::kFloat ? " or BFloat16" : "");
  with_float_type(name, dtype, [&](auto type) { body(type, type); });
}

// Calls body(T(), S()): values of type T, stored as S, one of float, double and bfloat16.
template <typename Body>
void with_output_type(const char* name, at::ScalarType dtype, const Body& body) {
  if (dtype == at::kBFloat16) {
    return body(float(), c10::BFloat16());
  }
  TORCH_CHECK_TYPE(
      dtype == at::kFloat || dtype == at::kDouble, name, " is ", dtype,
      ", expected Float, Double or BFloat16");
  with_float_type(name, dtype, [&](auto type) { body(type, type); });
}

} // namespace pyrobust

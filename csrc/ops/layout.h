#pragma once

#include <ATen/core/Tensor.h>

namespace pyrobust {

// Inputs of any stride are brought to the layout of the clean images: channels-last where these
// are dense that way and no other, else contiguous. Outputs have that layout.
inline at::MemoryFormat layout_of(const at::Tensor& tensor) {
  const bool channels_last = tensor.dim() == 4 && !tensor.is_contiguous() &&
                             tensor.is_contiguous(at::MemoryFormat::ChannelsLast);
  return channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

// A tensor that an operator writes: its own memory where the layout fits, else a copy that
// `finish` writes back. The version counter rises, so that autograd notices.
class InPlace {
 public:
  InPlace(const at::Tensor& target, at::MemoryFormat layout)
      : target_(target), buffer_(target.contiguous(layout)) {}

  const at::Tensor& buffer() const {
    return buffer_;
  }

  template <typename T>
  T* data() const {
    return buffer_.mutable_data_ptr<T>();
  }

  char* bytes() const {
    return static_cast<char*>(buffer_.mutable_data_ptr());
  }

  // Call once the launch is over.
  void finish() const {
    if (buffer_.is_same(target_)) {
      target_.unsafeGetTensorImpl()->bump_version();
    } else {
      target_.copy_(buffer_);
    }
  }

 private:
  at::Tensor target_;
  at::Tensor buffer_;
};

} // namespace pyrobust

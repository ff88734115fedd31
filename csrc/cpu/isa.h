#pragma once

#include <c10/util/Exception.h>

#include <cstdlib>
#include <string>

// The build is portable: loops are compiled once for each of these instruction sets, and the best
// that the processor has is taken. All give the same bits, since functors use correctly rounded
// operations only and the build turns contraction off. PYROBUST_ISA names a lesser one, for tests.
// Builds with AddressSanitizer keep to the portable one, to compile in a third of the time.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define PYROBUST_HAS_X86_VECTORS
#endif

namespace pyrobust {

enum class Isa { kBaseline, kAvx2, kAvx512 };

inline Isa best_isa() {
#if defined(PYROBUST_HAS_X86_VECTORS)
  if (__builtin_cpu_supports("x86-64-v4")) {
    return Isa::kAvx512;
  }
  if (__builtin_cpu_supports("x86-64-v3")) {
    return Isa::kAvx2;
  }
#endif
  return Isa::kBaseline;
}

inline Isa choose_isa() {
  const char* variable = std::getenv("PYROBUST_ISA");
  if (variable == nullptr) {
    return best_isa();
  }
  const std::string wanted = variable;
  TORCH_CHECK_VALUE(
      wanted == "baseline" || wanted == "avx2" || wanted == "avx512", "PYROBUST_ISA is '", wanted,
      "', expected baseline, avx2 or avx512");
  const Isa named = wanted == "avx512" ? Isa::kAvx512
                    : wanted == "avx2" ? Isa::kAvx2
                                       : Isa::kBaseline;
  return named < best_isa() ? named : best_isa();
}

inline Isa isa() {
  static const Isa chosen = choose_isa();
  return chosen;
}

#if defined(PYROBUST_HAS_X86_VECTORS)
template <typename Body>
__attribute__((target("arch=x86-64-v4,prefer-vector-width=512"))) void
run_avx512(const Body& body) {
  body();
}

template <typename Body>
__attribute__((target("arch=x86-64-v3"))) void run_avx2(const Body& body) {
  body();
}
#endif

// Runs `body`, a lambda that must always be inlined, compiled for the chosen instruction set.
template <typename Body>
void vectorised(const Body& body) {
#if defined(PYROBUST_HAS_X86_VECTORS)
  switch (isa()) {
    case Isa::kAvx512:
      return run_avx512(body);
    case Isa::kAvx2:
      return run_avx2(body);
    case Isa::kBaseline:
      break;
  }
#endif
  body();
}

#define PYROBUST_INLINE_LAMBDA __attribute__((always_inline))

} // namespace pyrobust

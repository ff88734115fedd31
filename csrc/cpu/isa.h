#pragma once

#include <cstdlib>
#include <cstring>

// The build is portable; loops are compiled once for each of these instruction sets and the best
// one that the processor has is taken. All give the same bits, since the functors use correctly
// rounded operations only and the build turns contraction off. PYROBUST_ISA=baseline|avx2|avx512
// takes a lesser one.
namespace pyrobust {

enum class Isa { kBaseline, kAvx2, kAvx512 };

inline Isa choose_isa() {
#if defined(__x86_64__)
  const char* wanted = std::getenv("PYROBUST_ISA");
  const bool baseline = wanted != nullptr && std::strcmp(wanted, "baseline") == 0;
  const bool avx2 = wanted != nullptr && std::strcmp(wanted, "avx2") == 0;
  __builtin_cpu_init();
  if (!baseline && !avx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return Isa::kAvx512;
  }
  if (!baseline && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2")) {
    return Isa::kAvx2;
  }
#endif
  return Isa::kBaseline;
}

inline Isa isa() {
  static const Isa chosen = choose_isa();
  return chosen;
}

#if defined(__x86_64__)
template <typename Body>
__attribute__((target("arch=x86-64-v4,prefer-vector-width=512"))) void run_avx512(const Body& body) {
  body();
}
template <typename Body>
__attribute__((target("arch=x86-64-v3"))) void run_avx2(const Body& body) {
  body();
}
#endif

// Runs `body`, a lambda that is always inlined, compiled for the processor's instruction set.
template <typename Body>
void vectorised(const Body& body) {
#if defined(__x86_64__)
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

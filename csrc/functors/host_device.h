#pragma once

// Marks a function that must compile for the host and for the device, and inline on both: on the
// host it is then compiled anew inside each instruction set of cpu/isa.h.
#if defined(__CUDACC__)
#define PYROBUST_HD __host__ __device__ __forceinline__
#else
#define PYROBUST_HD __attribute__((always_inline)) inline
#endif

"""What the CUDA kernels need of a device's compiler, for one of the host."""
SHIM = """
#include <cmath>
#include <cstring>
#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
struct Dim { long x; };
static thread_local Dim blockIdx, threadIdx, blockDim;
static inline float __uint_as_float(unsigned v) { float f; memcpy(&f, &v, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned v; memcpy(&v, &f, 4); return v; }
static __attribute__((noinline)) float __fmul_rn(float a, float b) { return a * b; }
static __attribute__((noinline)) float __fsub_rn(float a, float b) { return a - b; }
"""

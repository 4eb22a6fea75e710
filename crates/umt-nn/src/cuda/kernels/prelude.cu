// What every source begins with. `T` is how activations are stored; sums, statistics and parameters are float or double.
// There is no float atomic and no barrier: each thread owns what it writes, sums have an order fixed by shapes alone, and so
// results do not depend on how the device schedules.
typedef long long i64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

#ifdef BF16
typedef u16 T;
static __device__ __forceinline__ float get(const T* p, i64 i) { return __uint_as_float(((u32)p[i]) << 16); }
static __device__ __forceinline__ void put(T* p, i64 i, float v) {
    u32 bits = __float_as_uint(v);
    // To the nearest, ties to even; a NaN stays one.
    p[i] = v != v ? (u16)0x7fc0 : (u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#else
typedef float T;
static __device__ __forceinline__ float get(const T* p, i64 i) { return p[i]; }
static __device__ __forceinline__ void put(T* p, i64 i, float v) { p[i] = v; }
#endif

#define KERNEL extern "C" __global__ void
// The thread's number, if there is work for it.
#define INDEX(i, n)                                          \
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;      \
    if (i >= (n)) return

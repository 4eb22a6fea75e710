// What every source begins with. `T` is how activations are stored; sums, statistics and parameters are float or double.
// There is no float atomic and no barrier: each thread owns what it writes, sums have an order fixed by shapes alone, and so
// results do not depend on how the device schedules.
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

// Whole numbers: sizes and indices. 64 bits are for arrays that need them; a device divides 32 bits several times as fast.
#ifdef LONG
typedef i64 I;
typedef u64 U;
#else
typedef int I;
typedef u32 U;
#endif
// Of numbers that are not negative: cheaper than with a sign.
static __device__ __forceinline__ I over(I a, I b) { return (I)((U)a / (U)b); }
static __device__ __forceinline__ I rest(I a, I b) { return (I)((U)a % (U)b); }

// 16 bytes, which is the widest access: 4 floats or 8 bfloat16.
struct alignas(16) Words { u32 w[4]; };

#ifdef BF16
typedef u16 T;
#define WIDE 8
static __device__ __forceinline__ u16 rounded(float v) {
    u32 bits = __float_as_uint(v);
    // To the nearest, ties to even; a NaN stays one.
    return v != v ? (u16)0x7fc0 : (u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
static __device__ __forceinline__ float get(const T* p, I i) { return __uint_as_float(((u32)p[i]) << 16); }
static __device__ __forceinline__ void put(T* p, I i, float v) { p[i] = rounded(v); }
static __device__ __forceinline__ void load(const T* p, float (&v)[8]) {
    const Words x = *(const Words*)p;
    for (int j = 0; j < 4; j++) {
        v[2 * j] = __uint_as_float(x.w[j] << 16);
        v[2 * j + 1] = __uint_as_float(x.w[j] & 0xffff0000u);
    }
}
static __device__ __forceinline__ void store(T* p, const float (&v)[8]) {
    Words x;
    for (int j = 0; j < 4; j++) x.w[j] = rounded(v[2 * j]) | (u32)rounded(v[2 * j + 1]) << 16;
    *(Words*)p = x;
}
#else
typedef float T;
#define WIDE 4
static __device__ __forceinline__ float get(const T* p, I i) { return p[i]; }
static __device__ __forceinline__ void put(T* p, I i, float v) { p[i] = v; }
static __device__ __forceinline__ void load(const T* p, float (&v)[4]) {
    const Words x = *(const Words*)p;
    for (int j = 0; j < 4; j++) v[j] = __uint_as_float(x.w[j]);
}
static __device__ __forceinline__ void store(T* p, const float (&v)[4]) {
    Words x;
    for (int j = 0; j < 4; j++) x.w[j] = __float_as_uint(v[j]);
    *(Words*)p = x;
}
#endif
static __device__ __forceinline__ void load(const T* p, float (&v)[1]) { v[0] = get(p, 0); }
static __device__ __forceinline__ void store(T* p, const float (&v)[1]) { put(p, 0, v[0]); }

// Floats by channel, for as many values.
template <int N> static __device__ __forceinline__ void floats(const float* p, float (&v)[N]) {
    if (N == 1) {
        v[0] = p[0];
        return;
    }
    for (int q = 0; q < N / 4; q++) {
        const Words x = ((const Words*)p)[q];
        for (int j = 0; j < 4; j++) v[4 * q + j] = __uint_as_float(x.w[j]);
    }
}

#define KERNEL extern "C" __global__ void
// The thread's number, if there is work for it.
#define INDEX(i, n)                                      \
    I i = (I)blockIdx.x * (I)blockDim.x + (I)threadIdx.x; \
    if (i >= (n)) return
// A kernel whose threads take `lanes` values of neighbouring channels each: WIDE of them, or 1 where channels are no multiple of that.
#define LANES(call)                   \
    do {                              \
        if (lanes == WIDE) {          \
            constexpr int N = WIDE;   \
            call;                     \
        } else {                      \
            constexpr int N = 1;      \
            call;                     \
        }                             \
    } while (0)
// A kernel over `n` values in whatever order: a thread takes WIDE in a row, the last one what is left.
#define VALUES(n, call)                                                        \
    do {                                                                       \
        const I at = ((I)blockIdx.x * (I)blockDim.x + (I)threadIdx.x) * WIDE;  \
        if (at + WIDE <= (n)) {                                                \
            constexpr int N = WIDE;                                            \
            const I i = at;                                                    \
            call;                                                              \
        } else {                                                               \
            constexpr int N = 1;                                               \
            for (I i = at; i < (n); i++) call;                                 \
        }                                                                      \
    } while (0)

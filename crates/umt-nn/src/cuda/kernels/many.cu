// Many arrays in one launch. Parameters, their gradients and an optimiser's state are float whatever activations are.

#define MOST 96
// Array `t` has blocks of threads first[t] .. first[t + 1].
struct Many {
    float* at[4][MOST];
    u32 len[MOST], first[MOST + 1], count;
};

// The array of a block of threads.
static __device__ __forceinline__ u32 array_of(const Many& s, u32 block) {
    u32 low = 0, high = s.count;
    while (high - low > 1) {
        const u32 middle = (low + high) / 2;
        if (s.first[middle] <= block) low = middle; else high = middle;
    }
    return low;
}

template <int N> static __device__ __forceinline__ void put_floats(float* p, const float (&v)[N]) {
    if (N == 1) {
        p[0] = v[0];
        return;
    }
    Words x;
    for (int j = 0; j < 4; j++) x.w[j] = __float_as_uint(v[j % N]);
    *(Words*)p = x;
}

// Calls for the values from `i` of array `t`: four at a time where there are four, 16 for each thread; neighbours take neighbours.
#define SWEEP(call)                                                                       \
    const u32 t = array_of(s, blockIdx.x), len = s.len[t];                                \
    u32 i = ((u32)blockIdx.x - s.first[t]) * 16 * (u32)blockDim.x + 4 * (u32)threadIdx.x; \
    for (u32 part = 0; part < 4; part++, i += 4 * (u32)blockDim.x) {                      \
        if (i + 4 <= len) {                                                               \
            constexpr int N = 4;                                                          \
            call;                                                                         \
        } else {                                                                          \
            constexpr int N = 1;                                                          \
            for (; i < len; i++) call;                                                    \
            return;                                                                       \
        }                                                                                 \
    }

template <int N> static __device__ __forceinline__ void scaled(float* x, float factor) {
    float v[N];
    floats(x, v);
    for (int j = 0; j < N; j++) v[j] *= factor;
    put_floats(x, v);
}
KERNEL scale_all(const __grid_constant__ Many s, float factor) { SWEEP(scaled<N>(s.at[0][t] + i, factor)); }

template <int N> static __device__ __forceinline__ void plain(float* at, const float* grad, float lr, float decay) {
    float p[N], g[N];
    floats(at, p);
    floats(grad, g);
    for (int j = 0; j < N; j++) p[j] -= lr * (g[j] + decay * p[j]);
    put_floats(at, p);
}
KERNEL sgd_plain(const __grid_constant__ Many s, float lr, float decay) { SWEEP(plain<N>(s.at[0][t] + i, s.at[1][t] + i, lr, decay)); }

template <int N>
static __device__ __forceinline__ void moved(float* at, const float* grad, float* velocity, float lr, float momentum, bool nesterov, float decay) {
    float p[N], g[N], m[N];
    floats(at, p);
    floats(grad, g);
    floats(velocity, m);
    for (int j = 0; j < N; j++) {
        const float d = g[j] + decay * p[j];
        m[j] = momentum * m[j] + d;
        p[j] -= lr * (nesterov ? d + momentum * m[j] : m[j]);
    }
    put_floats(velocity, m);
    put_floats(at, p);
}
KERNEL sgd(const __grid_constant__ Many s, float lr, float momentum, I nesterov, float decay) {
    SWEEP(moved<N>(s.at[0][t] + i, s.at[1][t] + i, s.at[2][t] + i, lr, momentum, nesterov, decay));
}

struct Adam { float beta1, beta2, eps, keep, rate, root; };
template <int N> static __device__ __forceinline__ void adapted(float* at, const float* grad, float* first, float* second, const Adam& o) {
    float p[N], g[N], m[N], v[N];
    floats(at, p);
    floats(grad, g);
    floats(first, m);
    floats(second, v);
    for (int j = 0; j < N; j++) {
        m[j] = o.beta1 * m[j] + (1.0f - o.beta1) * g[j];
        v[j] = o.beta2 * v[j] + (1.0f - o.beta2) * g[j] * g[j];
        p[j] = p[j] * o.keep - o.rate * m[j] / (sqrtf(v[j]) * o.root + o.eps);
    }
    put_floats(first, m);
    put_floats(second, v);
    put_floats(at, p);
}
// `rate` = lr / (1 - beta1^step), `root` = 1 / sqrt(1 - beta2^step), `keep` = 1 - lr decay.
KERNEL adamw(const __grid_constant__ Many s, float beta1, float beta2, float eps, float keep, float rate, float root) {
    const Adam o = {beta1, beta2, eps, keep, rate, root};
    SWEEP(adapted<N>(s.at[0][t] + i, s.at[1][t] + i, s.at[2][t] + i, s.at[3][t] + i, o));
}

// Each thread's share of the squares of an array: four values at a time, then every (threads of the array)-th four.
KERNEL squares(const __grid_constant__ Many s, double* out) {
    const u32 t = array_of(s, blockIdx.x);
    const float* x = s.at[0][t];
    const u32 len = s.len[t], whole = len / 4, threads = (s.first[t + 1] - s.first[t]) * (u32)blockDim.x;
    const u32 thread = ((u32)blockIdx.x - s.first[t]) * (u32)blockDim.x + (u32)threadIdx.x;
    double sum = 0.0;
#pragma unroll 4
    for (u32 i = thread; i < whole; i += threads) {
        float v[4];
        floats(x + 4 * (u64)i, v);
        for (int j = 0; j < 4; j++) sum += (double)v[j] * v[j];
    }
    for (u32 i = 4 * whole + thread; i < len; i += threads) sum += (double)x[i] * x[i];
    out[(u64)blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

// The shares of each array added to 64; `from` is where those of the first array go. Blocks have 256 threads.
KERNEL add_shares(const __grid_constant__ Many s, const double* in, double* out, I from) {
    INDEX(i, 64 * (I)s.count);
    const u32 t = (u32)i / 64;
    const u64 last = (u64)s.first[t + 1] * 256;
    double sum = 0.0;
    for (u64 k = (u64)s.first[t] * 256 + (u32)i % 64; k < last; k += 64) sum += in[k];
    out[from + i] = sum;
}

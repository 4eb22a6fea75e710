// Element by element.

template <int N> static __device__ __forceinline__ void add(T* a, const T* b) {
    float x[N], y[N];
    load(a, x);
    load(b, y);
    for (int j = 0; j < N; j++) x[j] += y[j];
    store(a, x);
}
KERNEL add_assign(T* a, const T* b, I n) { VALUES(n, add<N>(a + i, b + i)); }

// d = 0 where the output y is not above 0.
template <int N> static __device__ __forceinline__ void mask(const T* y, T* d) {
    float x[N], v[N];
    load(y, x);
    load(d, v);
    for (int j = 0; j < N; j++) v[j] = x[j] > 0.0f ? v[j] : 0.0f;
    store(d, v);
}
KERNEL relu_backward(const T* y, T* d, I n) { VALUES(n, mask<N>(y + i, d + i)); }

template <int N> static __device__ __forceinline__ void sigmoids(const T* x, T* y) {
    float v[N];
    load(x, v);
    for (int j = 0; j < N; j++) v[j] = 1.0f / (1.0f + expf(-v[j]));
    store(y, v);
}
KERNEL sigmoid(const T* x, T* y, I n) { VALUES(n, sigmoids<N>(x + i, y + i)); }

template <int N> static __device__ __forceinline__ void sigmoids_back(const T* y, const T* dy, T* dx) {
    float v[N], d[N];
    load(y, v);
    load(dy, d);
    for (int j = 0; j < N; j++) v[j] = d[j] * v[j] * (1.0f - v[j]);
    store(dx, v);
}
KERNEL sigmoid_backward(const T* y, const T* dy, T* dx, I n) { VALUES(n, sigmoids_back<N>(y + i, dy + i, dx + i)); }

// Factors of neighbouring values by channel, from channel `k` on; a row of channels may end in between.
template <int N> static __device__ __forceinline__ void channels(const float* by, I k, I c, bool whole, float (&v)[N]) {
    if (whole) {
        floats(by + k, v);
        return;
    }
    for (int j = 0; j < N; j++) {
        v[j] = by[k];
        k = k + 1 == c ? 0 : k + 1;
    }
}

template <int N>
static __device__ __forceinline__ void affine(const T* z, const float* a, const float* b, const T* skip, bool with_skip, T* y,
                                              bool relu, I c, I i) {
    const I k = rest(i, c);
    // Rows begin at multiples of the width then, and so does this thread's share.
    const bool whole = N == 1 || rest(c, N) == 0;
    float v[N], p[N], q[N], s[N];
    load(z + i, v);
    if (with_skip) load(skip + i, s);
    channels(a, k, c, whole, p);
    channels(b, k, c, whole, q);
    for (int j = 0; j < N; j++) {
        v[j] = fmaf(p[j], v[j], q[j]);
        if (with_skip) v[j] += s[j];
        if (relu && v[j] < 0.0f) v[j] = 0.0f;
    }
    store(y + i, v);
}
// relu?(a z + b (+ skip)), a and b by channel; y may be z.
KERNEL scale_shift(const T* z, const float* a, const float* b, const T* skip, I with_skip, T* y, I relu, I c, I n) {
    VALUES(n, affine<N>(z, a, b, skip, with_skip, y, relu, c, i));
}

template <int N> static __device__ __forceinline__ void biased(T* y, const float* bias, bool with_bias, bool relu, I c, I i) {
    float v[N], b[N];
    load(y + i, v);
    if (with_bias) channels(bias, rest(i, c), c, N == 1 || rest(c, N) == 0, b);
    for (int j = 0; j < N; j++) {
        if (with_bias) v[j] += b[j];
        if (relu && v[j] < 0.0f) v[j] = 0.0f;
    }
    store(y + i, v);
}
// relu?(y + bias), bias by channel.
KERNEL bias_relu(T* y, const float* bias, I with_bias, I relu, I c, I n) { VALUES(n, biased<N>(y, bias, with_bias, relu, c, i)); }

template <int N> static __device__ __forceinline__ void copy(const T* from, T* to) {
    if (N == 1) *to = *from; else *(Words*)to = *(const Words*)from;
}
// `width` columns of rows, from column `from_at` of rows of `from_width` to column `to_at` of rows of `to_width`.
KERNEL copy_columns(const T* from, I from_width, I from_at, T* to, I to_width, I to_at, I width, I lanes, I n) {
    INDEX(t, n);
    const I i = t * lanes, row = over(i, width), column = i - row * width;
    LANES(copy<N>(from + row * from_width + from_at + column, to + row * to_width + to_at + column));
}

// Slice `i` of the output is slice (i / kept) * all + (i % kept) * stride of the input.
KERNEL take_slices(const T* x, T* y, I all, I kept, I stride, I slice, I lanes, I n) {
    INDEX(t, n);
    const I i = t * lanes, at = over(i, slice), clip = over(at, kept);
    LANES(copy<N>(x + (clip * all + (at - clip * kept) * stride) * slice + (i - at * slice), y + i));
}

// The gradient of `take_slices`: 0 where no output came from; `n` counts inputs.
KERNEL put_slices(const T* dy, T* dx, I all, I kept, I stride, I slice, I lanes, I n) {
    INDEX(t, n);
    const I i = t * lanes, at = over(i, slice), clip = over(at, all), place = at - clip * all, taken = over(place, stride);
    if (taken * stride != place) {
        for (I j = 0; j < lanes; j++) put(dx, i + j, 0.0f);
    } else {
        LANES(copy<N>(dy + (clip * kept + taken) * slice + (i - at * slice), dx + i));
    }
}

template <int N> static __device__ __forceinline__ void widen(const T* x, float* y) {
    float v[N];
    load(x, v);
    if (N == 1) {
        y[0] = v[0];
        return;
    }
    for (int q = 0; q < N / 4; q++) {
        Words w;
        for (int j = 0; j < 4; j++) w.w[j] = __float_as_uint(v[4 * q + j]);
        ((Words*)y)[q] = w;
    }
}
KERNEL to_float(const T* x, float* y, I n) { VALUES(n, widen<N>(x + i, y + i)); }

template <int N> static __device__ __forceinline__ void narrow(const float* x, T* y) {
    float v[N];
    floats(x, v);
    store(y, v);
}
KERNEL from_float(const float* x, T* y, I n) { VALUES(n, narrow<N>(x + i, y + i)); }

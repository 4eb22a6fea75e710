// Batch normalisation over the rows of [rows, c], see `kernels::norm` and `kernels::norm_backward` for the formulas. Sums are made by threads
// that take a block of rows and `lanes` channels each.

template <int N> static __device__ __forceinline__ void moments_of(const T* z, double* out, I c, I k, I block, I from, I to) {
    float pivot[N], sum[N], square[N];
    load(z + k, pivot);
    for (int j = 0; j < N; j++) sum[j] = square[j] = 0.0f;
#pragma unroll 4
    for (I r = from; r < to; r++) {
        float v[N];
        load(z + r * c + k, v);
        for (int j = 0; j < N; j++) {
            const float d = v[j] - pivot[j];
            sum[j] += d;
            square[j] = fmaf(d, d, square[j]);
        }
    }
    for (int j = 0; j < N; j++) {
        out[2 * block * c + k + j] = sum[j];
        out[(2 * block + 1) * c + k + j] = square[j];
    }
}
// Sums of z - z[0] and of its square, which a large mean does not swallow: [blocks][2][c]; `n` = blocks * c / lanes.
KERNEL moments(const T* z, double* out, I rows, I c, I chunk, I lanes, I n) {
    INDEX(i, n);
    const I wide = over(c, lanes), block = over(i, wide), k = (i - block * wide) * lanes;
    const I from = block * chunk, to = from + chunk < rows ? from + chunk : rows;
    LANES(moments_of<N>(z, out, c, k, block, from, to));
}

// Mean and biased variance from [blocks][2][c]; and what follows from them: the inverse std, normalisation as a z + b, and the new running
// statistics. Of no rows both are 0.
KERNEL statistics(const double* sums, I blocks, const T* z, I rows, const float* gamma, const float* beta, const float* running_mean,
                  const float* running_var, float eps, float momentum, float unbiased, float* mean, float* inv_std, float* a, float* b,
                  float* next_mean, float* next_var, I c) {
    INDEX(k, c);
    double sum = 0.0, square = 0.0;
    for (I r = 0; r < blocks; r++) {
        sum += sums[2 * r * c + k];
        square += sums[(2 * r + 1) * c + k];
    }
    float average = 0.0f, var = 0.0f;
    if (rows > 0) {
        const double m = sum / rows, v = square / rows - m * m;
        average = (float)((double)get(z, k) + m);
        // Not fmax, which would turn a NaN into 0.
        var = (float)(v < 0.0 ? 0.0 : v);
    }
    const float inverse = 1.0f / sqrtf(var + eps), factor = gamma[k] * inverse;
    mean[k] = average;
    inv_std[k] = inverse;
    a[k] = factor;
    // Far from 0 both terms are many times the result, which shows whether their product was rounded: as on the host it is, and not fused.
    b[k] = __fsub_rn(beta[k], __fmul_rn(average, factor));
    next_mean[k] = running_mean[k] + momentum * (average - running_mean[k]);
    next_var[k] = running_var[k] + momentum * (var * unbiased - running_var[k]);
}

// The gradient before the ReLU: kind 0 has none, 1 knows it from the output, 2 from the input by a z + b.
template <int N>
static __device__ __forceinline__ void masked(int kind, const T* y, const float (&a)[N], const float (&b)[N], const float (&z)[N], float (&d)[N]) {
    if (kind == 1) {
        float v[N];
        load(y, v);
        for (int j = 0; j < N; j++) d[j] = v[j] > 0.0f ? d[j] : 0.0f;
    } else if (kind == 2) {
        for (int j = 0; j < N; j++) d[j] = fmaf(a[j], z[j], b[j]) > 0.0f ? d[j] : 0.0f;
    }
}

template <int N>
static __device__ __forceinline__ void sums_of(const T* z, int kind, const T* y, const float* a, const float* b, const T* dy,
                                               const float* mean, T* dskip, bool with_skip, double* out, I c, I k, I block, I from, I to) {
    float m[N], p[N], q[N], sum[N], product[N];
    floats(mean + k, m);
    floats(a + k, p);
    floats(b + k, q);
    for (int j = 0; j < N; j++) sum[j] = product[j] = 0.0f;
#pragma unroll 2
    for (I r = from; r < to; r++) {
        const I at = r * c + k;
        float x[N], g[N];
        load(z + at, x);
        load(dy + at, g);
        masked(kind, y + at, p, q, x, g);
        if (with_skip) store(dskip + at, g);
        for (int j = 0; j < N; j++) {
            sum[j] += g[j];
            product[j] = fmaf(g[j], x[j] - m[j], product[j]);
        }
    }
    for (int j = 0; j < N; j++) {
        out[2 * block * c + k + j] = sum[j];
        out[(2 * block + 1) * c + k + j] = product[j];
    }
}
// Sums of g and of g (z - mean): [blocks][2][c]; `n` = blocks * c / lanes. Writes g to dskip if wanted.
KERNEL backward_sums(const T* z, I kind, const T* y, const float* a, const float* b, const T* dy, const float* mean, T* dskip, I with_skip,
                     double* out, I rows, I c, I chunk, I lanes, I n) {
    INDEX(i, n);
    const I wide = over(c, lanes), block = over(i, wide), k = (i - block * wide) * lanes;
    const I from = block * chunk, to = from + chunk < rows ? from + chunk : rows;
    LANES(sums_of<N>(z, kind, y, a, b, dy, mean, dskip, with_skip, out, c, k, block, from, to));
}

// Gradients of gamma and beta, and dz = f[0] g + f[1] (z - mean) + f[2] by channel, `factors` being [3][c].
KERNEL backward_factors(const double* sums, I blocks, I rows, const float* gamma, const float* inv_std, float* dgamma, float* dbeta,
                        float* factors, I c) {
    INDEX(k, c);
    double sum = 0.0, product = 0.0;
    for (I r = 0; r < blocks; r++) {
        sum += sums[2 * r * c + k];
        product += sums[(2 * r + 1) * c + k];
    }
    double inverse = inv_std[k], scale = (double)gamma[k] * inverse, count = rows > 0 ? rows : 1;
    product *= inverse;
    dbeta[k] = (float)sum;
    dgamma[k] = (float)product;
    factors[k] = (float)scale;
    factors[c + k] = (float)(-scale * inverse * product / count);
    factors[2 * c + k] = (float)(-scale * sum / count);
}

template <int N>
static __device__ __forceinline__ void apply(const T* z, int kind, const T* y, const float* a, const float* b, const T* dy, const float* mean,
                                             const float* factors, T* dz, I c, I k) {
    float x[N], g[N], m[N], p[N], q[N];
    load(z, x);
    load(dy, g);
    if (kind == 2) {
        floats(a + k, p);
        floats(b + k, q);
    }
    masked(kind, y, p, q, x, g);
    floats(mean + k, m);
    floats(factors + c + k, p);
    floats(factors + 2 * c + k, q);
    for (int j = 0; j < N; j++) x[j] = fmaf(p[j], x[j] - m[j], q[j]);
    floats(factors + k, p);
    for (int j = 0; j < N; j++) x[j] = fmaf(p[j], g[j], x[j]);
    store(dz, x);
}
KERNEL backward_apply(const T* z, I kind, const T* y, const float* a, const float* b, const T* dy, const float* mean, const float* factors,
                      T* dz, I c, I lanes, I n) {
    INDEX(t, n);
    const I i = t * lanes, k = rest(i, c);
    LANES(apply<N>(z + i, kind, y + i, a, b, dy + i, mean, factors, dz + i, c, k));
}

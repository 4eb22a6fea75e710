// Batch normalisation over the rows of [rows, c], see `kernels::norm` and `kernels::norm_backward` for the formulas.

// Sums of z - z[0] and of its square, which a large mean does not swallow: [blocks][2][c]; `n` = blocks * c.
KERNEL moments(const T* z, double* out, i64 rows, i64 c, i64 chunk, i64 n) {
    INDEX(i, n);
    i64 k = i % c, b = i / c, from = b * chunk, to = from + chunk < rows ? from + chunk : rows;
    float pivot = get(z, k), sum = 0.0f, square = 0.0f;
    for (i64 r = from; r < to; r++) {
        float d = get(z, r * c + k) - pivot;
        sum += d;
        square = fmaf(d, d, square);
    }
    out[2 * b * c + k] = sum;
    out[(2 * b + 1) * c + k] = square;
}

// Mean and biased variance from [blocks][2][c].
KERNEL statistics(const double* sums, i64 blocks, const T* z, i64 rows, float* mean, float* var, i64 c) {
    INDEX(k, c);
    double sum = 0.0, square = 0.0;
    for (i64 b = 0; b < blocks; b++) {
        sum += sums[2 * b * c + k];
        square += sums[(2 * b + 1) * c + k];
    }
    double m = sum / rows, v = square / rows - m * m;
    mean[k] = (float)((double)get(z, k) + m);
    // Not fmax, which would turn a NaN into 0.
    var[k] = (float)(v < 0.0 ? 0.0 : v);
}

// What follows from the statistics: the inverse deviation, normalisation as a z + b, and the new running statistics.
KERNEL prepare(const float* mean, const float* var, const float* gamma, const float* beta, const float* running_mean,
               const float* running_var, float eps, float momentum, float unbiased, float* inv_std, float* a, float* b,
               float* next_mean, float* next_var, i64 c) {
    INDEX(k, c);
    float inverse = 1.0f / sqrtf(var[k] + eps);
    inv_std[k] = inverse;
    a[k] = gamma[k] * inverse;
    b[k] = beta[k] - mean[k] * a[k];
    next_mean[k] = running_mean[k] + momentum * (mean[k] - running_mean[k]);
    next_var[k] = running_var[k] + momentum * (var[k] * unbiased - running_var[k]);
}

// The gradient behind the ReLU: kind 0 has none, 1 knows it from the output, 2 from the input by a z + b.
static __device__ __forceinline__ float masked(i64 kind, const T* y, const float* a, const float* b, float z, i64 k, i64 at,
                                               float d) {
    if (kind == 1) return get(y, at) > 0.0f ? d : 0.0f;
    if (kind == 2) return fmaf(a[k], z, b[k]) > 0.0f ? d : 0.0f;
    return d;
}

// Sums of g and of g (z - mean): [blocks][2][c]; `n` = blocks * c. Writes g to dskip if wanted.
KERNEL backward_sums(const T* z, i64 kind, const T* y, const float* a, const float* b, const T* dy, const float* mean, T* dskip,
                     i64 with_skip, double* out, i64 rows, i64 c, i64 chunk, i64 n) {
    INDEX(i, n);
    i64 k = i % c, block = i / c, from = block * chunk, to = from + chunk < rows ? from + chunk : rows;
    float m = mean[k], sum = 0.0f, product = 0.0f;
    for (i64 r = from; r < to; r++) {
        i64 at = r * c + k;
        float x = get(z, at), g = masked(kind, y, a, b, x, k, at, get(dy, at));
        if (with_skip) put(dskip, at, g);
        sum += g;
        product = fmaf(g, x - m, product);
    }
    out[2 * block * c + k] = sum;
    out[(2 * block + 1) * c + k] = product;
}

// Gradients of gamma and beta, and dz = f[0] g + f[1] (z - mean) + f[2] by channel, `factors` being [3][c].
KERNEL backward_factors(const double* sums, i64 blocks, i64 rows, const float* gamma, const float* inv_std, float* dgamma,
                        float* dbeta, float* factors, i64 c) {
    INDEX(k, c);
    double sum = 0.0, product = 0.0;
    for (i64 b = 0; b < blocks; b++) {
        sum += sums[2 * b * c + k];
        product += sums[(2 * b + 1) * c + k];
    }
    double inverse = inv_std[k], scale = (double)gamma[k] * inverse, count = rows > 0 ? rows : 1;
    product *= inverse;
    dbeta[k] = (float)sum;
    dgamma[k] = (float)product;
    factors[k] = (float)scale;
    factors[c + k] = (float)(-scale * inverse * product / count);
    factors[2 * c + k] = (float)(-scale * sum / count);
}

KERNEL backward_apply(const T* z, i64 kind, const T* y, const float* a, const float* b, const T* dy, const float* mean,
                      const float* factors, T* dz, i64 c, i64 n) {
    INDEX(i, n);
    i64 k = i % c;
    float x = get(z, i), g = masked(kind, y, a, b, x, k, i, get(dy, i));
    put(dz, i, fmaf(factors[k], g, fmaf(factors[c + k], x - mean[k], factors[2 * c + k])));
}

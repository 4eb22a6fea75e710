// Sums over neighbours by tables, as on the host (`kernels::sample`): resizing, average pooling and their gradients; and learned upsampling. A
// thread takes `lanes` neighbouring channels; `n` counts outputs over lanes.

// Image, row, column and first channel of value `i`, of maps of h by w pixels.
#define PIXEL(i, h, w)                                                                                                             \
    const I pixel = over(i, c), k = i - pixel * c, line = over(pixel, w), column = pixel - line * (w), image = over(line, h), \
            row = line - image * (h)

template <int N>
static __device__ __forceinline__ void sampled(const T* x, T* y, const int* row_first, const int* row_source, const float* row_factor,
                                               const int* column_first, const int* column_source, const float* column_factor, I h, I w, I oh,
                                               I ow, I c, I i) {
    PIXEL(i, oh, ow);
    float sum[N];
    for (int j = 0; j < N; j++) sum[j] = 0.0f;
    for (int a = row_first[row]; a < row_first[row + 1]; a++) {
        const I from = (image * h + row_source[a]) * w;
        for (int b = column_first[column]; b < column_first[column + 1]; b++) {
            const float factor = row_factor[a] * column_factor[b];
            float v[N];
            load(x + (from + column_source[b]) * c + k, v);
            for (int j = 0; j < N; j++) sum[j] = fmaf(factor, v[j], sum[j]);
        }
    }
    store(y + i, sum);
}
// Along an axis, output i sums sources[first[i] .. first[i + 1]] with as many factors.
KERNEL sample(const T* x, T* y, const int* row_first, const int* row_source, const float* row_factor, const int* column_first,
              const int* column_source, const float* column_factor, I h, I w, I oh, I ow, I c, I lanes, I n) {
    INDEX(t, n);
    LANES(sampled<N>(x, y, row_first, row_source, row_factor, column_first, column_source, column_factor, h, w, oh, ow, c, t * lanes));
}

template <int N>
static __device__ __forceinline__ void upsampled(const T* x, const float* weight, const float* bias, const T* skip, bool with_skip, T* y, I h,
                                                 I w, I oh, I ow, I c, I i) {
    PIXEL(i, oh, ow);
    float sum[N], v[N], factor[N];
    floats(bias + k, sum);
    for (int a = 0; a < 3; a++) {
        const I r = row + a - 1;
        if (r < 0 || r >= oh) continue;
        for (int b = 0; b < 3; b++) {
            const I q = column + b - 1;
            if (q < 0 || q >= ow) continue;
            floats(weight + (a * 3 + b) * c + k, factor);
            load(x + ((image * h + r / 2) * w + q / 2) * c + k, v);
            for (int j = 0; j < N; j++) sum[j] = fmaf(factor[j], v[j], sum[j]);
        }
    }
    if (with_skip) {
        load(skip + i, v);
        for (int j = 0; j < N; j++) sum[j] += v[j];
    }
    store(y + i, sum);
}
// Nearest doubling to [oh, ow], then a depth-wise 3x3 kernel [3][3][c] with bias and one zero on each side, + skip.
KERNEL upsample(const T* x, const float* weight, const float* bias, const T* skip, I with_skip, T* y, I h, I w, I oh, I ow, I c, I lanes, I n) {
    INDEX(t, n);
    LANES(upsampled<N>(x, weight, bias, skip, with_skip, y, h, w, oh, ow, c, t * lanes));
}

template <int N>
static __device__ __forceinline__ void upsampled_back(const T* dy, const float* weight, T* dx, I h, I w, I oh, I ow, I c, I i) {
    PIXEL(i, h, w);
    float sum[N], v[N], factor[N];
    for (int j = 0; j < N; j++) sum[j] = 0.0f;
    // Doubled positions (r, q) that show this source, and outputs whose tap (a, b) meets them.
    for (I r = 2 * row; r < 2 * row + 2 && r < oh; r++) {
        for (I q = 2 * column; q < 2 * column + 2 && q < ow; q++) {
            for (int a = 0; a < 3; a++) {
                const I out_row = r - a + 1;
                if (out_row < 0 || out_row >= oh) continue;
                for (int b = 0; b < 3; b++) {
                    const I out_column = q - b + 1;
                    if (out_column < 0 || out_column >= ow) continue;
                    floats(weight + (a * 3 + b) * c + k, factor);
                    load(dy + ((image * oh + out_row) * ow + out_column) * c + k, v);
                    for (int j = 0; j < N; j++) sum[j] = fmaf(factor[j], v[j], sum[j]);
                }
            }
        }
    }
    store(dx + i, sum);
}
// `n` counts inputs over lanes.
KERNEL upsample_backward(const T* dy, const float* weight, T* dx, I h, I w, I oh, I ow, I c, I lanes, I n) {
    INDEX(t, n);
    LANES(upsampled_back<N>(dy, weight, dx, h, w, oh, ow, c, t * lanes));
}

template <int N>
static __device__ __forceinline__ void weights_of(const T* x, const T* dy, double* out, I h, I w, I oh, I ow, I c, I k, I tap, I from, I to) {
    const I down = over(tap, 3) - 1, right = rest(tap, 3) - 1;
    float sum[N], v[N], d[N];
    for (int j = 0; j < N; j++) sum[j] = 0.0f;
    for (I p = from; p < to; p++) {
        const I line = over(p, ow), image = over(line, oh), q = p - line * ow + right, r = line - image * oh + down;
        if (r < 0 || r >= oh || q < 0 || q >= ow) continue;
        load(x + ((image * h + r / 2) * w + q / 2) * c + k, v);
        load(dy + p * c + k, d);
        for (int j = 0; j < N; j++) sum[j] = fmaf(v[j], d[j], sum[j]);
    }
    for (int j = 0; j < N; j++) out[j] = sum[j];
}
// Gradient to the weights: [blocks][9][c] over blocks of `chunk` of the `rows` output pixels; `n` counts outputs over lanes.
KERNEL upsample_weight(const T* x, const T* dy, double* out, I h, I w, I oh, I ow, I c, I rows, I chunk, I lanes, I n) {
    INDEX(t, n);
    const I i = t * lanes, part = over(i, c), k = i - part * c, block = over(part, 9), tap = part - block * 9;
    const I from = block * chunk, to = from + chunk < rows ? from + chunk : rows;
    LANES(weights_of<N>(x, dy, out + i, h, w, oh, ow, c, k, tap, from, to));
}
